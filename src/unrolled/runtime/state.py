"""What the streams of a model remember, as values to keep, to copy and to send."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from unrolled.config.options import brief
from unrolled.saved.atomic_files import pack
from unrolled.words import counted

Array = NDArray[Any]

#: Some of B streams: their numbers, or a bool for each of all.
Rows = Sequence[int] | Sequence[bool] | NDArray[Any]

#: The first bytes of a state that was written; its sha256 follows, then a safetensors file.
_MAGIC = b"unrolled state 1\n"


class State(tuple[tuple[Array, ...], ...]):
    """The state of B streams: of each layer h (B, P), and c (B, H) if its cell has one.

    >>> state = State([(np.zeros((2, 3), np.float32),)])
    >>> state.B, state.select([1]).B, State.from_bytes(state.to_bytes()).equals(state)
    (2, 1, True)
    """

    __slots__ = ()

    def __new__(cls, layers: Iterable[Iterable[Array]]) -> State:
        """Hold the arrays of each layer.

        Whether they fit a model is checked where they are given to one.

        Raises: TypeError or ValueError if they are no state of any; the message names the first that is wrong.
        """
        expected = "a state holds h (B, P), and maybe c (B, H), of each layer"
        if not isinstance(layers, Iterable):
            raise TypeError(f"the layers are {brief(layers)}; {expected}")
        found = []
        for number, layer in enumerate(layers):
            if isinstance(layer, np.ndarray) or not isinstance(layer, Iterable):
                raise TypeError(f"layer {number} is a {type(layer).__name__}, no tuple of arrays; {expected}")
            found.append(tuple(native(s) if isinstance(s, np.ndarray) else s for s in layer))
            if len(found[-1]) not in (1, 2):
                raise ValueError(f"layer {number} is of {counted(len(found[-1]), 'array')}; {expected}")
            for name, s in zip("hc", found[-1], strict=False):
                if not isinstance(s, np.ndarray):
                    raise TypeError(f"{name} of layer {number} is a {type(s).__name__}, no array of NumPy; {expected}")
                if s.ndim != 2 or len(s) != len(found[0][0]):
                    raise ValueError(f"{name} of layer {number} is {s.dtype} {s.shape}; {expected}")
        if not found:
            raise ValueError(f"there are no layers; {expected}")
        return super().__new__(cls, found)

    @property
    def B(self) -> int:
        """The number of streams."""
        return len(self[0][0])

    @classmethod
    def trusted(cls, layers: Iterable[tuple[Array, ...]]) -> State:
        """Hold arrays that are known to be a state: the checks would take as long as a step."""
        return super().__new__(cls, layers)

    @classmethod
    def copied(cls, layers: Iterable[Iterable[Array]]) -> State:
        """Return a copy of the states of a stepper, which the next step overwrites."""
        return cls.trusted(tuple([s.copy() for s in layer]) for layer in layers)

    def clone(self) -> State:
        """Return a copy that shares no memory with this."""
        return State.copied(self)

    def select(self, rows: Rows) -> State:
        """Return a copy of the state of these streams, in this order; one may appear twice.

        Raises: as :func:`numbers`.
        """
        chosen = numbers(rows, self.B)
        return State.trusted(tuple([s[chosen] for s in layer]) for layer in self)

    @classmethod
    def joined(cls, states: Iterable[State]) -> State:
        """Return the state of all the streams of several states, one after the other.

        Raises: ValueError if they are of different networks, or there are none.
        """
        each = [*states]
        forms = [[[(dtype, width) for dtype, (_, width) in layer] for layer in state.forms()] for state in each]
        for form in forms:
            if form != forms[0]:
                raise ValueError(f"states of different networks cannot be joined: layers of {forms[0]} and of {form}")
        layers = zip(*each, strict=True)
        return cls(tuple(np.concatenate(parts) for parts in zip(*layer, strict=True)) for layer in layers)

    def equals(self, other: State) -> bool:
        """Return whether two states are the same, number for number."""
        return self.forms() == other.forms() and all(
            np.array_equal(s, t) for a, b in zip(self, other, strict=True) for s, t in zip(a, b, strict=True)
        )

    def forms(self) -> list[list[tuple[str, tuple[int, ...]]]]:
        """Return the type and the shape of every array."""
        return [[(str(s.dtype), s.shape) for s in layer] for layer in self]

    def to_bytes(self) -> bytes:
        """Return it as bytes, for a file or another process; their sha256 is among them."""
        named = {f"{number}.{k}": s for number, layer in enumerate(self) for k, s in enumerate(layer)}
        data = pack(named)
        return _MAGIC + hashlib.sha256(data).digest() + data

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> State:
        """Return the state that :meth:`to_bytes` wrote; no code is run.

        Whether it fits a model is checked where it is given to one.

        Raises: ValueError if the bytes are no state, or damaged.
        """
        try:
            data = bytes(memoryview(data))
        except TypeError:
            raise TypeError(f"the state is {brief(data)}, expected the bytes that to_bytes wrote") from None
        head, data = data[: len(_MAGIC) + 32], data[len(_MAGIC) + 32 :]
        if not head.startswith(_MAGIC):
            raise ValueError("these bytes are no state of a model, or one of another release; give what to_bytes wrote")
        if head[len(_MAGIC) :] != hashlib.sha256(data).digest():
            raise ValueError("the bytes of this state are damaged: they have another sha256 than when it was written")
        try:
            arrays = safetensors.numpy.load(data)
        except (SafetensorError, KeyError, ValueError) as error:
            raise ValueError(f"these bytes hold no state of a model: {error}") from None
        layers: list[list[Array]] = []
        while f"{len(layers)}.0" in arrays:
            names = [f"{len(layers)}.{k}" for k in range(2)]
            layers.append([arrays.pop(name) for name in names if name in arrays])
        if arrays:
            raise ValueError(f"these bytes hold no state of a model: {brief([*arrays])} is no array of one")
        try:
            return cls(layers)
        except ValueError as error:
            raise ValueError(f"these bytes hold no state of a model: {error}") from None


def native(a: Array) -> Array:
    """Return an array in the byte order of this machine: files of some formats have the other.

    >>> native(np.ones(2, ">f4")).dtype, native(np.ones(2)).dtype
    (dtype('float32'), dtype('float64'))
    """
    return a if a.dtype.isnative else a.astype(a.dtype.newbyteorder("="))


def numbers(rows: Rows, B: int) -> NDArray[np.intp]:
    """Return the numbers of some of B streams.

    Raises: IndexError if there is no such stream; TypeError for what are neither numbers nor a bool for each of all.

    >>> numbers([False, True, True], 3), numbers([], 3), numbers([2, 0, 0], 3)
    (array([1, 2]), array([], dtype=int64), array([2, 0, 0]))
    """
    found = np.asarray(rows)
    if found.shape == (0,):
        return np.empty(0, np.intp)
    if found.dtype == bool and found.shape == (B,):
        return np.flatnonzero(found)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        expected = f"the numbers of streams, or a bool for each of {B}"
        raise TypeError(f"rows is {found.dtype} {found.shape}, expected {expected}")
    if ((found < 0) | (found >= B)).any():
        raise IndexError(f"rows is {brief(found.tolist())}, expected numbers from 0 to {B - 1}")
    return found.astype(np.intp)
