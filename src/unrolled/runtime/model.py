"""A trained model without torch, stepped by the compiled core, or by the equations of docs/notation.md in numpy.

UNROLLED_BACKEND=reference selects the equations.  Letters and shapes are those of :mod:`unrolled.notation`.
"""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from unrolled import notation
from unrolled.config.checks import PositiveInt, Precision, check_value
from unrolled.config.generation import GenerationConfig
from unrolled.config.options import option
from unrolled.core.backend import reference_forced
from unrolled.core.bfloat16 import narrowed, rounded
from unrolled.core.fields import Weights
from unrolled.core.free_memory import expect_room
from unrolled.core.sampling import Chooser
from unrolled.core.stepper import CoreStepper
from unrolled.notation import stored_name, weight_shapes
from unrolled.runtime import generation, scoring
from unrolled.runtime.scoring import Score
from unrolled.saved.model import SavedModel
from unrolled.saved.starts import uncounted
from unrolled.saved.vocabulary import Text, Vocabulary
from unrolled.words import counted

Array = NDArray[np.float32]

Change = Callable[[NDArray[Any]], NDArray[Any]]

#: Steppers that a model keeps packed, those of the last batch sizes.
KEPT = 4
#: Bytes that a text takes while it is written, its random stream above all, and copies of its state and logits.
ROW, COPIES = 3000, 4

#: For each layer h (B, H), and c (B, H) if the cell has one.
State = list[tuple[Array, ...]]


def sigmoid(a: Array) -> Array:
    """Return 1 / (1 + exp(-a)), in a form that cannot overflow.

    >>> sigmoid(np.array([-1e4, 0.0, 1e4])).tolist()
    [0.0, 0.5, 1.0]
    """
    s: Array = 0.5 * (1 + np.tanh(0.5 * a))
    return s


def _rnn_tanh(a: Array, h_a: Array, h_prev: Array) -> tuple[Array, ...]:
    return (np.tanh(a + h_a),)


def _rnn_relu(a: Array, h_a: Array, h_prev: Array) -> tuple[Array, ...]:
    return (np.maximum(a + h_a, 0),)


def _lstm(a: Array, h_a: Array, h_prev: Array, c_prev: Array) -> tuple[Array, ...]:
    a_i, a_f, a_g, a_o = np.split(a + h_a, 4, axis=1)  # each (B, H)
    c = sigmoid(a_f) * c_prev + sigmoid(a_i) * np.tanh(a_g)
    return sigmoid(a_o) * np.tanh(c), c


def _gru(a: Array, h_a: Array, h_prev: Array) -> tuple[Array, ...]:
    (a_r, a_z, a_n), (h_r, h_z, h_n) = np.split(a, 3, axis=1), np.split(h_a, 3, axis=1)  # each (B, H)
    r, z = sigmoid(a_r + h_r), sigmoid(a_z + h_z)
    return ((1 - z) * np.tanh(a_n + r * h_n) + z * h_prev,)


#: The next state of each cell, from a = W_ih x + b_ih and h_a = W_hh h_prev + b_hh, both (B, G*H), and the state.
CELLS: dict[str, Callable[..., tuple[Array, ...]]] = {
    "RNN_TANH": _rnn_tanh,
    "RNN_RELU": _rnn_relu,
    "LSTM": _lstm,
    "GRU": _gru,
}


def _as_it_is(w: NDArray[Any]) -> NDArray[Any]:
    return w


def _each(layer: Weights, change: Change) -> Weights:
    return Weights(*(None if w is None else change(w) for w in layer))


def _copied(state: State) -> State:
    return [tuple(s.copy() for s in layer) for layer in state]


#: Every model of the process.
_MODELS: WeakSet[RuntimeModel] = WeakSet()


def _after_fork() -> None:
    """Free a forked child from the locks that threads of its parent hold."""
    for model in tuple(_MODELS):
        model._own_steppers()


os.register_at_fork(after_in_child=_after_fork)


class RuntimeModel:
    """A trained model that needs numpy and nothing else.

    Args:
        kind: kind of cell, as in :data:`unrolled.notation.CELLS`.
        num_layers: L.
        vocabulary: the symbols that the model reads and writes.
        framed: whether it learned sequences that end with EOS.
        tensors: its weights by their stored names.
        weights: as for :func:`unrolled.runtime.load`.
    """

    def __init__(
        self,
        kind: str,
        num_layers: int,
        vocabulary: Vocabulary,
        framed: bool,
        tensors: dict[str, NDArray[Any]],
        weights: Precision = "float32",
    ):
        narrow = weights == "bfloat16"
        self._rounded: Change = rounded if narrow else _as_it_is
        self._packed: Change = narrowed if narrow else _as_it_is  # as the core takes them
        self.vocabulary, self.framed = vocabulary, framed
        self.eos_id, self.unk_id = vocabulary.eos_id, vocabulary.unk_id
        self.start = tensors["start"]
        self.kind, self.cell = kind, CELLS[kind]
        layers = [
            Weights(**{name: tensors[f"rnn.{stored_name(name, layer)}"] for name in weight_shapes(kind, 1, 1)})
            for layer in range(num_layers)
        ]
        W_ih, W_hh, *_ = layers[0]
        E = tensors.get("embedding.weight")  # (V, E), or None for one-hot symbols
        layers[0] = layers[0]._replace(W_ih=W_ih if E is None else (E @ W_ih.T).T)  # (G*H, V): a column for each symbol
        self.layers = [_each(layer, self._rounded) for layer in layers]
        self.lookup = self.layers[0].W_ih.T + self.layers[0].b_ih  # (V, G*H)
        self.W_hy = self._rounded(tensors["head.weight" if "head.weight" in tensors else "embedding.weight"])
        self.b_y = self._rounded(tensors["head.bias"])
        zeros = np.zeros((num_layers, 1, W_hh.shape[1]), W_hh.dtype)
        learned = [self._rounded(tensors.get(f"initial.{k}", zeros)) for k in range(len(notation.CELLS[kind].states))]
        self.first = [tuple(s[layer] for s in learned) for layer in range(num_layers)]
        self._own_steppers()

    def _own_steppers(self) -> None:
        """Begin without steppers: a copy, a model that was pickled and a forked child make their own."""
        self._steppers: dict[int, CoreStepper] = {}  # by B, the one used last at the end
        self._lock = threading.Lock()
        _MODELS.add(self)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_steppers", "_lock", "writer")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._own_steppers()

    @classmethod
    def load(cls, folder: str | Path, weights: Precision = "float32") -> RuntimeModel:
        """Load a saved model; see :func:`unrolled.runtime.load`."""
        saved = SavedModel.load(folder)
        return cls(saved.model.kind, saved.model.num_layers, saved.vocabulary, saved.framed, saved.tensors, weights)

    @cached_property
    def writer(self) -> RuntimeModel:
        """The model that writes: after a stream, without the symbols that training never had as a target."""
        unlearned = uncounted(self.start)
        left = np.flatnonzero(~unlearned).tolist()
        if self.framed or not unlearned.any() or left == [self.unk_id]:
            return self
        writer = copy.copy(self)
        for name in ("start", "b_y"):  # the logits of -inf that follow have no share
            setattr(writer, name, np.where(unlearned, np.float32(-np.inf), getattr(self, name)))
        return writer

    def initial(self, B: int) -> State:
        """Return the state of B rows that have read nothing."""
        return [tuple(np.repeat(s, B, axis=0) for s in layer) for layer in self.first]

    def step(self, ids: NDArray[np.int64], state: State) -> tuple[Array, State]:
        """Read one symbol per row.

        Args: ids (B,) in [0, V); state from :meth:`initial` or an earlier step.
        Returns: logits (B, V) of the next symbol, and the new state.
        Raises: IndexError if a symbol is V or more, or negative.
        """
        if reference_forced():
            for symbol in ids[(ids < 0) | (ids >= len(self.lookup))]:  # numpy would count a negative one from the end
                raise IndexError(f"symbol {symbol} to step on, expected 0 to V - 1 = {len(self.lookup) - 1}")
            return self._equations(ids, state)
        with self._stepping_from(state) as stepper:
            stepper.step(ids)
            return stepper.logits.copy(), _copied(stepper.states)

    def write(self, choose: Chooser, logits: Array, state: State, n: int) -> tuple[NDArray[np.int64], Array, State]:
        """Choose and read up to n symbols per row; see :class:`unrolled.runtime.generation.Writer`."""
        rows = np.arange(len(logits))
        if reference_forced():
            ids = choose(logits, rows)
            return ids[None], *self.step(ids, state)
        with self._stepping_from(state) as stepper:
            stepper.logits[:] = logits
            written = stepper.write(choose.rules, self.eos_id, choose.ahead(rows, n))
            choose.used(rows, len(written))
            return written, stepper.logits.copy(), _copied(stepper.states)

    def _equations(self, ids: NDArray[np.int64], state: State) -> tuple[Array, State]:
        after: State = []
        a = self.lookup[ids]  # (B, G*H)
        for layer, (weights, before) in enumerate(zip(self.layers, state, strict=True)):
            if layer:
                a = after[-1][0] @ weights.W_ih.T + weights.b_ih
            h, *c = self.cell(a, before[0] @ weights.W_hh.T + weights.b_hh, *before)
            after.append((self._rounded(h), *c))
        return after[-1][0] @ self.W_hy.T + self.b_y, after

    @contextmanager
    def _stepping_from(self, state: State) -> Iterator[CoreStepper]:
        B = len(state[0][0])
        with self._lock:  # a stepper holds one state, in arrays of its own
            stepper = self._steppers.pop(B, None)
            if stepper is None:
                layers = [_each(layer, self._packed) for layer in self.layers]
                head = (self._packed(self.W_hy), self._packed(self.b_y))
                stepper = CoreStepper(self.kind, layers, B, head=head)
            self._steppers[B] = stepper
            if len(self._steppers) > KEPT:
                del self._steppers[next(iter(self._steppers))]
            for arrays, before in zip(stepper.states, state, strict=True):
                for array, s in zip(arrays, before, strict=True):
                    array[...] = s
            yield stepper

    def select(self, state: State, rows: NDArray[np.intp]) -> State:
        """Return the state of these rows (R,), in this order."""
        return [tuple(s[rows] for s in layer) for layer in state]

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
        config = replace(config or GenerationConfig(), **options)
        if config.strategy == "beam":
            most = len(self.vocabulary) ** min(config.max_length, 64)
            self._expect_room(min(config.beam_width, most), "beam_width", config.beam_width)
        return generation.generate_texts(self.writer, prompts, config)

    def _expect_room(self, rows: int, name: str, value: int) -> None:
        """Refuse an option that makes more texts be written at once than fit into memory."""
        numbers = len(self.b_y) + sum(s.size for layer in self.first for s in layer)
        remedy = f"lower {option(name)} (now {value:,})"
        expect_room(rows * (ROW + COPIES * 4 * numbers), f"writing {counted(rows, 'text')} at once", remedy)

    def stream(self, prompt: Text = "", config: GenerationConfig | None = None, **options: Any) -> Iterator[str]:
        """Yield one continuation of a prompt piece by piece."""
        return generation.stream_text(self.writer, prompt, replace(config or GenerationConfig(), **options))

    def score(self, scored: Text) -> Score:
        """Return the bits that each symbol of a text costs."""
        return scoring.score(self, scored)
