"""A layer call as the fields of csrc/kernels.h, addresses among them, for copies of a layer: what one copy adds to the
address of another is a number, so the fields of all of them are soon told (copies.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from unrolled.nn.reference import DirectionWeights
from unrolled.nn.routes import fused
from unrolled.notation import CELL_NUMBERS, GATES

_T = TypeVar("_T", Tensor, "Tensor | None")


class Call:
    """One layer call as fields; holds every tensor whose address it gives away."""

    segment = 0

    def __init__(
        self,
        kind: str,
        x: Tensor,
        h0: Tensor | None,
        c0: Tensor | None,
        weights: Sequence[DirectionWeights],
        batch_first: bool,
        lengths: Tensor | None,
        batch_sizes: Tensor | None,
        reset: Tensor | None,
    ) -> None:
        self.kind = kind
        self.one_hot = not x.is_floating_point()
        self.x = x if self.one_hot else rows(x)
        self.h0, self.c0, self.batch_sizes, self.reset = whole(h0), whole(c0), whole(batch_sizes), reset
        self.lengths = whole(lengths)
        self.weights = [
            (whole(w_ih), whole(w_hh), whole(b_ih), whole(b_hh), whole(w_hr))
            for w_ih, w_hh, b_ih, b_hh, w_hr in weights
        ]
        self.time_axis = int(batch_first)
        self.packed = batch_sizes is not None
        self.rows = tuple(x.shape) if self.one_hot else tuple(x.shape[:-1])
        if batch_sizes is None:
            self.T, self.B = self.rows[self.time_axis], self.rows[1 - self.time_axis]
        else:
            self.T, self.B = batch_sizes.shape[0], int(batch_sizes[0])
        w_ih, w_hh = weights[0][0], weights[0][1]
        self.D, self.I, self.P = len(weights), w_ih.shape[1], w_hh.shape[1]
        self.H = w_hh.shape[0] // len(GATES[kind])

    def strides(self, rows: Tensor) -> tuple[int, int]:
        """Elements between one step and the next, and between one row of the batch and the next."""
        s = rows.stride()
        return (s[0], s[0]) if self.packed else (s[self.time_axis], s[1 - self.time_axis])

    def net(self, d: int, y: Tensor, h_n: Tensor, c_n: Tensor | None, saved: fused.Saved | None) -> list[int]:
        """Return the fields of struct Net for one direction."""
        x, item = self.x, y.element_size()
        fields = [0 if w is None else w.data_ptr() for w in self.weights[d]]
        place = (x.data_ptr(), *self.strides(x))
        fields += (0, 0, 0, *place) if self.one_hot else (*place, 0, 0, 0)
        fields += (_at(self.h0, d), _at(self.c0, d))
        fields += (y.data_ptr() + d * self.P * item, *self.strides(y), _at(h_n, d), _at(c_n, d))
        for kept in saved or ():
            if kept.numel():
                row = kept[d]
                fields += (row.data_ptr(), *(row.stride()[:2] if self.segment else self.strides(row)))
            else:
                fields += (0, 0, 0)
        if saved is None:
            fields += (0,) * 6
        fields.append(d)
        return fields

    def gradient(
        self,
        d: int,
        dy: Tensor | None,
        dh_n: Tensor | None,
        dc_n: Tensor | None,
        dx: Tensor | None,
        dh0: Tensor | None,
        dc0: Tensor | None,
        dweights: Sequence[Tensor | None],
    ) -> list[int]:
        """Return the fields of struct Gradients for one direction."""
        fields = [0, 0, 0]
        if dy is not None:
            fields = [dy.data_ptr() + d * self.P * dy.element_size(), *self.strides(dy)]
        fields += (_at(dh_n, d), _at(dc_n, d))
        fields += (0, 0, 0) if dx is None else (dx.data_ptr(), *self.strides(dx))
        fields += (int(self.D == 2), _at(dh0, d), _at(dc0, d))
        fields += [0 if g is None else g.data_ptr() for g in dweights]
        return fields

    def run(self, nets: list[int], gradients: list[int], keep: bool, copies: int = 1) -> None:
        """Hand the fields of struct Call, Net and Gradients to the core, for so many layers of this shape."""
        reset = (0, 0, 0) if self.reset is None else (self.reset.data_ptr(), *self.strides(self.reset))
        threads = torch.get_num_threads()  # unless UNROLLED_NUM_THREADS says otherwise
        lengths = 0 if self.lengths is None else self.lengths.data_ptr()
        batch_sizes = 0 if self.batch_sizes is None else self.batch_sizes.data_ptr()
        header = [CELL_NUMBERS[self.kind], self.T, self.B, self.I, self.H, self.P, self.D * copies]
        header += (lengths, batch_sizes, *reset, int(keep), threads, self.segment)
        fused.run_fields(self.weights[0][1].dtype, header, nets, gradients)


def whole(t: _T) -> _T:
    """Return a tensor that is contiguous."""
    return t if t is None else t.resolve_neg().contiguous()


def rows(t: _T) -> _T:
    """Return a tensor whose last axis is contiguous."""
    if t is not None:
        t = t.resolve_neg()  # torch may hold -t as t with a flag, which an address does not carry
        t = t if t.stride(-1) == 1 else t.contiguous()
    return t


def _at(t: Tensor | None, d: int) -> int:
    """Address of direction d of a (D, ...) tensor, 0 for none."""
    return 0 if t is None or not t.numel() else t.data_ptr() + d * t.stride(0) * t.element_size()
