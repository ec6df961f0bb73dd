"""Optimisers on one flat buffer that every parameter is a view of: a step is one call, not one per parameter."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch

from unrolled.config.training import TrainingConfig
from unrolled.core import elementwise
from unrolled.core.fields import AdamStep

#: Parameters start at multiples of this many elements, so that vector loads of each stay aligned.
ALIGNMENT = 16
#: How slowly the means of AdamW move, of the gradient and of its square.
BETA1, BETA2 = 0.9, 0.999


class FlatParameters:
    """All parameters of a model in one buffer, and all gradients in another of the same layout.

    The parameters stay the same objects, but their storage moves, until they are released.  The ``grad`` of each
    becomes a view that the backward pass adds to; `spans` has where each lies, from one to the next, by its id.

    Args: parameters: of one dtype, on the CPU; those without ``requires_grad`` are left out.

    >>> layer = torch.nn.Linear(3, 2)
    >>> flat = FlatParameters(layer.parameters())
    >>> _ = flat.values.data.zero_()
    >>> layer.weight.tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter]):
        trained = [p for p in parameters if p.requires_grad]
        starts = [0]
        for p in trained:
            starts.append(starts[-1] + -(-p.numel() // ALIGNMENT) * ALIGNMENT)
        self.values = torch.nn.Parameter(trained[0].new_zeros(starts[-1]))
        self.spans = {id(p): span for p, span in zip(trained, itertools.pairwise(starts), strict=True)}
        for p, start in zip(trained, starts[:-1], strict=True):
            span = slice(start, start + p.numel())
            p.data = self.values.data[span].view(p.shape).copy_(p.data)
        self._trained = trained
        self.keep_gradients_in(torch.zeros_like(self.values.data))

    def keep_gradients_in(self, zeros: torch.Tensor) -> None:
        """Keep the gradients in this buffer from now on, which is as long as the values."""
        self.gradients = self.values.grad = zeros
        for p in self._trained:
            start, _ = self.spans[id(p)]
            p.grad = zeros[start : start + p.numel()].view(p.shape)

    def release(self) -> None:
        """Give each parameter a storage of its own again, and no gradient.

        Views of one buffer would keep it and the gradients as long as the model lives, and safetensors refuses them.
        """
        for p in self._trained:
            p.data, p.grad = p.data.clone(), None


class Optimiser:
    """AdamW, SGD or RMSprop with gradient clipping, on the flat parameters of a model.

    Args:
        model: its parameters become views of one buffer.
        config: the rule, momentum, weight decay and clip norm.
    """

    def __init__(self, model: torch.nn.Module, config: TrainingConfig):
        self.flat = FlatParameters(model.parameters())
        self.clip_norm = config.clip_norm
        self.rule = RULES[config.optimiser](self.flat, config)

    def gradient_norm(self, N: float) -> float:
        """Return the Euclidean norm of the gradient of the mean over N symbols."""
        return math.sqrt(elementwise.sum_of_squares(self.flat.gradients, torch.get_num_threads())) / N

    def step(self, N: float, norm: float, learning_rate: float) -> None:
        """Take one step with the clipped mean gradient over N symbols, then zero the gradients."""
        scale = self.clip_norm / norm if 0 < self.clip_norm < norm else 1.0
        self.rule.step(learning_rate, scale / N)


class AdamW:
    """AdamW on one buffer, in one pass of the core that also scales the gradient and zeroes it.

    Source: Loshchilov and Hutter 2019; betas 0.9 and 0.999 and eps 1e-8, the defaults of torch.optim.AdamW.
    """

    def __init__(self, flat: FlatParameters, weight_decay: float):
        self.flat, self.values, self.weight_decay = flat, flat.values.data, weight_decay
        self.moments = {"exp_avg": torch.zeros_like(self.values), "exp_avg_sq": torch.zeros_like(self.values)}
        self.steps = torch.zeros((), dtype=torch.float32, device="cpu")

    def step(self, learning_rate: float, scale: float) -> None:
        """Take one step with the gradients times `scale`, then zero them."""
        self.steps += 1
        t = float(self.steps)
        elementwise.adam(
            AdamStep(self.values, self.flat.gradients, **self.moments),
            scale=scale,
            beta1=BETA1,
            beta2=BETA2,
            eps=1e-8,
            keep=1 - learning_rate * self.weight_decay,
            rate=learning_rate / (1 - BETA1**t),
            root=math.sqrt(1 - BETA2**t),
            threads=torch.get_num_threads(),
        )

    def state(self) -> dict[str, torch.Tensor]:
        """Return both moments and the number of steps."""
        return {**self.moments, "step": self.steps}

    def state_after(self, steps: int) -> dict[str, torch.Tensor]:
        """Return tensors of the names, types and shapes of the state after this many steps."""
        return self.state()

    def load_state(self, tensors: dict[str, torch.Tensor]) -> None:
        """Restore a state from :meth:`state`."""
        self.steps.copy_(tensors["step"])
        for name, moment in self.moments.items():
            moment.copy_(tensors[name])


class TorchOptimiser:
    """An optimiser of torch.optim on one buffer; each number has a place in the tensors that it keeps."""

    def __init__(self, flat: FlatParameters, rule: torch.optim.Optimizer, kept: Sequence[str]):
        self.flat, self.values, self.rule, self.kept = flat, flat.values, rule, kept

    def step(self, learning_rate: float, scale: float) -> None:
        """Take one step with the gradients times `scale`, then zero them."""
        self.flat.gradients.mul_(scale)
        self.rule.param_groups[0]["lr"] = learning_rate
        self.rule.step()
        self.flat.gradients.zero_()

    def state(self) -> dict[str, torch.Tensor]:
        """Return the optimiser's state by name."""
        return {name: value for name, value in self.rule.state[self.values].items() if torch.is_tensor(value)}

    def state_after(self, steps: int) -> dict[str, torch.Tensor]:
        """Return tensors of the names, types and shapes of the state after this many steps."""
        return {name: torch.zeros((), device="cpu") if name == "step" else self.values for name in self.kept if steps}

    def load_state(self, tensors: dict[str, torch.Tensor]) -> None:
        """Restore a state from :meth:`state`."""
        self.rule.state[self.values] = dict(tensors)


def _by_torch(rule: Any, kept: Sequence[str], flat: FlatParameters, config: TrainingConfig) -> TorchOptimiser:
    options = {"momentum": config.momentum, "weight_decay": config.weight_decay}
    momentum = ["momentum_buffer"] if config.momentum else []
    return TorchOptimiser(flat, rule([flat.values], config.learning_rate, **options), [*kept, *momentum])


#: The rules by the name in `TrainingConfig.optimiser`.  A new one is an entry here and its word there.
RULES: dict[str, Callable[[FlatParameters, TrainingConfig], AdamW | TorchOptimiser]] = {
    "adamw": lambda flat, config: AdamW(flat, config.weight_decay),
    "sgd": partial(_by_torch, torch.optim.SGD, []),
    "rmsprop": partial(_by_torch, torch.optim.RMSprop, ["step", "square_avg"]),
}
