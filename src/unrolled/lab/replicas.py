"""S nets of one shape side by side, each with as many steps as its own strings have.

Letters: S nets, T time, B batch, I input symbols, H hidden, G gates.  A net's numbers do not depend on its neighbours:
bit for bit they are those of the net alone (tests/nn/test_replicas.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

from unrolled.nn import fused
from unrolled.notation import weight_shapes

#: Names of a net's weights in the order in which the core takes them.
WEIGHTS = ("W_ih", "W_hh", "b_ih", "b_hh")


class Replicas:
    """Buffers and addresses of S nets that are run again and again on (T, B) symbols, T up to a longest.

    The arrays are written to and read by the caller: `ids` before :meth:`forward`, `y` after it, `dy` before
    :meth:`backward`; the gradients lie in the tensors that were given.

    Args:
        kind: of cell, as in :data:`unrolled.notation.GATES`.
        weights: W_ih (S, G*H, I), W_hh (S, G*H, H), b_ih (S, G*H), b_hh (S, G*H), float32 or float64; each net's own
            part contiguous.
        T: the longest run, in steps.
        B: rows of each net.
        gradients: where backward puts the gradients of `weights`, of the same shapes; None: only forward.
        width: numbers in a row of `y` and `dy`, H or more; what lies past H is the caller's.
        threads: that may walk; 0 for torch's.
        states: whether backward reads the gradients of the states after, `dh_n`, `dc_n`, and writes those of the
            states before, `dh_0`, `dc_0`.
    Raises: ValueError if the weights are not those of one kind and size, or not contiguous net by net, or `width` is
        less than H.

    >>> weights = [torch.ones(2, *shape) for shape in weight_shapes("RNN_RELU", 3, 1).values()]
    >>> nets = Replicas("RNN_RELU", weights, T=2, B=1)
    >>> nets.forward(2)  # of symbol 0, twice
    >>> nets.y.flatten(1)
    tensor([[3., 6.],
            [3., 6.]])
    """

    def __init__(
        self,
        kind: str,
        weights: list[Tensor],
        T: int,
        B: int,
        gradients: list[Tensor] | None = None,
        width: int | None = None,
        threads: int = 0,
        states: bool = False,
    ):
        S, _, H = weights[1].shape
        I = weights[0].shape[-1]
        _check(kind, weights, S, I, H)
        _check(kind, gradients or weights, S, I, H, weights[0].dtype)
        if width is not None and width < H:
            raise ValueError(f"Replicas: width is {width}, expected H = {H} or more")
        self.kind, self.S, self.T, self.B, self.I, self.H = kind, S, T, B, I, H
        self.threads, self.states = threads, states
        self.weights, self.gradients = weights, gradients or []  # the core has their addresses
        like = weights[1]
        width = width or H
        self.ids = torch.zeros((S, T, B), dtype=torch.int64)
        self.y = like.new_zeros((S, T, B, width))
        self.dy = like.new_zeros((S, T, B, width)) if gradients else like.new_zeros(0)
        gates, cells = fused.saved_shapes(kind, (T, B), S, H, like.element_size()) if gradients else ([0], [0])
        self.saved = fused.Saved(like.new_empty(gates), like.new_empty(cells))
        self.h_0, self.h_n, self.dh_0, self.dh_n = (like.new_zeros((S, B, H)) for _ in range(4))
        self.c_0, self.c_n, self.dc_0, self.dc_n = (like.new_zeros((S, B, H)) for _ in range(4))
        self._nets = [self._net(s, weights) for s in range(S)]
        self._gradients = [self._gradient(s, gradients) for s in range(S)] if gradients else []

    def _net(self, s: int, weights: list[Tensor]) -> list[int]:
        """Return the fields of struct Net (csrc/kernels.h)."""
        lstm = self.kind == "LSTM"
        fields = [w[s].data_ptr() for w in weights] + [0]
        fields += (0, 0, 0, self.ids[s].data_ptr(), *self.ids.stride()[1:])
        fields += (self.h_0[s].data_ptr(), self.c_0[s].data_ptr() if lstm else 0)
        fields += (self.y[s].data_ptr(), *self.y.stride()[1:3])
        fields += (self.h_n[s].data_ptr(), self.c_n[s].data_ptr() if lstm else 0)
        for kept in self.saved:
            fields += (kept[s].data_ptr(), *kept.stride()[1:3]) if kept.numel() else (0, 0, 0)
        return [*fields, 0]

    def _gradient(self, s: int, gradients: list[Tensor]) -> list[int]:
        """Return the fields of struct Gradients: none of the symbols."""
        dh_n, dc_n, dh_0, dc_0 = (
            t[s].data_ptr() if self.states else 0 for t in (self.dh_n, self.dc_n, self.dh_0, self.dc_0)
        )
        dy = (self.dy[s].data_ptr(), *self.dy.stride()[1:3])
        return [*dy, dh_n, dc_n, 0, 0, 0, 0, dh_0, dc_0, *(g[s].data_ptr() for g in gradients), 0]

    def forward(self, T: int | Sequence[int]) -> None:
        """Read `ids` (S, T, B) from the state `h_0`, `c_0`; write `y` and the state after, `h_n`, `c_n`.

        Args:
            T: steps of all nets, or of each.
        """
        self._run(T, [])

    def backward(self, T: int | Sequence[int]) -> None:
        """Overwrite the weights' gradients by those of the last forward, which had as many steps, from `dy`."""
        self._run(T, self._gradients)

    def _run(self, T: int | Sequence[int], gradients: list[list[int]]) -> None:
        if isinstance(T, int):
            self._call(T, self.S, [*chain(*self._nets)], [*chain(*gradients)])
        else:
            for s, steps in enumerate(T):
                self._call(steps, 1, self._nets[s], gradients[s] if gradients else [])

    def _call(self, T: int, S: int, nets: list[int], gradients: list[int]) -> None:
        """Walk S of the nets, whose fields these are, in one call of the core."""
        if not 0 < T <= self.T:
            raise ValueError(f"Replicas: asked for T = {T} steps, expected 1 to {self.T}, the longest it was made for")
        fused.run_nets(
            self.kind,
            self.y.dtype,
            (T, self.B, self.I, self.H),
            S,
            nets,
            gradients,
            keep=bool(self._gradients),
            threads=self.threads or torch.get_num_threads(),
        )


def _check(kind: str, weights: list[Tensor], S: int, I: int, H: int, dtype: torch.dtype | None = None) -> None:
    """Raise unless these are the weights of S nets, whose parts the core can read by their addresses."""
    dtype = dtype or weights[0].dtype
    for (name, shape), w in zip(weight_shapes(kind, I, H).items(), weights, strict=True):
        if w.shape != (S, *shape) or w.dtype != dtype or w.dtype not in (torch.float32, torch.float64):
            expected = dtype if dtype == torch.float64 else torch.float32
            raise ValueError(f"Replicas: {name} is {w.dtype} {tuple(w.shape)}, expected {expected} {(S, *shape)}")
        if not w[0].is_contiguous():
            raise ValueError(f"Replicas: {name} of each net must be contiguous; call .contiguous()")
