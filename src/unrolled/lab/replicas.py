"""S replicas of a recurrent layer, each with weights and steps of its own, run in one call of the core.

Letters: S replicas, T time, B batch, I input symbols, H hidden, G gates.  The numbers of a replica do not depend on the
others: bit for bit they are those it has when it runs alone (tests/lab/test_replicas.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unrolled.core.fields import Weights
from unrolled.core.structs import Call, Gradients, Integers, Recurrence, run
from unrolled.nn import fused
from unrolled.notation import CELLS, has_cell_state, weight_shapes


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
        self._recurrences = [self._recurrence(s) for s in range(S)]
        self._gradients = [self._gradient(s) for s in range(S)] if gradients else []

    def _recurrence(self, s: int) -> Integers:
        """Return the recurrence of one replica."""
        fields = {"symbols": self.ids, "y": self.y, "h_0": self.h_0, "h_n": self.h_n}
        if has_cell_state(self.kind):
            fields |= {"c_0": self.c_0, "c_n": self.c_n}
        fields |= {name: saved for name, saved in self.saved._asdict().items() if saved.numel()}
        return Recurrence(weights=Weights(*(w[s] for w in self.weights)), **{name: t[s] for name, t in fields.items()})

    def _gradient(self, s: int) -> Integers:
        """Return the gradients of one replica; symbols have none."""
        fields = {"dy": self.dy}
        if self.states:
            fields |= {"dh_n": self.dh_n, "dc_n": self.dc_n, "dh_0": self.dh_0, "dc_0": self.dc_0}
        return Gradients(weights=Weights(*(g[s] for g in self.gradients)), **{name: t[s] for name, t in fields.items()})

    def forward(self, T: int | Sequence[int]) -> None:
        """Read `ids` (S, T, B) from the state `h_0`, `c_0`; write `y` and the final state `h_n`, `c_n`.

        Args:
            T: steps of all replicas, or of each.
        """
        self._run(T, [])

    def backward(self, T: int | Sequence[int]) -> None:
        """Overwrite the weights' gradients with those of the last forward, of as many steps, from `dy`."""
        self._run(T, self._gradients)

    def _run(self, T: int | Sequence[int], gradients: list[Integers]) -> None:
        if isinstance(T, int):
            self._call(T, self._recurrences, gradients)
        else:
            for s, steps in enumerate(T):
                self._call(steps, self._recurrences[s : s + 1], gradients[s : s + 1])

    def _call(self, T: int, recurrences: list[Integers], gradients: list[Integers]) -> None:
        """Run some of the replicas in one call of the core."""
        if not 0 < T <= self.T:
            raise ValueError(f"Replicas: asked for T = {T} steps, expected 1 to {self.T}, the longest it was made for")
        number, keep = CELLS[self.kind].number, bool(self._gradients)
        call = Call(cell=number, T=T, B=self.B, I=self.I, H=self.H, P=self.H, save=keep)
        run(self.y, call, recurrences, gradients, self.threads or torch.get_num_threads())


def _check(kind: str, weights: list[Tensor], S: int, I: int, H: int, dtype: torch.dtype | None = None) -> None:
    """Raise unless these are the weights of S replicas, whose parts the core can read by their addresses."""
    dtype = dtype or weights[0].dtype
    for (name, shape), w in zip(weight_shapes(kind, I, H).items(), weights, strict=True):
        if w.shape != (S, *shape) or w.dtype != dtype or w.dtype not in (torch.float32, torch.float64):
            expected = dtype if dtype == torch.float64 else torch.float32
            raise ValueError(f"Replicas: {name} is {w.dtype} {tuple(w.shape)}, expected {expected} {(S, *shape)}")
        if not w[0].is_contiguous():
            raise ValueError(f"Replicas: {name} of each replica must be contiguous; call .contiguous()")
