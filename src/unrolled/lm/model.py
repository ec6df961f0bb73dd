"""The model: symbols in, one recurrent network, logits of the next symbol out.

B batch, T time, E embedding, H hidden, V vocabulary, L layers.  The equations are in docs/notation.md.
"""

from __future__ import annotations

import html
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.nn.utils import parametrize

from unrolled.config.checks import Count, check_value
from unrolled.config.generation import GenerationConfig
from unrolled.config.model import ModelConfig
from unrolled.config.options import option
from unrolled.corpus.batching import IGNORED
from unrolled.formats import hub
from unrolled.lm.arguments import as_hx, check_symbols, is_called, predicted
from unrolled.lm.dropout import dropout
from unrolled.lm.layers import recurrent_layers
from unrolled.lm.stored_tensors import extended_tensors, stored_tensors
from unrolled.nn.modules import beyond_weights, computed
from unrolled.nn.recurrent_layer import RecurrentLayer
from unrolled.notation import CELLS, Weights, cell_name
from unrolled.runtime.scoring import Score
from unrolled.runtime.text import TextModel
from unrolled.saved.model import SavedModel, check_model, save_model
from unrolled.saved.network import Network
from unrolled.saved.tensors import faults, model_tensors
from unrolled.saved.vocabulary import Text, Vocabulary

#: Hidden state (L, B, H) after the last symbol, for LSTM followed by the cell state (L, B, H).
State = tuple[Tensor, ...]

#: Scale of the head's initial weights, small enough that an untrained model predicts close to 1/V.
HEAD_SCALE = 0.1


class SequenceModel(torch.nn.Module):
    """A recurrent network that predicts the next symbol.

    Args:
        config: cell, sizes and options.
        vocabulary: the symbols it reads and generates.
        framed: whether it learns independent sequences that end with EOS, not one long stream; by default as the corpus
            that it is trained on.

    >>> model = SequenceModel(ModelConfig(cell="gru", hidden_size=10), Vocabulary("ab"))
    >>> model
    SequenceModel(GRU, V 4, H 10, L 1, 524 parameters)
    >>> logits, (h_n,) = model(torch.tensor([[0], [0], [1]]))
    >>> tuple(logits.shape), tuple(h_n.shape)
    ((3, 1, 4), (1, 1, 10))
    """

    start: Tensor

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary, *, framed: bool | None = None):
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        self._framed = framed
        V, E, H, L = len(vocabulary), config.embedding_size, config.hidden_size, config.num_layers
        self.embedding = torch.nn.Embedding(V, E) if E else None
        self.rnn = recurrent_layers(config, E or V)
        self.rnn.dropout_function = dropout
        self.head = torch.nn.Linear(H, V)
        with torch.no_grad():
            self.head.weight.mul_(HEAD_SCALE)
            self.head.bias.zero_()
        if config.tied:
            assert self.embedding is not None
            self.head.weight = self.embedding.weight
            torch.nn.init.normal_(self.head.weight, std=HEAD_SCALE / H**0.5)
        self.initial = torch.nn.ParameterList(
            torch.nn.Parameter(torch.zeros(L, 1, H))
            for _ in range(self.state_count if config.learned_initial_state else 0)
        )
        self.register_buffer("start", torch.full((V,), -float(np.log(V))))  # log-probabilities of a first symbol

    @property
    def framed(self) -> bool:
        """Whether it learns sequences that end with EOS; True until something else is known."""
        return self._framed is not False

    def frame(self, framed: bool) -> None:
        """Learn sequences that end with EOS, or a stream, from now on.

        Raises: ValueError if the model was made for the other.
        """
        if self._framed not in (None, framed):
            given = "sequences that end with EOS" if framed else "one stream, which has no EOS to learn"
            raise ValueError(
                f"the corpus is {given}, but the model was made with framed={self._framed}; "
                f"make it with framed={framed}, or leave framed out"
            )
        self._framed = framed

    @property
    def state_count(self) -> int:
        """The number of tensors in the state: h, and c of a cell that has one."""
        return len(CELLS[self.config.kind].states)

    @property
    def as_made(self) -> bool:
        """Whether it computes what this class does: no subclass or assignment has put another method or layer in."""
        rnn, ours = self.rnn, (self.config.kind, self.config.num_layers, False)
        if parametrize.type_before_parametrizations(self.head) is not torch.nn.Linear:
            return False
        if not isinstance(rnn, RecurrentLayer) or (rnn.kind, rnn.num_layers, rnn.bidirectional) != ours:
            return False
        methods = (self.forward, self.outputs, self.loss, self.initial_state, rnn.forward)
        made = SequenceModel
        own = (made.forward, made.outputs, made.loss, made.initial_state, RecurrentLayer.forward)
        return all(getattr(now, "__func__", now) is each for now, each in zip(methods, own, strict=True))

    @property
    def parts(self) -> list[torch.nn.Module]:
        """The embedding, if there is one, the layers and the head."""
        return [part for part in (self.embedding, self.rnn, self.head) if part is not None]

    @property
    def E(self) -> Tensor:
        """The embedding matrix (V, E) of a model that has one; AttributeError of one that has none."""
        if self.embedding is None:
            raise AttributeError("this model has no embedding: it reads symbols one-hot")
        return computed(self.embedding).weight

    @property
    def W_hy(self) -> Tensor:
        """The head's matrix (V, H)."""
        return computed(self.head).weight

    @property
    def b_y(self) -> Tensor:
        """The head's bias (V)."""
        return computed(self.head).bias

    def layer_weights(self) -> list[Weights]:
        """Return the weights of the layers, bottom first, as a call reads them."""
        return computed(self.rnn).weights()

    def forward(
        self,
        ids: Tensor,
        state: State | None = None,
        lengths: Tensor | None = None,
        reset: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Read symbols and predict, after each, the next.

        Args:
            ids: symbols (T, B) int64 in [0, V).
            state: state before the first symbol, each (L, B, H); None is the initial state.
            lengths: symbols of each row (B,) int64; what follows them is not read.
            reset: bool (T, B): before these symbols the state returns to the initial one.

        Returns: logits (T, B, V), which past a row's length are b_y, because y is zero there; the state after each
            row's last symbol.
        Raises: IndexError if a symbol is outside [0, V); the message names it and its position.
        """
        x, after = self.outputs(ids, state, lengths, reset)
        return self.head(x), after

    def outputs(
        self, ids: Tensor, state: State | None = None, lengths: Tensor | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Return what the head reads, (T, B, H), and the state afterwards; arguments as of :meth:`forward`."""
        check_symbols(ids)
        count = self.state_count
        initial = as_hx(self.initial_state(ids.shape[1]), count) if state is None or reset is not None else None
        hx = initial if state is None else as_hx(state, count)
        x, E = ids, None if self.embedding is None else self.E
        if self.embedding is not None and is_called(self.embedding):
            x, E = self.embedding(ids), None
        reset_state = None if reset is None else initial
        options = {"lengths": lengths, "reset": reset, "reset_state": reset_state, "embedding": E}
        if self.training and self.config.weight_dropout:
            x, after = functional_call(self.rnn, self._dropped_weights(), (x, hx), options)
        else:
            x, after = self.rnn(x, hx, **options)
        x = dropout(x, self.config.dropout) if self.training else x
        return x, after if isinstance(after, tuple) else (after,)

    def _dropped_weights(self) -> dict[str, Tensor]:
        """Return the recurrent weights by name, after dropout.  Source: Merity, Keskar and Socher 2018, section 3."""
        names = [f"weight_hh_l{layer}" for layer in range(self.config.num_layers)]
        for name in names:
            if name not in self.rnn._parameters:
                raise ValueError(
                    f"{option('weight_dropout')} is {self.config.weight_dropout}, but cannot drop out parts of {name}, "
                    "which is computed from others; set it to 0, or take pruning or a parametrization off"
                )
        return {name: dropout(getattr(self.rnn, name), self.config.weight_dropout) for name in names}

    def loss(
        self,
        ids: Tensor,
        targets: Tensor,
        state: State | None = None,
        lengths: Tensor | None = None,
        *,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> tuple[Tensor, State]:
        """Return the mean over symbols of -log softmax(logits)[target], in nats, and the state afterwards.

        Args:
            ids, state, lengths: as :meth:`forward`.
            targets: (T, B) int64, IGNORED where nothing is to be predicted; such a place does not count in the mean.
                Past the length of a row nothing is predicted.
            reduction: "sum" for the sum over symbols, which adds up over batches of different sizes.
        """
        logits, after = self(ids, state, lengths)
        logits, targets = logits.flatten(0, 1), predicted(targets, logits, lengths).flatten()
        return cross_entropy(logits, targets, reduction=reduction, ignore_index=IGNORED), after

    def initial_state(self, B: int) -> State:
        """Return the learned initial state of B rows; empty where the initial state is zero."""
        check_value("B", B, Count)
        return tuple(s.expand(-1, B, -1) for s in self.initial)

    def score(self, scored: Text) -> Score:
        """Return the bits that each symbol of a text costs; see :func:`unrolled.runtime.scoring.score`."""
        return self.runtime().score(scored)

    def generate(
        self, prompt: Text = "", config: GenerationConfig | None = None, *, count: int = 1, **options: Any
    ) -> list[str]:
        """Generate `count` continuations of a prompt.

        Args:
            prompt: text, or a list of symbols.
            config: how symbols are chosen.
            count: number of continuations, each from its own random stream.
            options: fields of :class:`GenerationConfig` that replace those of `config`.

        Returns: the continuations, without EOS.
        Raises: ValueError if an option is out of its range; TypeError if there is no such option; MemoryError if so
            many do not fit into memory.

        >>> model = SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab", "characters"))
        >>> [len(text) <= 5 for text in model.generate("a", count=2, max_length=5, seed=1)]
        [True, True]
        """
        return self.runtime().generate(prompt, config, count=count, **options)

    def generate_each(
        self, prompts: Sequence[Text], config: GenerationConfig | None = None, **options: Any
    ) -> list[str]:
        """Generate one continuation of each of several prompts in one batch; otherwise as :meth:`generate`."""
        return self.runtime().generate_each(prompts, config, **options)

    def stream(self, prompt: Text = "", config: GenerationConfig | None = None, **options: Any) -> Iterator[str]:
        """Yield one continuation of a prompt piece by piece; otherwise as :meth:`generate`."""
        return self.runtime().stream(prompt, config, **options)

    def runtime(self) -> TextModel:
        """Return a copy of the present weights as a model that generates and scores without torch.

        Warns: UserWarning if this model computes something else than its class.
        """
        self.warn_of_more("generate, stream and score", stacklevel=4)
        return TextModel(self.network())

    def warn_of_more(self, what: str, stacklevel: int) -> None:
        """Warn that `what` reads only the weights, if this model computes something else than its class."""
        if not self.as_made or any(beyond_weights(part, hooks_after=False, computing=False) for part in self.parts):
            said = "only the weights, so methods, layers and hooks that this model adds or replaces have no effect"
            warnings.warn(f"{what} read {said}", stacklevel=stacklevel)

    def network(self) -> Network:
        """Return a copy of the present weights as the network that other formats hold."""
        tensors = {name: t.copy() for name, t in self.tensors().items()}
        return Network.of_model(SavedModel(self.config, self.framed, self.vocabulary, tensors, self.saved_config()))

    def save_pretrained(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the model to a folder that :meth:`from_pretrained` and :mod:`unrolled.runtime` read.

        Raises: CheckpointError if a model is there and `overwrite` is False, the files cannot be written, or a weight
            is not finite or neither float32 nor float64.
        Warns: UserWarning if this model computes something else than its class, which is not saved.
        """
        self.warn_of_more("save_pretrained and what loads it", stacklevel=3)
        check_model(folder, self.config, self.vocabulary, self.tensors())
        save_model(folder, self.saved_config(), self.vocabulary, self.tensors(), overwrite=overwrite)

    @classmethod
    @torch.random.fork_rng(devices=[])  # what a new model draws is replaced
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        **changes: Any,
    ) -> SequenceModel:
        """Load a model from its folder or from the Hugging Face hub; no code in it is run.

        Args:
            folder: where it was saved; or OWNER/NAME, its id on the hub, as a string, if no folder has that name.
            revision, cache_dir, force_download, local_files_only, token: as of huggingface_hub, for an id.
            changes: fields of its config to change that leave the weights as they are, such as dropout.

        Raises: CheckpointError naming the file and what is wrong with it, or that it does not fit the others.
            FormatError if the hub has no such model.  ValueError if the weights do not fit the changes.
        """
        if isinstance(folder, str) and hub.is_id(folder):
            options: dict[str, Any] = {"revision": revision, "cache_dir": cache_dir, "force_download": force_download}
            folder = hub.downloaded(folder, **options, local_files_only=local_files_only, token=token)
        saved = SavedModel.load(folder)
        model = cls(replace(saved.model, **changes), saved.vocabulary, framed=saved.framed)
        model.to(torch.from_numpy(saved.tensors["head.bias"]).dtype)  # whatever the default type is
        model.load_tensors(saved.tensors)
        return model.eval()

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload the model and a card to the Hugging Face hub; see :func:`unrolled.formats.hub.push_to_hub`."""
        return hub.push_to_hub(self, repo_id, **options)

    @torch.random.fork_rng(devices=[])
    def extended(self, vocabulary: Vocabulary) -> SequenceModel:
        """Return a model that knows more symbols and has learned what this one has, for training it further.

        Every row of a symbol that this model knows stays the same bit for bit, in the embedding or the input weights
        and in the head; a new one is the mean of all rows.  No text starts with a new symbol until training shows one.

        Args: vocabulary: has all symbols of this model's, in any order, as :meth:`Vocabulary.extended` makes it.
        Raises: ValueError naming the symbols that it lacks, or if it is of another kind.

        >>> model = SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab"))
        >>> larger = model.extended(model.vocabulary.extended("c"))
        >>> larger, torch.equal(larger.W_hy[[0, 1, 3, 4]], model.W_hy)
        (SequenceModel(LSTM, V 5, H 3, L 1, 140 parameters), True)
        """
        model = SequenceModel(self.config, vocabulary, framed=self._framed).to(self.head.bias.dtype)
        model.load_tensors(extended_tensors(self.tensors(), self.config, self.vocabulary, vocabulary))
        return model.train(self.training)

    def saved_config(self) -> dict[str, Any]:
        """Return the keys of config.json that describe the model."""
        return {"model": asdict(self.config), "framed": self.framed}

    def tensors(self) -> dict[str, np.ndarray]:
        """Return every weight by its stored name, as a call reads it if it is computed; a shared one appears once.

        Raises: ValueError for a type that numpy lacks, and for a tied model whose head was given another matrix.
        """
        with self.evaluating():  # spectral norms go on learning in training
            for part in self.parts:
                computed(part)
        return stored_tensors(self, self.config, len(self.vocabulary), as_made=self.as_made)

    def load_tensors(self, tensors: dict[str, np.ndarray]) -> None:
        """Load weights as :meth:`tensors` returns them.

        Raises: ValueError naming every weight that is missing, unknown, of another type or shape, or not finite.
        """
        dtype = self.tensors()["head.bias"].dtype
        wrong = list(faults(tensors, model_tensors(self.config, len(self.vocabulary), dtype)))
        if wrong:
            raise ValueError(f"the weights do not fit {self!r}: {'; '.join(wrong)}")
        self.load_state_dict({name: torch.from_numpy(t) for name, t in tensors.items()}, strict=not self.config.tied)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Use evaluation mode inside the block, then restore the mode that each part had before."""
        before = [(part, part.training) for part in self.modules()]
        self.eval()
        try:
            yield
        finally:
            for part, mode in before:
                part.training = mode

    def __repr__(self) -> str:
        sizes = {"V": len(self.vocabulary), "E": self.config.embedding_size, "H": self.config.hidden_size}
        shown = ", ".join(f"{letter} {size}" for letter, size in sizes.items() if size)
        count = sum(p.numel() for p in self.parameters())
        cell = cell_name(self.config.kind)
        return f"SequenceModel({cell}, {shown}, L {self.config.num_layers}, {count:,} parameters)"

    def _repr_html_(self) -> str:
        rows = [(name, "x".join(map(str, p.shape)), f"{p.numel():,}") for name, p in self.named_parameters()]
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        name, symbols = (html.escape(repr(each)) for each in (self, self.vocabulary))
        return f"<b>{name}</b><br>{symbols}<table><tr><th>weight</th><th>shape</th><th>numbers</th></tr>{body}</table>"
