"""The arrays of a call by name, in tuples that the core reads by the same names (csrc/fields.h).

The core checks type, shape and place in memory of every array; nothing else crosses the border.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from unrolled.core import CoreMissing, _core
from unrolled.notation import Weights as Weights


class Layout(NamedTuple):
    """How the rows of a batch lie in memory, where they end, and where their state is reset."""

    batch_first: bool = False
    lengths: Any = None  # (B,) int64
    batch_sizes: Any = None  # (T,) int64: a packed call
    reset: Any = None  # bool, the shape of x without I

    def own(self) -> Layout:
        """Return this layout with copies of its tensors, which nobody else can write to."""
        return Layout(self.batch_first, *(t if t is None else t.clone() for t in self[1:]))


class LayerTensors(NamedTuple):
    """One layer with all its directions: what it reads, and where it writes."""

    x: Any  # (T, B, I), or (T, B) symbols; laid out as `Layout` says
    h_0: Any  # (D, B, P), None: zeros
    c_0: Any  # (D, B, H), None: zeros
    weights: Any  # of each direction, `Weights`
    y: Any  # (T, B, D*P)
    h_n: Any  # (D, B, P)
    c_n: Any  # (D, B, H), LSTM
    gates: Any = None  # saved for the backward pass
    cells: Any = None  # saved for the backward pass, LSTM
    h_reset: Any = None  # (D, B, P), what a reset returns to; None: zeros
    c_reset: Any = None  # (D, B, H)


class GradientTensors(NamedTuple):
    """Gradients of one layer's outputs (None: zeros), and tensors for those of its inputs (None: not wanted)."""

    dy: Any  # (T, B, D*P)
    dh_n: Any  # (D, B, P)
    dc_n: Any  # (D, B, H)
    dx: Any  # (T, B, I)
    dh_0: Any  # (D, B, P)
    dc_0: Any  # (D, B, H)
    weights: Any  # of each direction, `Weights`; all or none
    dh_reset: Any = None  # (D, B, P)
    dc_reset: Any = None  # (D, B, H)
    sums: Any = None  # in place of weights, of the type that is computed in: added to


class Linear(NamedTuple):
    """The head of a model: y = W x + b."""

    W: Any  # (V, H)
    b: Any  # (V)


class LinearPass(NamedTuple):
    """A head on N rows."""

    W: Any  # (V, H)
    b: Any  # (V)
    x: Any  # (N, H)
    y: Any  # (N, V), written


class HeadPass(NamedTuple):
    """One pass of the head in training, over N rows."""

    W: Any  # (V, H)
    b: Any  # (V)
    x: Any  # (N, H)
    targets: Any  # (N) int64, each below V; negative: nothing to predict
    dx: Any  # (N, H), written
    dW: Any  # (V, H), added to
    db: Any  # (V), added to


class AdamStep(NamedTuple):
    """What a step of AdamW changes."""

    values: Any  # (P)
    gradients: Any  # (P), zero afterwards
    exp_avg: Any  # (P)
    exp_avg_sq: Any  # (P)


def dtype_name(array: Any) -> str:
    """Return the core's name for the type of an array's elements.

    >>> import numpy as np
    >>> dtype_name(np.zeros(2, np.float32))
    'float32'
    """
    return str(array.dtype).removeprefix("torch.")


def core_name(dtype: Any) -> str:
    """Return the core's name for the type of numpy's weights, in which uint16 holds the bits of bfloat16.

    >>> import numpy as np
    >>> core_name(np.dtype(np.uint16)), core_name(np.dtype(np.float64))
    ('bfloat16', 'float64')
    """
    return "bfloat16" if dtype == "uint16" else str(dtype)


def _check(exported: dict[str, tuple[str, ...]]) -> None:
    """Raise unless these are the fields of the core."""
    for named in (Weights, Layout, LayerTensors, GradientTensors, Linear, LinearPass, HeadPass, AdamStep):
        names = exported.get(named.__name__, ())
        if names != named._fields:
            raise CoreMissing(
                f"the compiled core has the fields ({', '.join(names)}) of {named.__name__}, this code "
                f"({', '.join(named._fields)}): one of them is older; build the core again with `pip install -e .`"
            )


_check(getattr(_core, "tuple_fields", dict)())
