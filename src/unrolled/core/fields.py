"""The border of the compiled core by named fields: what a call hands over, in the order of csrc/kernels.h.

All are plain tuples to the core, which reads them by place; here and there each place has one name.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from unrolled.notation import WEIGHTS


class Weights(NamedTuple):
    """The weights of one layer and direction, or their gradients; None for what the layer lacks."""

    W_ih: Any  # (G*H, I)
    W_hh: Any  # (G*H, P)
    b_ih: Any = None  # (G*H)
    b_hh: Any = None  # (G*H)
    W_hr: Any = None  # (P, H)


class Layout(NamedTuple):
    """How the rows of a sequence lie in memory, where they end and where the state returns."""

    batch_first: bool = False
    lengths: Any = None  # (B,) int64
    batch_sizes: Any = None  # (T,) int64: a packed call
    reset: Any = None  # bool, the shape of x without I


class Net(NamedTuple):
    """One layer with all its directions: what it reads, and where it writes."""

    x: Any  # (T, B, I), or (T, B) symbols; laid out as `Layout` says
    h_0: Any  # (D, B, P), None: zeros
    c_0: Any  # (D, B, H), None: zeros
    weights: Any  # of each direction, `Weights`
    y: Any  # (T, B, D*P)
    h_n: Any  # (D, B, P)
    c_n: Any  # (D, B, H), LSTM
    gates: Any = None  # kept for backward
    cells: Any = None  # kept for backward, LSTM


class Gradients(NamedTuple):
    """Gradients of one layer's outputs, None: zeros; and where those of its inputs go, None: not wanted."""

    dy: Any  # (T, B, D*P)
    dh_n: Any  # (D, B, P)
    dc_n: Any  # (D, B, H)
    dx: Any  # (T, B, I)
    dh_0: Any  # (D, B, P)
    dc_0: Any  # (D, B, H)
    weights: Any  # of each direction, `Weights`; all or none


assert Weights._fields == tuple(WEIGHTS)
