"""S nets with their heads, trained and run side by side: all weights in one array, one row a net.

Letters: S nets, T time, B batch, V input symbols, K answers of the head, H hidden, P parameters of a net.

A net's numbers must not depend on its neighbours, nor on how many there are.  The core promises that of the
recurrence, which walks each net's own steps; the head's products are taken net by net over blocks of a fixed number of
rows, and the blocks are added up in order, for a matrix product may sum in another order when its shape changes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.lab.noise import NoisyReplicas
from unrolled.lab.replicas import WEIGHTS, Replicas
from unrolled.nn import GRU, LSTM, RNN
from unrolled.nn.fused import block_steps
from unrolled.notation import stored_name, weight_shapes

Array = NDArray[Any]


class HeadedNet(Protocol):
    """A module with one recurrent layer that reads symbols one-hot, and a linear head on its output."""

    @property
    def rnn(self) -> RNN | LSTM | GRU: ...  # noqa: D102

    @property
    def head(self) -> torch.nn.Linear: ...  # noqa: D102


class Nets:
    """S nets of one shape.

    Args:
        models: the nets, whose weights are copied; :meth:`write_back` copies them back.
        B: rows of each net that are read together.
        T: the longest string, in steps.
        threads: that may walk the recurrence; 0 for torch's.
        cell_noise: standard deviation of the noise on LSTM's cell state.
        seeds: of each net's noise.

    Attributes:
        weights: all parameters (S, P) float32; `gradients` are laid out alike.
        recurrent: the columns of `weights` that hold the gates' weights and biases.

    >>> from unrolled.lm.model import ModelConfig, SequenceModel, Vocabulary
    >>> model = SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab"))
    >>> nets = Nets([model, model], B=1, T=5)
    >>> nets.ids[:, :5, 0] = 0, 0, 0, 1, 1
    >>> logits = nets.forward([5, 5])
    >>> logits.shape, bool((logits[:, 0] == logits[:, 1]).all())
    ((4, 2, 64), True)
    """

    def __init__(
        self,
        models: Sequence[HeadedNet],
        B: int,
        T: int,
        threads: int = 0,
        *,
        cell_noise: float = 0.0,
        seeds: Sequence[int] = (),
    ):
        self.models = models
        layer, K = models[0].rnn, models[0].head.out_features
        self.kind, self.S, self.B = layer.kind, len(models), B
        self.V, self.H, self.K = layer.input_size, layer.hidden_size, K
        self.block = block_steps(B)
        self.T = self.whole_blocks(T)
        shapes = {**weight_shapes(self.kind, self.V, self.H), "head": (K, self.H + 1)}  # the head's bias, a column
        ends = np.cumsum([math.prod(shape) for shape in shapes.values()]).tolist()
        self.recurrent = slice(0, ends[-2])
        self.weights, weights = _stacked(self.S, shapes, ends)
        self.gradients, gradients = _stacked(self.S, shapes, ends)
        self._head, self._head_gradient = weights.pop().numpy(), gradients.pop().numpy()
        self._weights = weights
        self._core: Replicas | NoisyReplicas
        if cell_noise:
            options: dict[str, Any] = {"sigma": cell_noise, "seeds": seeds}
            self._core = NoisyReplicas(weights, self.T, B, gradients, self.H + 1, threads, **options)
        else:
            self._core = Replicas(self.kind, weights, self.T, B, gradients, self.H + 1, threads)
        self.ids = self._core.ids.numpy()  # (S, T, B)
        self._y, self._dy = self._core.y.numpy(), self._core.dy.numpy()
        self._y[..., self.H] = 1  # what multiplies the head's bias
        self._read()

    @staticmethod
    def bytes(kind: str, S: int, B: int, T: int, H: int, K: int) -> int:
        """Return about how much memory S nets take while they are trained."""
        Hp, slots = -(-H // 16) * 16, {"LSTM": 5, "GRU": 4}.get(kind, 0)
        row = 8 + 4 * (2 * (H + 1) + slots * Hp + 6 * K)  # ids, y, dy, gates and cells, logits and their like
        return S * B * (T + block_steps(B)) * row

    def whole_blocks(self, T: int) -> int:
        """Return T rounded up to whole blocks of steps."""
        return -(-T // self.block) * self.block

    def forward(self, steps: Sequence[int]) -> Array:
        """Read so many steps of each net's `ids`.

        Returns: logits (K, S, T rounded up * B), whose places run over steps, then over B; T is the most steps, and
            what comes after a net's own steps means nothing.
        """
        self._steps, self._rows = steps, self.whole_blocks(max(steps))
        self._core.forward(steps)
        y = self._blocks(self._y)
        logits = np.empty((self.K, *y.shape[:3]), np.float32)
        np.matmul(self._head[:, None], y.transpose(0, 1, 3, 2), out=logits.transpose(1, 2, 0, 3))
        return logits.reshape(self.K, self.S, -1)

    def backward(self, dlogits: Array) -> None:
        """Overwrite `gradients` by those of the last forward, from the gradient of its logits, zero after the end."""
        d = dlogits.reshape(self.K, self.S, -1, self.block * self.B)
        np.add.reduce(d.transpose(1, 2, 0, 3) @ self._blocks(self._y), axis=1, out=self._head_gradient)
        np.matmul(d.transpose(1, 2, 3, 0), self._head[:, None], out=self._blocks(self._dy))
        self._core.backward(self._steps)

    def _blocks(self, rows: Array) -> Array:
        return rows[:, : self._rows].reshape(self.S, -1, self.block * self.B, self.H + 1)

    def _read(self) -> None:
        """Take over the models' weights."""
        for s, model in enumerate(self.models):
            for name, own in self._parameters(s, model):
                own.copy_(name.detach())
            self._head[s, :, : self.H] = model.head.weight.detach()
            self._head[s, :, self.H] = model.head.bias.detach()

    @torch.no_grad()
    def write_back(self) -> None:
        """Give the models the weights as they are now."""
        for s, model in enumerate(self.models):
            for name, own in self._parameters(s, model):
                name.copy_(own)
            model.head.weight.copy_(torch.from_numpy(self._head[s, :, : self.H].copy()))
            model.head.bias.copy_(torch.from_numpy(self._head[s, :, self.H].copy()))

    def _parameters(self, s: int, model: HeadedNet) -> list[tuple[torch.Tensor, torch.Tensor]]:
        names = [stored_name(weight) for weight in WEIGHTS]
        return [(getattr(model.rnn, name), own[s]) for name, own in zip(names, self._weights, strict=True)]


def _stacked(S: int, shapes: dict[str, tuple[int, ...]], ends: list[int]) -> tuple[Array, list[torch.Tensor]]:
    """Return zeros (S, P), and for each name a view (S, *shape) of them."""
    flat = torch.zeros(S, ends[-1])
    starts = [0, *ends[:-1]]
    assert [*shapes][:-1] == [*WEIGHTS]
    views = [flat[:, a:b].view(S, *shape) for a, b, shape in zip(starts, ends, shapes.values(), strict=True)]
    return flat.numpy(), views
