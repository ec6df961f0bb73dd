"""The structs of csrc/kernels.h, built from keywords as the integers that the core reads.

They are for calls that run again and again on the same arrays; the caller checks the arrays and keeps them alive.  The
core itself says which fields a struct has and which may be left out (csrc/fields.h).  The tensors of a single call come
in the named tuples of :mod:`unrolled.core.fields` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from unrolled.core import _core
from unrolled.core.fields import Weights

#: A numpy array, a torch tensor, or None for a null address.
Array: TypeAlias = Any
#: The fields of one struct.
Integers: TypeAlias = tuple[int, ...]


def address(array: Array) -> int:
    """Return the address of an array, 0 for None."""
    if array is None:
        return 0
    at: int = array.data_ptr() if hasattr(array, "data_ptr") else array.ctypes.data
    return at


def rows(value: Array) -> Integers:
    """Return address and strides, in elements, of an array whose first axes are time and batch.

    Args: the array, or (array, time_stride, batch_stride).

    >>> import numpy as np
    >>> rows(np.zeros((5, 2, 3)))[1:], rows((None, 6, 3)), rows(None)
    ((6, 3), (0, 6, 3), (0, 0, 0))
    """
    if value is None:
        value = (None, 0, 0)
    elif not isinstance(value, tuple):
        strides = value.stride() if hasattr(value, "stride") else [s // value.itemsize for s in value.strides]
        value = (value, *strides[:2])
    array, time_stride, batch_stride = value
    return address(array), time_stride, batch_stride


def _weights(given: Sequence[Array] | None) -> Integers:
    return tuple(map(address, Weights(*(given or (None, None)))))


#: By the kind of a field: its value as integers, and the value of one that is left out.
_KINDS: dict[str, tuple[Callable[[Any], Integers], Any]] = {
    "number": (lambda value: (int(value),), 0),
    "flag": (lambda value: (int(value),), False),
    "address": (lambda value: (address(value),), None),
    "rows": (rows, None),
    "weights": (_weights, None),
}


class Struct:
    """One struct of csrc/kernels.h: called with its fields by name, it returns them as integers.

    A number or flag is given as such, an address as an array or None, rows as :func:`rows` takes them, weights as
    :class:`unrolled.core.fields.Weights`.

    Raises: TypeError for a field that is missing or that the struct does not have; the message names the legal ones.

    >>> Call(cell=2, T=5, B=1, I=3, H=4, P=4)
    (2, 5, 1, 3, 4, 4, 0, 0, 0, 0, 0, 0, 0)
    >>> Linear(W=None, b=None, x=None, y=None, B=1, H=2, V=3, I=4)
    Traceback (most recent call last):
    TypeError: Linear has no field 'I'; its fields are W, b, x, y, B, H, V
    """

    def __init__(self, name: str):
        self.name = name
        fields = _core.struct_fields()[name]
        self.fields = {field: _KINDS[kind] for field, kind, _ in fields}
        self.required = [field for field, _, required in fields if required]

    def __call__(self, **given: Any) -> Integers:
        """Return the fields as integers."""
        for fault, names in (
            ("has no field", [name for name in given if name not in self.fields]),
            ("needs the field", [name for name in self.required if name not in given]),
        ):
            if names:
                listed = ", ".join(map(repr, names))
                raise TypeError(f"{self.name} {fault} {listed}; its fields are {', '.join(self.fields)}")
        return tuple(n for name, (integers, absent) in self.fields.items() for n in integers(given.get(name, absent)))


Call = Struct("Call")
Recurrence = Struct("Recurrence")
Gradients = Struct("Gradients")
Linear = Struct("Linear")
HeadPass = Struct("HeadPass")


def dtype_name(array: Array) -> str:
    """Return the core's name for the type of an array's elements.

    >>> import numpy as np
    >>> dtype_name(np.zeros(2, np.float32))
    'float32'
    """
    return str(array.dtype).removeprefix("torch.")


def run(
    like: Array, call: Integers, recurrences: Sequence[Integers], gradients: Sequence[Integers], threads: int
) -> None:
    """Run recurrences of one shape, on numbers of the type of an array: forward or, with gradients, backward.

    Args:
        like: an array of the numbers' type.
        call, recurrences, gradients: fields of `Call`, of `Recurrence` each and of `Gradients` each or none.
        threads: how many may run it, 0 for all processors.
    Raises: ValueError unless each struct has as many integers as its fields take.
    """
    _core.run(dtype_name(like), call, recurrences, gradients, threads)
