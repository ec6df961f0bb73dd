"""S replicas of a recurrent layer, each with weights and steps of its own, run in one call of the core.

Letters: S replicas, T time, B batch, I input symbols, H hidden, G gates.  The numbers of a replica do not depend on the
others: bit for bit they are those it has when it runs alone (tests/lab/test_replicas.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unrolled.core.fields import GradientTensors, LayerTensors, Layout, Weights
from unrolled.nn import fused
from unrolled.nn.reach import Unseen, core_reads
from unrolled.notation import has_cell_state, weight_shapes


class Replicas:
    """Buffers of S replicas that are run again and again on (T, B) symbols, up to a longest T.

    The caller writes `ids` before :meth:`forward`, reads `y` after it, and writes `dy` before :meth:`backward`; the
    gradients are in the tensors that were given.

    Args:
        kind: of cell, as in :data:`unrolled.notation.GATES`.
        weights: W_ih (S, G*H, I), W_hh (S, G*H, H), b_ih (S, G*H), b_hh (S, G*H), float32 or float64; each replica's
            part contiguous.
        T: the largest number of steps of a run.
        B: rows of each replica.
        gradients: where backward writes the gradients of `weights`, of the same shapes; None: forward only.
        width: numbers in a row of `y` and `dy`, H or more; those past H are the caller's.
        threads: how many threads may run; 0 for torch's setting.
        states: whether backward reads the gradients of the final states, `dh_n`, `dc_n`, and writes those of the
            initial states, `dh_0`, `dc_0`.
    Raises: ValueError if the weights are not those of one kind and size, or not contiguous replica by replica, or
        `width` is less than H.

    >>> weights = [torch.ones(2, *shape) for shape in weight_shapes("RNN_RELU", 3, 1).values()]
    >>> replicas = Replicas("RNN_RELU", weights, T=2, B=1)
    >>> replicas.forward(2)  # of symbol 0, twice
    >>> replicas.y.flatten(1)
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
        self.weights, self.gradients = weights, gradients or []
        like = weights[1]
        width = width or H
        self.ids = torch.zeros((S, T, B), dtype=torch.int64, device="cpu")
        self.y = like.new_zeros((S, T, B, width))
        self.dy = like.new_zeros((S, T, B, width)) if gradients else like.new_zeros(0)
        gates, cells = fused.saved_shapes(kind, (T, B), S, H, like.dtype) if gradients else ([0], [0])
        self.saved = fused.Saved(like.new_empty(gates), like.new_empty(cells))
        self.h_0, self.h_n, self.dh_0, self.dh_n = (like.new_zeros((S, B, H)) for _ in range(4))
        self.c_0, self.c_n, self.dc_0, self.dc_n = (like.new_zeros((S, B, H)) for _ in range(4))
        self._tensors: dict[tuple[int, int], tuple[LayerTensors, GradientTensors | None]] = {}

    def forward(self, T: int | Sequence[int]) -> None:
        """Read `ids` (S, T, B) from the state `h_0`, `c_0`; write `y` and the final state `h_n`, `c_n`.

        Args:
            T: steps of all replicas, or of each.
        """
        self._run(T, backward=False)

    def backward(self, T: int | Sequence[int]) -> None:
        """Overwrite the weights' gradients with those of the last forward, of as many steps, from `dy`."""
        self._run(T, backward=True)

    def _run(self, T: int | Sequence[int], backward: bool) -> None:
        if isinstance(T, int):
            self._call(range(self.S), T, backward)
        else:
            for s, steps in enumerate(T):
                self._call([s], steps, backward)

    def _call(self, replicas: Sequence[int], T: int, backward: bool) -> None:
        """Run some of the replicas in one call of the core."""
        if not 0 < T <= self.T:
            raise ValueError(f"Replicas: asked for T = {T}, expected 1 to {self.T}, the longest it was made for")
        if not core_reads(*self.weights, *self.gradients):
            raise Unseen.of("a weight", self.weights[0], "the replicas' memory is their own")
        layers, gradients = zip(*(self._views(s, T) for s in replicas), strict=True)
        fused.run(
            self.kind, Layout(), layers, gradients if backward else (), bool(self.gradients), 0, threads=self.threads
        )

    def _views(self, s: int, T: int) -> tuple[LayerTensors, GradientTensors | None]:
        """Return the tensors of one replica's first T steps; they are made once."""
        found = self._tensors.get((s, T))
        if found is None:
            found = self._tensors[s, T] = self._layer(s, T), self._gradient(s, T) if self.gradients else None
        return found

    def _layer(self, s: int, T: int) -> LayerTensors:
        one, steps = slice(s, s + 1), (s, slice(T))
        weights = Weights(*(w[s] for w in self.weights))
        saved = (t[one, :T] if t.dim() > 1 else t for t in self.saved)
        results = (self.y[steps][..., : self.H], self.h_n[one], self.c_n[one])
        c_0 = self.c_0[one] if has_cell_state(self.kind) else None
        return LayerTensors(self.ids[steps], self.h_0[one], c_0, [weights], *results, *saved)

    def _gradient(self, s: int, T: int) -> GradientTensors:
        """Return the gradients of one replica; symbols have none."""
        states = (self.dh_n, self.dc_n, self.dh_0, self.dc_0)
        dh_n, dc_n, dh_0, dc_0 = (t[s : s + 1] if self.states else None for t in states)
        weights = Weights(*(g[s] for g in self.gradients))
        return GradientTensors(self.dy[s, :T, :, : self.H], dh_n, dc_n, None, dh_0, dc_0, [weights])


def _check(kind: str, weights: list[Tensor], S: int, I: int, H: int, dtype: torch.dtype | None = None) -> None:
    """Raise unless these are the weights of S replicas, whose parts the core can write to."""
    dtype = dtype or weights[0].dtype
    for (name, shape), w in zip(weight_shapes(kind, I, H).items(), weights, strict=True):
        if w.shape != (S, *shape) or w.dtype != dtype or w.dtype not in (torch.float32, torch.float64):
            expected = dtype if dtype == torch.float64 else torch.float32
            raise ValueError(f"Replicas: {name} is {w.dtype} {tuple(w.shape)}, expected {expected} {(S, *shape)}")
        if not w[0].is_contiguous():
            raise ValueError(f"Replicas: {name} of each replica must be contiguous; call .contiguous()")
