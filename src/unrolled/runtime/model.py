"""Any network without torch: single steps, whole sequences, and many streams side by side."""

from __future__ import annotations

import os
import threading
from operator import index
from pathlib import Path
from typing import Any, Self
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from unrolled.config.checks import Count, PositiveInt, RuntimeWeights, check_value
from unrolled.runtime import checks
from unrolled.runtime.engine import Engine
from unrolled.runtime.state import State
from unrolled.runtime.streams import Streams
from unrolled.saved.network import Network
from unrolled.saved.network_folder import load_network
from unrolled.words import counted

Array = NDArray[Any]

#: Every model of the process.
_MODELS: WeakSet[RuntimeModel] = WeakSet()


def _after_fork() -> None:
    """Free a forked child from the locks that threads of its parent hold: what they were in the middle of is lost."""
    for model in tuple(_MODELS):
        if model._lock.locked():
            model._begin()


os.register_at_fork(after_in_child=_after_fork)


class RuntimeModel:
    """A network that needs numpy and nothing else.

    It has one stream of its own, which :meth:`step` and :meth:`feed` continue; :meth:`streams` makes others.

    Args:
        network: the network.
        weights: as for :func:`unrolled.runtime.load`.

    >>> from unrolled.saved.network import Head, Layer
    >>> from unrolled.notation import Weights
    >>> W = np.eye(2, dtype=np.float32)
    >>> model = RuntimeModel(Network((Layer("RNN_RELU", (Weights(W, W),)),), head=Head(np.ones((1, 2), np.float32))))
    >>> model.step([1, 2]).tolist(), model.step([1, 2]).tolist()
    ([3.0], [6.0])
    >>> model.reset()
    >>> model.feed([[1, 2], [1, 2]]).tolist()
    [[3.0], [6.0]]
    """

    def __init__(self, network: Network, weights: RuntimeWeights = "stored"):
        check_value("weights", weights, RuntimeWeights)
        self.network, self._symbols = network, network.reads_symbols
        self._engine = Engine(network, weights)
        self._begin()

    @classmethod
    def load(cls, folder: str | Path, weights: RuntimeWeights = "stored") -> Self:
        """Load a saved network; see :func:`unrolled.runtime.load`."""
        check_value("weights", weights, RuntimeWeights)
        return cls(load_network(folder), weights)

    def _begin(self) -> None:
        """Begin with a stream of its own that has read nothing; a copy and a pickled model do too."""
        self._own: Streams | None = None
        self._lock = threading.Lock()
        _MODELS.add(self)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_own", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin()

    def __repr__(self) -> str:
        of, width = self.network, "V" if self.network.reads_symbols else "I"
        kinds = ", ".join(f"{layer.kind} {layer.H}" for layer in of.layers)
        return f"{type(self).__name__}({width} {of.I}, {kinds}, {counted(of.width, 'number')} out, {of.dtype})"

    def initial(self, B: int) -> State:
        """Return the state of B streams that have read nothing.

        Raises: ValueError if B is no whole number, or negative.
        """
        check_value("B", B, Count)
        return self._engine.initial(B)

    def step(self, x: Any) -> Array:
        """Read one step of the model's own stream.

        Args: x: a symbol in [0, V), or a vector (I,) of the model's type.
        Returns: what the head predicts (V,), logits or probabilities as saved, or without a head the last layer's h.
        Raises: IndexError if the symbol is out of range; ValueError for another shape or type, and for a network with
            a direction that begins at the end of a sequence, which has no next step.
        """
        if self._symbols:
            try:
                x = index(x) if type(x) is not bool else checks.steps(x, *self._engine.reads)
            except TypeError:
                checks.no_symbol(x, self.network.I)
        elif type(x) is not np.ndarray:
            x = checks.steps(x, *self._engine.reads)
        elif x.ndim != 1:
            x = x[None]  # rows of rows, which the stepper refuses
        with self._lock:
            own = self._own
            if own is None:
                own = self._stream()
            return own.step_one(x)

    def feed(self, x: Any, lengths: Any = None) -> Array:
        """Read a whole sequence, with the bits of single steps.

        A single sequence is the next part of the model's own stream, if the network has a next step.  In a batch, each
        sequence is read from its own beginning; to continue many at a time, make :meth:`streams`.

        Args:
            x: symbols (T,), vectors (T, I); of several sequences (T, B) or (T, B, I).
            lengths: steps of each of several sequences (B,), of T at most; what follows them is not read.
        Returns: what the head predicts after each step, (T, V) or (T, B, V), or without a head h; if the head reads
            only the last step, (V,) or (B, V).
        Raises: as :meth:`step`.

        >>> from unrolled.notation import Weights
        >>> from unrolled.saved.network import Layer
        >>> W = np.eye(2, dtype=np.float32)
        >>> model = RuntimeModel(Network((Layer("RNN_RELU", (Weights(W, W),)),)))
        >>> model.feed(np.ones((4, 3, 2), np.float32), lengths=[4, 1, 0])[:, :, 0].T.tolist()
        [[1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
        """
        x = checks.steps(x, *self._engine.reads)
        one = x.ndim == (1 if self._symbols else 2)
        x = x[:, None] if one else x
        checks.sequences(x, self._symbols, self.network.I)
        if one and lengths is not None:
            raise ValueError("lengths are those of several sequences, x (T, B) or (T, B, I); one is as long as it is")
        if one and self.network.is_steppable:
            with self._lock:
                y = self._stream().feed(x)
        else:
            first = self.initial(x.shape[1])
            y = self._engine.finished(self._engine.unroll(x, first, checks.lengths(lengths, x))[0])
        return y if not one else y[0] if y.ndim == 2 else y[:, 0]

    def streams(self, count: int = 1) -> Streams:
        """Return streams that have read nothing, to be stepped together.

        Raises: ValueError as :meth:`step`.
        """
        check_value("count", count, PositiveInt)
        return Streams(self._steppable(), self.initial(count))

    def reset(self) -> None:
        """Restart the model's own stream."""
        with self._lock:
            self._stream().reset()

    @property
    def state(self) -> State:
        """A copy of the state of the model's own stream; it can be set.

        Raises: ValueError, when it is set, if it is of another network or of several streams.
        """
        with self._lock:
            return self._stream().state

    @state.setter
    def state(self, state: State) -> None:
        checks.state(state, self._engine.first)
        if state.B != 1:
            raise ValueError(f"the state is of {state.B} streams, the model's own is one; set that of model.streams")
        with self._lock:
            self._stream().state = state

    def _stream(self) -> Streams:
        if self._own is None:
            self._own = Streams(self._steppable(), self.initial(1))
        return self._own

    def _steppable(self) -> Engine:
        if not self.network.is_steppable:
            raise ValueError(
                "this network is bidirectional and has no next step, for one direction begins at the end; "
                "give it whole sequences, model.feed(x)"
            )
        return self._engine
