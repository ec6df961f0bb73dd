"""A network's weights as they are computed with, and the two ways to do it: the compiled core, or the equations.

UNROLLED_BACKEND=reference selects the equations.  Both step streams and run whole sequences.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.config.checks import RuntimeWeights
from unrolled.core import int8, sequences
from unrolled.core.backend import reference_forced
from unrolled.core.bfloat16 import narrowed, rounded, widened
from unrolled.core.fields import Linear, Weights
from unrolled.core.stepper import CoreStepper
from unrolled.runtime import checks, equations
from unrolled.runtime.equations import Change, EquationStepper
from unrolled.runtime.state import State
from unrolled.saved.narrow import narrowed as narrowed_network
from unrolled.saved.network import Layer, Network

Array = NDArray[Any]
Lengths = NDArray[np.int64] | None
Stepper = CoreStepper | EquationStepper

#: Steppers that wait for their next use.
KEPT = 8
#: Rows (t, b) of a sequence that run through all layers before the next ones: what lies between stays in the cache.
ROWS = 4096


def as_it_is(w: Array) -> Array:
    """Return an array unchanged."""
    return w


def constant(a: Array) -> Array:
    """Return an array that nobody can write to: a copy, unless that holds of it already.

    >>> a = np.ones(2)
    >>> constant(a) is a, constant(constant(a)).flags.writeable
    (False, False)
    """
    owner: Any = a
    while isinstance(owner, np.ndarray) and not owner.flags.writeable:
        owner = owner.base
    if owner is None or isinstance(owner, bytes):
        return a
    copied = a.copy()
    copied.flags.writeable = False
    return copied


class Engine:
    """A network, ready to run.  It keeps the weights as they are now.

    Args:
        network: the network.
        weights: as for :func:`unrolled.runtime.load`.
    """

    def __init__(self, network: Network, weights: RuntimeWeights = "stored"):
        weights = network.narrow or "float32" if weights == "stored" else weights
        if weights == "int8" and network.narrow != "int8":
            network = narrowed_network(network, "int8")
        narrow = weights == "bfloat16"
        #: Whether it steps on int8; a direction that begins at the end has no steps, and computes in float32.
        self._int8 = weights == "int8" and network.is_steppable and not reference_forced()
        self._rounded: Change = rounded if narrow else as_it_is
        own: Change = rounded if narrow else constant  # of the weights, which nobody may change between two steps
        self._stored: Change = narrowed if narrow else as_it_is  # as the core takes them
        self._seen: Change = widened if narrow else as_it_is  # ... and gives them
        self.network = network
        self.dtype: np.dtype[Any] = np.dtype(np.float32) if narrow else network.dtype
        self.reads = network.reads_symbols, self.dtype  #: whether symbols, and else numbers of which type
        #: What turns logits into what the network gives.
        self.finished: Change = softmax if network.head is not None and network.head.softmax else as_it_is
        self.kinds = [layer.kind for layer in network.layers]
        self.layers = [_each(layer, own) for layer in _reading_symbols(network)]
        self._core_layers = [[_changed(w, self._stored) for w in directions] for directions in self.layers]
        if self._int8:
            self._core_layers = [
                [_in_int8(w, looks_up=network.reads_symbols and not number) for w in directions]
                for number, directions in enumerate(self.layers)
            ]
        self._idle: list[CoreStepper] = []
        self._packed: CoreStepper | None = None  # the weights, for steppers of any number of rows
        self.head: Linear | None = None
        if (head := network.head) is not None:
            b = np.zeros(len(head.W), head.W.dtype) if head.b is None else head.b
            self.set_head(Linear(own(head.W), own(b)))
        self.first = State(tuple(own(s)[None] for s in states) for layer in network.layers for states in _first(layer))

    def set_head(self, head: Linear) -> None:
        """Give it a head, (V, H) and (V)."""
        self.head, self._core_head = head, Linear(*map(self._stored, head))
        if self._int8:
            self._core_head = Linear(int8.quantised(head.W), head.b)
        self._packed = None

    def without(self, symbols: NDArray[np.bool_]) -> Engine:
        """Return an engine that never predicts these symbols (V,): their logits are -inf."""
        assert self.head is not None
        other, b = copy.copy(self), self.head.b
        other.set_head(self.head._replace(b=np.where(symbols, b.dtype.type(-np.inf), b)))
        return other

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_idle": [], "_packed": None}

    def initial(self, B: int) -> State:
        """Return the state of B streams that have read nothing."""
        return State.trusted(tuple([np.repeat(s, B, axis=0) for s in layer]) for layer in self.first)

    def stepper(self, state: State) -> Stepper:
        """Return what steps streams from this state on."""
        symbols = self.network.reads_symbols
        if reference_forced():
            checks.state(state, self.first)
            layers = [w for (w,) in self.layers]
            return EquationStepper(self.kinds, layers, state, symbols=symbols, head=self.head, rounded=self._rounded)
        head = None if self.head is None else self._core_head
        if (packed := self._packed) is None:
            packed = CoreStepper(self.kinds, [w for (w,) in self._core_layers], 0, symbols=symbols, head=head)
            self._packed = packed
        made = packed.beside(state.B)
        self._put(made, state)
        return made

    def _put(self, stepper: Stepper, state: State) -> None:
        try:
            put(stepper, state)
        except ValueError:  # asked only now, because it takes as long as a step
            checks.state(state, self.first)
            raise

    @contextmanager
    def stepping_from(self, state: State) -> Iterator[Stepper]:
        """Lend a stepper that is in this state.

        No lock is held: a thread that finds none waiting has one made, and the last `KEPT` wait for their next use.

        Raises: ValueError if it is of another network; TypeError for what is no state.
        """
        if type(state) is not State:
            checks.state(state, self.first)
        waiting = None if reference_forced() else self._waiting(state.B)
        if waiting is not None:
            self._put(waiting, state)
        stepper = waiting or self.stepper(state)
        try:
            yield stepper
        finally:
            if isinstance(stepper, CoreStepper):
                self._idle.append(stepper)
                del self._idle[:-KEPT]

    def _waiting(self, B: int) -> CoreStepper | None:
        for stepper in reversed(self._idle.copy()):
            if stepper.B == B:
                with suppress(ValueError):  # another thread has just taken it
                    self._idle.remove(stepper)
                    return stepper
        return None

    def unroll(self, x: Array, before: State, lengths: Lengths = None) -> tuple[Array, State]:
        """Run whole sequences from a state on.

        Args:
            x: (T, B, I) of the type that is computed in, or symbols (T, B) int64.
            before: the state of the B rows.
            lengths: steps of each row (B,), each in [0, T]; None for all T.
        Returns: logits, without a head h, of each step (T, B, width), or where the head reads the last step alone
            (B, V); and the state after each row's last step.
        Raises: IndexError if a symbol is out of range.
        """
        if self._int8:
            return self._stepped(x, before, lengths)
        T, B = x.shape[:2]
        each = self.network.head is None or self.network.head.when == "each"
        steps = max(1, ROWS // max(B, 1)) if self.network.is_steppable else T  # a direction may begin at the end
        y = np.empty((T if each else 0, B, self.network.width), self.dtype)
        state = before
        for t in range(0, T, max(steps, 1)):
            part = slice(t, min(t + steps, T))
            left = None if lengths is None else np.clip(lengths - t, 0, part.stop - t)
            h, state = self._layers(x[part], state, left)
            if each:
                self._predict(h, y[part])
        if each:
            return y, state
        y = np.empty((B, self.network.width), self.dtype)
        if self.network.head is not None and self.network.head.when == "last_output":
            self._predict(_at(np.full(B, T) if lengths is None else lengths, h), y)
        else:
            last = np.concatenate([h for h, *_ in state[-self.network.layers[-1].D :]], axis=1)
            self._predict(last if reference_forced() else self._stored(last), y)
        return y, state

    def _stepped(self, x: Array, before: State, lengths: Lengths) -> tuple[Array, State]:
        """Return the same step by step: sums of int8 have no kernel of whole sequences."""
        T, B = x.shape[:2]
        each = self.network.head is None or self.network.head.when == "each"
        ends = np.full(B, T) if lengths is None else lengths
        y = np.zeros((T if each else 1, B, self.network.width), self.dtype)
        if self.head is not None:
            y += self.head.b  # what it says of zeros
        after = before.clone()
        with self.stepping_from(before) as stepper:
            for t in range(ends.max(initial=0)):
                reading = t < ends
                x_t = x[t] if reading.all() else np.where(reading if x.ndim == 2 else reading[:, None], x[t], 0)
                stepper.read(np.ascontiguousarray(x_t))
                rows = np.flatnonzero(reading if each else ends == t + 1)
                y[t if each else 0, rows] = stepper.result[rows]
                if len(last := np.flatnonzero(ends == t + 1)):
                    for arrays, states in zip(after, stepper.states, strict=True):
                        for to, s in zip(arrays, states, strict=True):
                            to[last] = s[last]
        return (y if each else y[0]), after

    def _layers(self, x: Array, before: State, lengths: Lengths) -> tuple[Array, State]:
        """Return h of the last layer, as it is stored there, and the state of all."""
        after: list[tuple[Array, ...]] = []
        equations_only = reference_forced()
        if x.ndim == 3:
            x = self._rounded(x) if equations_only else self._stored(x)
        for kind, plain, stored in zip(self.kinds, self.layers, self._core_layers, strict=True):
            own = zip(*before[len(after) : len(after) + len(plain)], strict=True)  # of each direction
            h, *c = (np.stack(of_directions) for of_directions in own)
            if equations_only:
                x, states = equations.run_layer(kind, x, (h, *c), plain, lengths, self._rounded)
            else:
                x, states = sequences.run_layer(kind, x, (self._stored(h), *c), stored, lengths)
                states = (self._seen(states[0]), *states[1:])
            after += zip(*states, strict=True)
        return x, State(after)

    def _predict(self, h: Array, y: Array) -> None:
        """Write the logits of h (..., P) to y (..., V); h itself without a head."""
        if self.head is None:
            y[...] = h if h.dtype == y.dtype else self._seen(h)
        elif reference_forced():
            y[...] = h @ self.head.W.T + self.head.b
        else:
            sequences.linear(h.reshape(-1, h.shape[-1]), self._core_head, y.reshape(-1, y.shape[-1]))


def _at(lengths: NDArray[np.int64], h: Array) -> Array:
    """Return h (B, D*P) at the last step of each row, of all (T, B, D*P); zeros for a row of no steps."""
    padded = np.concatenate([np.zeros_like(h, shape=(1, *h.shape[1:])), h])
    return np.ascontiguousarray(padded[lengths, np.arange(len(lengths))])


def softmax(logits: Array) -> Array:
    """Return probabilities (..., V) of the type of the logits.

    >>> softmax(np.zeros((1, 4), np.float32)).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """
    try:
        return _softmax(logits)
    except FloatingPointError:  # the caller's NumPy raises; a probability that is too small for its type is zero
        with np.errstate(under="ignore"):  # only here: it takes a third of a small softmax
            return _softmax(logits)


def _softmax(logits: Array) -> Array:
    e: Array = np.exp(logits - logits.max(axis=-1, keepdims=True))
    e /= e.sum(axis=-1, keepdims=True)
    return e


def put(stepper: Stepper, state: State) -> None:
    """Put streams into a state, or all into that of one row.

    Raises: ValueError if the state is of another network.
    """
    for arrays, values in zip(stepper.states, state, strict=True):
        for array, value in zip(arrays, values, strict=True):
            if value.shape[-1] != array.shape[-1] or value.dtype != array.dtype:  # one unit would be spread over all
                raise ValueError(f"the state is {value.dtype} {value.shape}, expected {array.dtype} {array.shape}")
            array[...] = value


def _reading_symbols(network: Network) -> Iterator[Layer]:
    """Yield the layers, the first of which reads symbols itself where an embedding stands before it."""
    E, (first, *others) = network.embedding, network.layers
    if E is None:
        yield first
    else:
        yield Layer(first.kind, tuple(_through(E, w) for w in first.directions), first.initial)
    yield from others


def _through(E: Array, w: Weights) -> Weights:
    """Return weights with W_ih (G*H, V), a column for each symbol of an embedding (V, E).

    In the core, because the threads of numpy's own product may wait for each other longer than all the rest takes.
    """
    of_symbols = np.empty((len(E), len(w.W_ih)), E.dtype)  # (V, G*H)
    if reference_forced():
        of_symbols[...] = E @ w.W_ih.T
    else:
        sequences.linear(E, Linear(w.W_ih, np.zeros(len(w.W_ih), E.dtype)), of_symbols)
    return w._replace(W_ih=np.ascontiguousarray(of_symbols.T))


def _in_int8(w: Weights, *, looks_up: bool) -> Weights:
    """Return weights whose matrices are in int8, but for the columns that symbols look up."""
    matrices = {name: int8.quantised(m) for name, m in w._asdict().items() if m is not None and m.ndim == 2}
    return w._replace(**matrices)._replace(**({"W_ih": w.W_ih} if looks_up else {}))


def _changed(w: Weights, change: Change) -> Weights:
    return Weights(*(None if part is None else change(part) for part in w))


def _each(layer: Layer, change: Change) -> list[Weights]:
    return [_changed(w, change) for w in layer.directions]


def _first(layer: Layer) -> Iterator[tuple[Array, ...]]:
    """Yield the state before the first step of each direction."""
    zeros = tuple(np.zeros(n, layer.directions[0].W_hh.dtype) for n in layer.state_widths())
    yield from layer.initial or (zeros,) * layer.D
