"""Gradients during training: how far they reach back, and how they explode without clipping."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.config.checks import Index, NonNegative, Positive, check_value
from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.lm.callbacks import Callback
from unrolled.lm.model import SequenceModel
from unrolled.lm.run import TrainingDiverged
from unrolled.lm.training import train_within
from unrolled.saved.atomic_files import write_file
from unrolled.saved.vocabulary import Text
from unrolled.views.gradients import gradients
from unrolled.views.jacobians import largest_singular_value
from unrolled.words import counted

if TYPE_CHECKING:
    from unrolled.corpus.corpus import Corpus
    from unrolled.lm.run import Run


#: Plain gradient descent: optimisers that divide by the size of the gradient, such as AdamW, hide an explosion.
STEADY = TrainingConfig(optimiser="sgd", learning_rate=0.1, batch_size=8, bptt=64, max_steps=150, max_epochs=0)


class LagGradients(Callback):
    """Records during training how far the loss of one symbol reaches back: |dL / dh_(T-k)| against the lag k.

    Give it to :func:`unrolled.lm.train` as a callback.  It looks at every line of metrics, changes nothing in the run,
    and draws no random number.

    Args:
        text: what the model reads; the loss is that of its last symbol, predicted from all others.
        layer: the layer of the hidden states.
        path: a file to append the records to, as JSON lines; None for none.
    Attributes:
        steps: Training steps that were recorded, N of them.
        singular: The largest singular value of W_hh at each, (G*H, H) as a whole.
    Raises: ValueError, once training begins, if the text has fewer than two symbols or there is no such layer.

    >>> from unrolled.lm import Corpus, train
    >>> corpus = Corpus.from_text("abcabcabcabc" * 20)
    >>> watch = LagGradients("abcabc")
    >>> model = SequenceModel(ModelConfig(hidden_size=4), corpus.vocabulary, framed=False)
    >>> _ = train(model, corpus, TrainingConfig(max_steps=4, log_every=2, batch_size=2, bptt=5), callbacks=[watch])
    >>> watch.steps, watch.norms.shape
    ([2, 4], (2, 5))
    """

    def __init__(self, text: Text, *, layer: int = -1, path: Path | str | None = None):
        check_value("layer", layer, Index)
        self.text, self.layer = text, layer
        self.path = None if path is None else Path(path).absolute()
        self.steps: list[int] = []
        self.singular: list[float] = []
        self._norms: list[NDArray[Any]] = []

    @property
    def norms(self) -> NDArray[Any]:
        """|dL / dh_(T-k)| in nats per unit at each recorded step, for lags k = 0, 1 ... in columns, (N, K + 1)."""
        return np.array(self._norms)

    def on_train_begin(self, run: Run) -> None:
        """Take the records of steps that a resumed run will do again out of the file."""
        if self.path is not None and run.clock.step and self.path.exists():
            lines = self.path.read_text("utf-8").splitlines(keepends=True)
            kept = (line for line in lines if json.loads(line)["step"] <= run.clock.step)
            write_file(self.path, "".join(kept).encode())

    def on_log(self, run: Run, line: dict[str, Any]) -> None:
        """Record one line."""
        ids = run.model.vocabulary.encode(self.text)
        if len(ids) < 2:
            raise ValueError(f"the text to watch has {counted(len(ids), 'symbol')}; give two or more")
        found = gradients(run.model, self.text, position=len(ids) - 2)
        norms = found.layers[self.layer].h_norms[-2::-1]  # the last symbol is predicted, not read
        sigma = largest_singular_value(run.model, self.layer)
        self.steps.append(line["step"])
        self._norms.append(norms)
        self.singular.append(sigma)
        if self.path is not None:
            record = {"step": line["step"], "singular_value": sigma, "norms": norms.tolist()}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")


def with_gain(model: SequenceModel, gain: float) -> None:
    """Set each gate's block of every W_hh to an orthogonal matrix times `gain`, its singular values."""
    for layer in range(model.config.num_layers):
        W_hh = model.rnn.weights()[layer].W_hh
        for block in W_hh.detach().chunk(len(W_hh) // model.config.hidden_size):
            torch.nn.init.orthogonal_(block, gain)


@dataclass(frozen=True)
class Course:
    """Gradient norm and loss of one run, step by step.

    Attributes:
        norms: Norm of the gradient before clipping, (N,).
        nats: Loss in nats per symbol, (N,).
        ended: The limit that ended it, or "diverged" and the step at which a number was no longer finite.
    """

    norms: NDArray[Any]
    nats: NDArray[Any]
    ended: str


class _EveryStep(Callback):
    def __init__(self) -> None:
        self.lines: list[tuple[float, float]] = []

    def on_log(self, run: Run, line: dict[str, Any]) -> None:
        self.lines.append((line["gradient_norm"], line["nats"]))


def explosion(
    corpus: Corpus,
    config: ModelConfig | None = None,
    training: TrainingConfig | None = None,
    *,
    gain: float = 1.2,
    clip_norm: float = 1.0,
) -> dict[str, Course]:
    """Train a model twice from the same weights, with and without gradient clipping, to see gradients explode.

    Args:
        corpus: the training data.
        config: of the model; if left out, a ReLU RNN of 32 units, whose gradients are not bounded.
        training: all but `clip_norm`; if left out, 150 steps of plain gradient descent.
        gain: all singular values of the initial W_hh, an orthogonal matrix times this.
        clip_norm: of the run with clipping.

    Returns: "clipped" and "not clipped".
    Source: R. Pascanu et al., "On the difficulty of training recurrent neural networks", 2013.

    >>> from unrolled.lm import Corpus
    >>> runs = explosion(Corpus.from_text("ab" * 500), training=TrainingConfig(max_steps=5, max_epochs=0))
    >>> sorted(runs), len(runs["clipped"].norms)
    (['clipped', 'not clipped'], 5)
    """
    check_value("gain", gain, Positive)
    check_value("clip_norm", clip_norm, NonNegative)
    config = config or ModelConfig(cell="rnn", nonlinearity="relu", hidden_size=32)
    training = training or STEADY
    found = {}
    for name, clip in (("clipped", float(clip_norm)), ("not clipped", 0.0)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(training.seed)
            model = SequenceModel(config, corpus.vocabulary, framed=not corpus.stream)
            with_gain(model, gain)
        watch = _EveryStep()
        try:
            ended = train_within(model, corpus, replace(training, clip_norm=clip, log_every=1), callbacks=[watch]).ended
        except TrainingDiverged:
            ended = f"diverged at step {len(watch.lines) + 1}"
        norms, nats = np.array(watch.lines).reshape(-1, 2).T
        found[name] = Course(norms, nats, ended)
    return found
