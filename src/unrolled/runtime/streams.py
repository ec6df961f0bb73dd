"""Streams that a model reads side by side, each with its own state."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.config.checks import PositiveInt, check_value
from unrolled.runtime import checks
from unrolled.runtime.engine import Engine, as_it_is, put
from unrolled.runtime.state import Rows, State, native, numbers

Array = NDArray[Any]


class Streams:
    """B streams that are stepped together, each with its own state; made by :meth:`RuntimeModel.streams`.

    They are numbered from 0; new ones join at the end, and the rest close up when one leaves.  They share the cost of a
    step: 64 streams together take far less than 64 alone.  Each gets the same bits as alone.  Only one thread at a time
    may use them; threads that serve different streams make `Streams` of their own, and wait for nobody.

    >>> from unrolled.runtime import RuntimeModel
    >>> from unrolled.saved.network import Layer, Network
    >>> from unrolled.notation import Weights
    >>> W = np.eye(2, dtype=np.float32)
    >>> streams = RuntimeModel(Network((Layer("RNN_RELU", (Weights(W, W),)),))).streams(3)
    >>> streams.step(np.ones((3, 2), np.float32)).tolist()
    [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    >>> streams.reset([0]), streams.drop([1]), len(streams)
    (None, None, 2)
    >>> streams.step(np.ones((2, 2), np.float32)).tolist()
    [[1.0, 1.0], [2.0, 2.0]]
    """

    def __init__(self, engine: Engine, state: State):
        self._engine, self._finished = engine, engine.finished
        self._begin(state)

    def _begin(self, state: State) -> None:
        self._stepper = stepper = self._engine.stepper(state)
        # Looked up once: a step of a small network takes no longer than a few such looks.
        self._read, self._result, self._copy_of_one = stepper.read, stepper.result, stepper.result.reshape(-1).copy

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the state, from which a copy reads on by itself."""
        return Streams, (self._engine, self.state)

    def __len__(self) -> int:
        return len(self._stepper.states[0][0])

    def step(self, x: Any) -> Array:
        """Read one step of every stream.

        Args: x: symbols (B,) int64 in [0, V), or vectors (B, I) of the model's type.
        Returns: what the head predicts (B, V), or without a head the last layer's h (B, P); a copy.
        Raises: IndexError if a symbol is out of range; ValueError for another shape or type; RuntimeError if another
            thread is stepping these streams.
        """
        if type(x) is not np.ndarray:
            x = checks.steps(x, *self._engine.reads)
        try:
            self._read(x)
        except ValueError:
            self._read_native(x)
        return self._finished(self._result.copy())

    def step_one(self, x: Any) -> Array:
        """Read one step of the only stream, a symbol or a vector (I,); return (V,) or (P,), as :meth:`step`."""
        try:
            self._read(x)
        except ValueError:
            self._read_native(x)
        y = self._copy_of_one()
        return y if self._finished is as_it_is else self._finished(y)

    def _read_native(self, x: Any) -> None:
        """Read what was just refused, if that was for its byte order alone."""
        if not isinstance(x, np.ndarray) or x.dtype.isnative:
            raise
        self._read(native(x))

    def feed(self, x: Any, lengths: Any = None) -> Array:
        """Read many steps of every stream at once, with the bits of single steps.

        Args:
            x: symbols (T, B), or vectors (T, B, I).
            lengths: how many of the T steps each stream reads (B,); None for all.  The others are not read, and what
                stands in their places is what the head says of zeros.
        Returns: the predictions of each step (T, B, V); (B, V) after the last one where the head reads that alone.
        Raises: as :meth:`step`.
        """
        x = checks.steps(x, *self._engine.reads)
        checks.sequences(x, self._engine.network.reads_symbols, self._engine.network.I, len(self))
        y, after = self._engine.unroll(x, self._state(), checks.lengths(lengths, x))
        put(self._stepper, after)
        return self._finished(y)

    def _state(self) -> State:
        return State(self._stepper.states)

    @property
    def state(self) -> State:
        """A copy of the state; setting one replaces the streams by those of the state."""
        return self._state().clone()

    @state.setter
    def state(self, state: State) -> None:
        checks.state(state, self._engine.first)
        if len(self) == state.B:
            put(self._stepper, state)
        else:
            self._begin(state)

    def reset(self, rows: Rows | None = None) -> None:
        """Restart these streams; without `rows`, all.

        Raises: IndexError if there is no such stream; TypeError for neither numbers nor a bool for each.
        """
        chosen = slice(None) if rows is None else numbers(rows, len(self))
        for arrays, first in zip(self._stepper.states, self._engine.first, strict=True):
            for array, s in zip(arrays, first, strict=True):
                array[chosen] = s

    def add(self, more: int | State = 1) -> None:
        """Add streams at the end: this many that have read nothing, or those of a state.

        Raises: ValueError for a number below 1, and for the state of another network.
        """
        if not isinstance(more, State):
            check_value("more", more, PositiveInt)
        joining = more if isinstance(more, State) else self._engine.initial(more)
        checks.state(joining, self._engine.first)
        self._begin(State.joined([self._state(), joining]))

    def drop(self, rows: Rows) -> None:
        """Remove these streams; the others keep their order and close up.

        Raises: IndexError if there is no such stream; TypeError for neither numbers nor a bool for each.
        """
        self.select(np.delete(np.arange(len(self)), numbers(rows, len(self))))

    def select(self, rows: Rows) -> None:
        """Keep only these streams, in this order; one that is named twice becomes two.

        Raises: IndexError if there is no such stream; TypeError for neither numbers nor a bool for each.
        """
        self._begin(self._state().select(rows))
