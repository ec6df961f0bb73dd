"""A model of text without torch: it generates and scores."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from unrolled.config.checks import PositiveInt, RuntimeWeights, check_value
from unrolled.config.generation import GenerationConfig
from unrolled.config.options import option
from unrolled.core.free_memory import expect_room
from unrolled.core.sampling import Chooser
from unrolled.core.stepper import CoreStepper
from unrolled.runtime import checks, generation, scoring
from unrolled.runtime.engine import Lengths
from unrolled.runtime.model import RuntimeModel
from unrolled.runtime.scoring import Score
from unrolled.runtime.state import State
from unrolled.saved.atomic_files import CheckpointError
from unrolled.saved.network import Network
from unrolled.saved.network_folder import load_network
from unrolled.saved.starts import unwritten
from unrolled.saved.vocabulary import Text
from unrolled.words import counted

Array = NDArray[Any]

#: Bytes that a text takes while it is written, its random stream above all, and copies of its state and logits.
ROW, COPIES = 3000, 4


def writes_text(network: Network) -> bool:
    """Return whether a network predicts the next symbol of a text after each: what a `TextModel` needs."""
    head, text = network.head, network.text
    return (
        text is not None
        and head is not None
        and (head.when, len(head.W)) == ("each", len(text.vocabulary))
        and network.is_steppable
    )


class TextModel(RuntimeModel):
    """A network that predicts the next symbol of a text.

    Args: as :class:`RuntimeModel`.
    Raises: ValueError if the network has no vocabulary, or no head that predicts a symbol of it after each step.
    """

    def __init__(self, network: Network, weights: RuntimeWeights = "stored"):
        if not writes_text(network):
            raise ValueError(
                "this network predicts no next symbol of a text; run it with unrolled.runtime.RuntimeModel"
            )
        super().__init__(network, weights)
        assert network.text is not None
        self.vocabulary, self.framed, self.start = network.text.vocabulary, network.text.framed, network.text.start
        self.eos_id, self.unk_id = self.vocabulary.eos_id, self.vocabulary.unk_id

    @classmethod
    def load(cls, folder: str | Path, weights: RuntimeWeights = "stored") -> Self:
        """Load a saved model of text; see :func:`unrolled.runtime.load`.

        Raises: CheckpointError also if the folder holds another network.
        """
        check_value("weights", weights, RuntimeWeights)
        network = load_network(folder)
        if not writes_text(network):
            raise CheckpointError(
                f"{folder}: holds layers that predict no next symbol of a text; run them with unrolled.runtime.load"
            )
        return cls(network, weights)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "writer"}

    @cached_property
    def writer(self) -> TextModel:
        """The model that writes: after a stream, without the symbols that training never had as a target."""
        left_out = unwritten(self.start, self.unk_id, self.framed)
        if not left_out.any():
            return self
        writer = copy.copy(self)
        # The logits of -inf that follow have no share.
        writer.start = np.where(left_out, self.start.dtype.type(-np.inf), self.start)
        writer._engine = self._engine.without(left_out)
        return writer

    def read(self, ids: NDArray[np.int64], state: State) -> tuple[Array, State]:
        """Read one symbol per row, of streams whose state the caller keeps.

        Args: ids (B,) in [0, V); state from :meth:`initial` or an earlier step.
        Returns: logits (B, V) of the next symbol, and the new state.
        Raises: IndexError if a symbol is V or more, or negative; ValueError or TypeError for another network's state.
        """
        with self._engine.stepping_from(state) as stepper:
            stepper.read(ids)
            return stepper.logits.copy(), State.copied(stepper.states)

    def read_on(self, ids: NDArray[np.int64], state: State, lengths: Lengths) -> tuple[Array, State]:
        """Read several symbols per row: ids (T, B), of which each row reads `lengths` (B,); logits are (T, B, V).

        Raises: as :meth:`read`; ValueError for lengths outside [0, T].
        """
        checks.state(state, self._engine.first)
        x = checks.steps(ids, *self._engine.reads)
        checks.sequences(x, True, self.network.I, state.B)
        return self._engine.unroll(x, state, checks.lengths(lengths, x))

    def write(self, choose: Chooser, logits: Array, state: State, n: int) -> tuple[NDArray[np.int64], Array, State]:
        """Choose and read up to n symbols per row; see :class:`unrolled.runtime.generation.Writer`."""
        rows = np.arange(len(logits))
        with self._engine.stepping_from(state) as stepper:
            if not isinstance(stepper, CoreStepper):
                ids = choose(logits, rows)
                return ids[None], *self.read(ids, state)
            stepper.logits[:] = logits
            written = stepper.write(choose.rules, self.eos_id, choose.ahead(rows, n))
            choose.used(rows, len(written))
            return written, stepper.logits.copy(), State.copied(stepper.states)

    def select(self, state: State, rows: NDArray[np.intp]) -> State:
        """Return the state of these rows (R,), in this order."""
        return state.select(rows)

    def generate(
        self, prompt: Text = "", config: GenerationConfig | None = None, *, count: int = 1, **options: Any
    ) -> list[str]:
        """Generate `count` continuations of a prompt; see :meth:`unrolled.lm.model.SequenceModel.generate`."""
        check_value("count", count, PositiveInt)
        self._expect_room(count, "count", count)
        return self.generate_each([prompt] * count, config, **options)

    def generate_each(
        self, prompts: Sequence[Text], config: GenerationConfig | None = None, **options: Any
    ) -> list[str]:
        """Generate one continuation of each of several prompts, all in one batch."""
        config = _with(config, options)
        if config.strategy == "beam":
            most = len(self.vocabulary) ** min(config.max_length, 64)
            self._expect_room(min(config.beam_width, most), "beam_width", config.beam_width)
        return generation.generate_texts(self.writer, prompts, config)

    def _expect_room(self, rows: int, name: str, value: int) -> None:
        """Refuse an option that makes more texts be written at once than fit into memory."""
        numbers = len(self.vocabulary) + sum(s.size for layer in self._engine.first for s in layer)
        remedy = f"lower {option(name)} (now {value:,})"
        expect_room(rows * (ROW + COPIES * 4 * numbers), f"writing {counted(rows, 'text')} at once", remedy)

    def stream(self, prompt: Text = "", config: GenerationConfig | None = None, **options: Any) -> Iterator[str]:
        """Yield one continuation of a prompt piece by piece."""
        return generation.stream_text(self.writer, prompt, _with(config, options))

    def score(self, scored: Text) -> Score:
        """Return the bits that each symbol of a text costs.

        Raises: ValueError if it holds no symbol.
        """
        return self.score_each([scored])[0]

    def score_each(self, texts: Sequence[Text]) -> list[Score]:
        """Return the scores of many texts, which are read in batches: the bits of :meth:`score`, sooner.

        Raises: ValueError if a text holds no symbol.
        """
        return scoring.score_each(self, texts)


def _with(config: GenerationConfig | None, options: dict[str, Any]) -> GenerationConfig:
    try:
        return GenerationConfig(**options) if config is None else replace(config, **options)
    except TypeError:
        known = [field.name for field in fields(GenerationConfig)]
        if unknown := [name for name in options if name not in known]:
            raise TypeError(f"there is no option {unknown[0]!r}; expected {', '.join(known)}") from None
        raise
