"""S nets of one shape side by side: a call of the core walks as many as its cache holds.

Letters: S nets, T time, B batch, I input symbols, H hidden, G gates.  A net's numbers do not depend on its neighbours:
bit for bit they are those of the net alone (tests/nn/test_replicas.py).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from unrolled.nn import fused
from unrolled.notation import gate_count

#: Names of a net's weights in the order in which the core takes them.
WEIGHTS = ("W_ih", "W_hh", "b_ih", "b_hh")

#: Nets whose buffers together take no more are walked in one call; more would fall out of a core's own cache.
GROUP_BYTES = 1 << 20


def weight_shapes(kind: str, I: int, H: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of one net's weights by name.

    >>> weight_shapes("GRU", 4, 2)
    {'W_ih': (6, 4), 'W_hh': (6, 2), 'b_ih': (6,), 'b_hh': (6,)}
    """
    GH = gate_count(kind) * H
    return {"W_ih": (GH, I), "W_hh": (GH, H), "b_ih": (GH,), "b_hh": (GH,)}


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
    Raises: ValueError if the weights are not those of one kind and size, or not contiguous net by net.

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
    ):
        S, _, H = weights[1].shape
        I = weights[0].shape[-1]
        _check(kind, weights, S, I, H)
        _check(kind, gradients or weights, S, I, H)
        self.kind, self.S, self.T, self.B, self.I, self.H = kind, S, T, B, I, H
        self._held = (weights, gradients)  # the core has their addresses
        like = weights[1]
        width = width or H
        self.ids = torch.zeros((S, T, B), dtype=torch.int64)
        self.y = like.new_zeros((S, T, B, width))
        self.dy = like.new_zeros((S, T, B, width)) if gradients else like.new_zeros(0)
        gates, cells = fused.saved_shapes(kind, (T, B), S, H, like.element_size()) if gradients else ([0], [0])
        self.saved = fused.Saved(like.new_empty(gates), like.new_empty(cells))
        self.h_0, self.h_n = like.new_zeros((S, B, H)), like.new_zeros((S, B, H))
        self.c_0, self.c_n = like.new_zeros((S, B, H)), like.new_zeros((S, B, H))
        used = sum(t.nbytes for t in (self.ids, self.y, self.dy, *self.saved)) // S
        together = max(1, GROUP_BYTES // max(1, used))
        self._groups = [range(s, min(s + together, S)) for s in range(0, S, together)]
        self._workers: ThreadPoolExecutor | None = None
        self._nets = [field for s in range(S) for field in self._net(s, weights)]
        self._gradients = [field for s in range(S) for field in self._gradient(s, gradients)] if gradients else []

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
        """Return the fields of struct Gradients: no gradient of the first state, nor of symbols."""
        dy = (self.dy[s].data_ptr(), *self.dy.stride()[1:3])
        return [*dy, 0, 0, 0, 0, 0, 0, 0, 0, *(g[s].data_ptr() for g in gradients), 0]

    def forward(self, T: int) -> None:
        """Read `ids` (S, T, B) from the state `h_0`, `c_0`; write `y` and the state after, `h_n`, `c_n`."""
        self._run(T, [])

    def backward(self, T: int) -> None:
        """Overwrite the weights' gradients by those of the last forward of T steps, from `dy`."""
        self._run(T, self._gradients)

    def _run(self, T: int, gradients: list[int]) -> None:
        if not 0 < T <= self.T:
            raise ValueError(f"Replicas: asked for T = {T} steps, expected 1 to {self.T}, the longest it was made for")
        threads = torch.get_num_threads()
        if threads == 1 or len(self._groups) == 1:
            for group in self._groups:
                self._call(T, gradients, group, threads)
        else:
            # A thread walks a group from its first step to its last; none waits for another at each step.
            if self._workers is None:
                self._workers = ThreadPoolExecutor(threads)
            for done in [self._workers.submit(self._call, T, gradients, group, 1) for group in self._groups]:
                done.result()

    def _call(self, T: int, gradients: list[int], group: range, threads: int) -> None:
        """Walk some of the nets in one call of the core."""
        mine = [
            part[group.start * len(part) // self.S : group.stop * len(part) // self.S]
            for part in (self._nets, gradients)
        ]
        sizes = (T, self.B, self.I, self.H)
        keep = bool(self._gradients)
        fused.run_nets(self.kind, self.y.dtype, sizes, len(group), *mine, keep=keep, threads=threads)


def _check(kind: str, weights: list[Tensor], S: int, I: int, H: int) -> None:
    """Raise unless these are the weights of S nets, whose parts the core can read by their addresses."""
    for (name, shape), w in zip(weight_shapes(kind, I, H).items(), weights, strict=True):
        if w.shape != (S, *shape) or w.dtype != weights[0].dtype or w.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"Replicas: {name} is {w.dtype} {tuple(w.shape)}, expected float {(S, *shape)}")
        if not w[0].is_contiguous():
            raise ValueError(f"Replicas: {name} of each net must be contiguous; call .contiguous()")
