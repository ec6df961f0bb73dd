"""Single-step inference with the weights packed once: for control, for audio, for text as it is typed."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor

from unrolled.config.checks import PositiveInt, check_value
from unrolled.core.stepper import CoreStepper, LayerWeights
from unrolled.nn import checks, fit, fused, reference
from unrolled.nn.layout import STEP
from unrolled.nn.modules import beyond_weights, refuse_sharded
from unrolled.nn.reach import PLAIN_TENSORS, Unseen, is_open
from unrolled.nn.recurrent_layer import RecurrentLayer, State


class Stepper:
    """Single steps of a layer with its weights as they are now, packed once; it holds the state itself.

    ``layer.step`` takes and returns a state and can be differentiated; this only runs forward, and a small layer's step
    costs a few microseconds.  The results are those of the whole sequence, bit for bit.  Only one thread at a time may
    use it.

    Args:
        layer: an RNN, LSTM or GRU of one direction, float32, float64 or bfloat16 on the CPU.  A later change of its
            weights is not noticed: make a new stepper.  With bfloat16 weights c is carried in float32.
        batch_size: B, rows that step together.
        one_hot: read one-hot indices, int64 (B,), instead of vectors.
    Raises: TypeError for any other module; ValueError for a bidirectional layer, which has no next step, for weights of
        another type or device, and for a layer with hooks or a forward of its own.

    >>> from unrolled.nn import GRU
    >>> gru, x = GRU(4, 6), torch.randn(5, 3, 4)
    >>> step = Stepper(gru, batch_size=3)
    >>> y = torch.stack([step(x_t) for x_t in x])
    >>> torch.equal(y, gru(x)[0].detach()), torch.equal(step.state, gru(x)[1].detach())
    (True, True)
    """

    def __init__(self, layer: RecurrentLayer, batch_size: int = 1, *, one_hot: bool = False):
        if not isinstance(layer, RecurrentLayer):
            raise TypeError(
                f"Stepper expected an RNN, LSTM or GRU of unrolled.nn, got {type(layer).__qualname__}; swap(layer) "
                "makes one of a layer of torch.nn"
            )
        refuse_sharded(layer, "a Stepper")
        name, of_layers = layer.stock.__name__, layer.weights()  # once: a parametrized weight is computed at each look
        W = of_layers[0].W_hh
        if layer.bidirectional:
            raise ValueError(f"{name} is bidirectional, expected one direction: the reverse one starts at the end")
        if more := beyond_weights(layer, hooks_after=True):
            raise ValueError(f"{name} has {more}, which single steps would leave out; take that off, or use layer.step")
        check_value("batch_size", batch_size, PositiveInt)
        if W.device.type != "cpu" or W.dtype not in fused.CORE_TYPES:
            raise ValueError(
                f"the weights of {name} are {W.dtype} on {W.device}, expected float32, float64 or bfloat16 on cpu"
            )
        fit.memory(dict(layer.named_parameters()))
        weights: list[LayerWeights] = [
            tuple(None if w is None else _as_numpy(w.detach().clone()) for w in direction) for direction in of_layers
        ]
        self._core = CoreStepper(layer.kind, weights, batch_size, symbols=one_hot)
        self._shape = torch.Size((batch_size,) if one_hot else (batch_size, layer.input_size))
        self._inputs = layer.input_size
        self._dtype = torch.int64 if one_hot else W.dtype
        self._narrow = W.dtype if W.dtype == torch.bfloat16 else None  # of what the core steps in float32
        with torch.inference_mode(False):  # later calls may write to them outside of it
            self._y = torch.from_numpy(self._core.output)
            self._states = [tuple(map(torch.from_numpy, arrays)) for arrays in self._core.states]  # of each layer

    def __call__(self, x: Tensor, *, reset: Tensor | None = None, reset_state: State | None = None) -> Tensor:
        """Read one step of every row and return the output (B, P), which is the caller's and has no gradient.

        Args:
            x: (B, I) of the weights' type, or one-hot indices (B,).
            reset: bool (B,): the rows whose state returns to zeros before the step, or to `reset_state`.
            reset_state: another state for a reset to return to, shaped as `state`.
        Raises: ValueError or TypeError for another shape, type or device; IndexError for an index outside [0, I);
            TypeError too where torch would have to see what happens.
        """
        if type(x) not in PLAIN_TENSORS or not is_open():
            raise Unseen.of("x", x, "the stepper's memory is its own; use layer.step")
        if reset is not None or reset_state is not None:
            self._check(x)
            fit.memory({"x": x})
            if checks.is_one_hot(x):  # before the state changes
                fit.one_hot_range(x, self._inputs, STEP)
            self._reset(x, reset, reset_state)
        if self._narrow is not None:
            self._check(x)
            x = x if checks.is_one_hot(x) else x.float()
        try:
            self._core.step(x)
        except ValueError:
            self._check(x)
            raise
        return self._y.clone() if self._narrow is None else self._y.to(self._narrow)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Stepper holds memory of the core and cannot be copied or pickled; copy its layer and its state"
        )

    def _check(self, x: Tensor) -> None:
        checks.dense("x", x)
        if x.dtype is not self._dtype or x.shape != self._shape or not x.is_cpu:
            raise ValueError(
                f"x is {x.dtype} {tuple(x.shape)} on {x.device}, expected {self._dtype} {tuple(self._shape)} on cpu"
                f"{self._remedy(x)}"
            )

    def _remedy(self, x: Tensor) -> str:
        """Return the end of a message about an x of another type: what would read it; "" if the type is right."""
        if x.dtype is self._dtype:
            return ""
        one_hot = self._dtype is torch.int64
        as_other = x.dim() == 2 and x.is_floating_point() if one_hot else x.dim() == 1 and checks.is_one_hot(x)
        return f"; Stepper(..., one_hot={not one_hot}) reads it" if as_other else checks.conversion(x)

    def _reset(self, x: Tensor, reset: Any, reset_state: State | None) -> None:
        checks.has_reset(reset)
        checks.resets(x, reset)
        now = self._together()
        other = reference.ZEROS
        if reset_state is not None:
            other = checks.states("Stepper", reset_state, len(now), "reset_state")
            checks.reset_states(other, [s.shape for s in now], now[0], autocast=False)
            fit.memory({f"{name} of reset_state": s for name, s in zip("hc", other, strict=False)})
        for layer, of_layer in enumerate(self._states):
            to = [None if s is None else s[layer].detach().to(of_layer[0].dtype) for s in other]
            for s, value in zip(of_layer, reference.after_reset(of_layer, reset, to), strict=True):
                s.copy_(value)

    @property
    def state(self) -> State:
        """The state, as hx of the layer's `forward`: h (L, B, P), for LSTM a pair with c (L, B, H); None sets zeros."""
        together = self._together()
        return (together[0], together[1]) if len(together) == 2 else together[0]

    @state.setter
    def state(self, hx: State | None) -> None:
        targets = list(zip(*self._states, strict=True))
        if hx is None:
            given = [torch.zeros_like(s) for s in self._together()]
        else:
            given = list(checks.states("Stepper", hx, len(targets)))
        checks.state_shapes(given, [(len(of_layers), *of_layers[0].shape) for of_layers in targets])
        dtype = self._narrow or self._y.dtype
        fit.memory(dict(zip(fit.STATES, given, strict=False)))
        for values in given:
            checks.dense("the state", values)
            if values.dtype != dtype or not values.is_cpu:
                raise ValueError(f"the state is {values.dtype} on {values.device}, expected {dtype} on cpu")
        for of_layers, values in zip(targets, given, strict=True):
            for to, value in zip(of_layers, values.detach(), strict=True):
                to.copy_(value)

    def _together(self) -> list[Tensor]:
        """Return h (L, B, P), for LSTM and c (L, B, H), of the type of the weights."""
        dtype = self._narrow or self._y.dtype
        return [torch.stack(of_layers).to(dtype) for of_layers in zip(*self._states, strict=True)]


def _as_numpy(w: Tensor) -> Any:
    """Return a weight as `CoreStepper` takes it."""
    return w.view(torch.uint16).numpy() if w.dtype == torch.bfloat16 else w.numpy()
