"""What a model is given, checked, and brought into arrays that the core reads."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from unrolled.config.options import brief
from unrolled.runtime.state import State, native
from unrolled.words import counted

Array = NDArray[Any]


def steps(x: Any, symbols: bool, dtype: np.dtype[Any]) -> Array:
    """Return symbols, or the numbers of vectors of a type, as an array; lists are taken too, and either byte order.

    Raises: ValueError for an array of another type, or a sparse one; TypeError for a tensor that has no array.

    >>> steps([1, 2], True, np.dtype(np.float32)), steps([1, 2], False, np.dtype(np.float32))
    (array([1, 2]), array([1., 2.], dtype=float32))
    """
    wanted = np.dtype(np.int64) if symbols else dtype
    try:
        found = native(np.asarray(x))
    except (TypeError, RuntimeError) as error:  # of a tensor that is sparse, elsewhere or has a gradient
        raise TypeError(f"x is a {type(x).__name__} that NumPy cannot read, expected {wanted}: {error}") from error
    if not symbols and not isinstance(x, np.ndarray) and found.dtype.kind in "iuf":
        found = found.astype(dtype)  # the numbers of a list are of no type
    if (
        found.dtype == wanted
        or not found.size
        or (symbols and np.can_cast(found.dtype, wanted) and found.dtype != bool)
    ):
        return found.astype(wanted, copy=False)
    came, remedy = f"{found.dtype} {found.shape}", "" if symbols else f"; convert it, x.astype({str(wanted)!r})"
    if hasattr(x, "toarray"):
        came, remedy = f"a {type(x).__name__}, which is sparse", "; give x.toarray()"
    raise ValueError(f"x is {came}, expected {wanted}{' symbols' if symbols else ''}{remedy}")


def no_symbol(x: Any, V: int) -> NoReturn:
    """Raise TypeError for what is no symbol."""
    raise TypeError(f"x is {brief(x)}, expected one symbol, a whole number from 0 to {V - 1:,}") from None


def sequences(x: Array, symbols: bool, I: int, B: int | None = None) -> None:
    """Raise unless x is a batch of sequences, symbols (T, B) or vectors (T, B, I), of B streams if B is given.

    Raises: ValueError.
    """
    if x.ndim != (2 if symbols else 3) or (not symbols and x.shape[2] != I):
        expected = "symbols (T,) or (T, B)" if symbols else f"vectors (T, I) or (T, B, I) with I = {I}"
        raise ValueError(f"x is {x.dtype} {x.shape}, expected {expected}")
    if B is not None and x.shape[1] != B:
        raise ValueError(f"x holds {x.shape[1]} streams, expected {B}: (T, B) symbols or (T, B, I) vectors")


def lengths(given: Any, x: Array) -> NDArray[np.int64] | None:
    """Return the lengths of the rows of x (T, B, ...).

    Raises: ValueError unless there is a whole number from 0 to T for each.

    >>> lengths([2, 0], np.zeros((2, 2)))
    array([2, 0])
    """
    if given is None:
        return None
    T, B = x.shape[:2]
    found = np.asarray(given)
    if found.dtype.kind not in "iu" or found.shape != (B,) or ((found < 0) | (found > T)).any():
        raise ValueError(f"lengths is {given}, expected whole numbers (B) = ({B},), each from 0 to T = {T}")
    return found.astype(np.int64)


def state(given: Any, first: State) -> None:
    """Refuse the state of another network than that whose streams begin in `first`, of one row.

    Raises: ValueError naming the first layer whose arrays do not fit; TypeError for what is no state.
    """
    if not isinstance(given, State):
        raise TypeError(f"the state is a {type(given).__name__}, expected a State, as model.state returns it")
    if len(given) != len(first):
        raise ValueError(f"the state is of {counted(len(given), 'layer')}, expected {len(first)}")
    for number, (layer, own) in enumerate(zip(given, first, strict=True)):
        came, expected = _forms(layer), _forms([np.broadcast_to(s, (given.B, s.shape[1])) for s in own])
        if came != expected:
            raise ValueError(f"the state of layer {number} is {came}, expected {expected}; it is of another network")


def _forms(layer: Any) -> str:
    return ", ".join(f"{name} {s.dtype} {s.shape}" for name, s in zip("hc", layer, strict=False))
