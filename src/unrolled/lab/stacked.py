"""S models with their heads, trained together: all weights in one array, one row per model.

Letters: S models, T time, B batch, V input symbols, K answers of the head, H hidden, P parameters of a model.

The numbers of a model must not depend on the other models or their count.  The core guarantees that for the
recurrence.  The products of the head are taken model by model over blocks of a fixed number of rows, and the blocks
are summed in order, because a matrix product may change its order of summation with its shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.lab.heads import HeadedModel
from unrolled.lab.noise import NoisyReplicas
from unrolled.lab.replicas import Replicas
from unrolled.lm.model import SequenceModel
from unrolled.nn.fused import block_steps
from unrolled.notation import CELLS, has_cell_state, stored_name, weight_shapes

Array = NDArray[Any]


#: A model with one recurrent layer that reads symbols one-hot, and a linear head on its output.
RecurrentModel = SequenceModel | HeadedModel


class StackedModels:
    """S models of one shape.

    Args:
        models: their weights are copied; :meth:`write_back` copies them back.
        B: batch size of each model.
        T: steps of the longest string.
        threads: for the recurrence; 0 for torch's number.
        cell_noise: standard deviation of the noise on the cell state.
        seeds: of the noise, one for each model.

    Attributes:
        weights: all parameters (S, P) float32; `gradients` has the same layout.
        recurrent: the columns of `weights` with the weights and biases of the gates.

    >>> from unrolled.lm.model import ModelConfig, SequenceModel, Vocabulary
    >>> model = SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab"))
    >>> stacked = StackedModels([model, model], B=1, T=5)
    >>> stacked.ids[:, :5, 0] = 0, 0, 0, 1, 1
    >>> logits = stacked.forward([5, 5])
    >>> logits.shape, bool((logits[:, 0] == logits[:, 1]).all())
    ((4, 2, 64), True)
    """

    def __init__(
        self,
        models: Sequence[RecurrentModel],
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
        shapes = {**weight_shapes(self.kind, self.V, self.H), "head": (K, self.H + 1)}  # the last column is its bias
        ends = np.cumsum([math.prod(shape) for shape in shapes.values()]).tolist()
        self.recurrent = slice(0, ends[-2])
        self.weights, self._views = _stacked(self.S, shapes, ends)
        self.gradients, (*gradients, head_gradient) = _stacked(self.S, shapes, ends)
        *weights, head = self._views
        self._head, self._head_gradient = head.numpy(), head_gradient.numpy()
        given = (self.kind, weights, self.T, B, gradients, self.H + 1, threads)
        self._core: Replicas | NoisyReplicas = (
            NoisyReplicas(*given, sigma=cell_noise, seeds=seeds) if cell_noise else Replicas(*given)
        )
        self.ids = self._core.ids.numpy()  # (S, T, B)
        self._y, self._dy = self._core.y.numpy(), self._core.dy.numpy()
        self._y[..., self.H] = 1  # multiplies the bias of the head
        for theirs, own in self._parameters():
            own.copy_(theirs.detach())

    @staticmethod
    def memory(kind: str, S: int, B: int, T: int, H: int, K: int) -> int:
        """Return about how many bytes S models take during training."""
        Hp, slots = -(-H // 16) * 16, len(CELLS[kind].saved) + has_cell_state(kind)
        row = 8 + 4 * (2 * (H + 1) + slots * Hp + 6 * K)  # ids, y, dy, gates and cells, logits and their gradients
        return S * B * (T + block_steps(B)) * row

    def whole_blocks(self, T: int) -> int:
        """Return T rounded up to whole blocks of steps."""
        return -(-T // self.block) * self.block

    def forward(self, steps: Sequence[int]) -> Array:
        """Run each model on its number of steps of `ids`.

        Returns: logits (K, S, T * B), steps before rows, with T the most steps rounded up to whole blocks; after a
            model's own steps they are meaningless.
        """
        self._steps, self._rows = steps, self.whole_blocks(max(steps))
        self._core.forward(steps)
        y = self._blocks(self._y)
        logits = np.empty((self.K, *y.shape[:3]), np.float32)
        np.matmul(self._head[:, None], y.transpose(0, 1, 3, 2), out=logits.transpose(1, 2, 0, 3))
        return logits.reshape(self.K, self.S, -1)

    def backward(self, dlogits: Array) -> None:
        """Overwrite `gradients` with those of the last forward, from the gradient of its logits, zero after the end."""
        d = dlogits.reshape(self.K, self.S, -1, self.block * self.B)
        np.add.reduce(d.transpose(1, 2, 0, 3) @ self._blocks(self._y), axis=1, out=self._head_gradient)
        np.matmul(d.transpose(1, 2, 3, 0), self._head[:, None], out=self._blocks(self._dy))
        self._core.backward(self._steps)

    def _blocks(self, rows: Array) -> Array:
        return rows[:, : self._rows].reshape(self.S, -1, self.block * self.B, self.H + 1)

    @torch.no_grad()
    def write_back(self) -> None:
        """Copy the weights to the models."""
        for theirs, own in self._parameters():
            theirs.copy_(own)

    def _parameters(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield each parameter of each model, and its place in `weights`."""
        names = [stored_name(weight) for weight in weight_shapes(self.kind, self.V, self.H)]
        for s, model in enumerate(self.models):
            *weights, head = (view[s] for view in self._views)
            yield from zip((getattr(model.rnn, name) for name in names), weights, strict=True)
            yield model.head.weight, head[:, : self.H]
            yield model.head.bias, head[:, self.H]


def _stacked(S: int, shapes: dict[str, tuple[int, ...]], ends: list[int]) -> tuple[Array, list[torch.Tensor]]:
    """Return zeros (S, P), and for each name a view (S, *shape) of them."""
    flat = torch.zeros(S, ends[-1], dtype=torch.float32, device="cpu")
    starts = [0, *ends[:-1]]
    views = [flat[:, a:b].view(S, *shape) for a, b, shape in zip(starts, ends, shapes.values(), strict=True)]
    return flat.numpy(), views
