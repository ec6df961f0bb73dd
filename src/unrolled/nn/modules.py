"""Modules that hold recurrent weights: reading them by name, sharing them, viewing them gate by gate."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, NoReturn, TypeVar

import torch
from torch.fx import Proxy
from torch.nn.modules.module import _has_any_global_hook
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from unrolled.notation import gate_parameters, textbook_names

_Module = TypeVar("_Module", bound=torch.nn.Module)

#: Attributes of our own classes that anybody may set.
_SETTABLE = ("checkpoint_steps", "dropout_function")
#: Hooks of torch that compute a weight from others before each call, whatever the call is given.
_COMPUTING = (prune.BasePruningMethod, WeightNorm, SpectralNorm)


def named(module: torch.nn.Module, names: Sequence[str]) -> list[Any]:
    """Return the current values of these attributes, tensors or None.

    Looked up at every call: parametrizations, pruning, functional_call and plain reassignment all change them.  The
    dictionary is tried first because ``Module.__getattr__`` is slow.

    >>> [tuple(w.shape) for w in named(torch.nn.Linear(2, 3), ["weight", "bias"])]
    [(3, 2), (3,)]
    """
    try:
        return [*map(module._parameters.__getitem__, names)]
    except KeyError:
        return [getattr(module, name) for name in names]


def gradient(module: torch.nn.Module, name: str) -> torch.Tensor | None:
    """Return the gradient of a weight; None if it has none yet.

    Raises: ValueError for a weight that is computed from others, which hold the gradient.

    >>> gradient(torch.nn.Linear(2, 3), "weight") is None
    True
    """
    weight: torch.Tensor = getattr(module, name)
    if not (weight.is_leaf or weight.retains_grad):
        raise ValueError(
            f"{name} is computed from others, as by a parametrization or pruning, and has no gradient of its own; "
            "look at theirs, among named_parameters()"
        )
    return weight.grad


def check_count(layer: torch.nn.RNNBase, count: int) -> None:
    """Raise RuntimeError, as torch's layers do, unless a layer has weights for L layers of D directions.

    >>> check_count(torch.nn.GRU(4, 6, num_layers=2, bidirectional=True), 4)
    """
    if count != layer.num_layers * (1 + layer.bidirectional):
        raise RuntimeError(
            f"{type(layer).__name__}: num_layers is {layer.num_layers}, bidirectional {layer.bidirectional} and bias "
            f"{layer.bias}, unlike when its weights were made; make a new layer instead of changing these"
        )


def as_leaf(module: torch.nn.Module, input: Proxy, hx: Any, **options: Any) -> Proxy:
    """Return the result of a call that torch.fx traces: one node, as for a layer of torch.nn.

    Raises: TypeError if the module itself is what is traced, so that it cannot be a part.

    >>> from unrolled.nn import GRU
    >>> print(torch.fx.symbolic_trace(torch.nn.Sequential(GRU(4, 6))).code.strip())
    def forward(self, input):
        input_1 = input
        _0 = getattr(self, "0")(input_1);  input_1 = None
        return _0
    """
    tracer: Any = input.tracer
    path = tracer.path_of_module(module)
    if not path:
        raise TypeError(f"{type(module).__name__} is a leaf of torch.fx; trace a module that holds it")
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    return tracer.create_proxy("call_module", path, (input,) if hx is None else (input, hx), given)  # type: ignore[no-any-return]


def is_hooked(module: torch.nn.Module) -> bool:
    """Return whether a call of the module does more than the `forward` of its class, or a look at a weight computes it.

    >>> is_hooked(torch.nn.Linear(2, 3))
    False
    """
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in module.__dict__
        or "parametrizations" in module._modules
        or _has_any_global_hook()  # type: ignore[no-untyped-call]
    )


def beyond_weights(module: torch.nn.Module, hooks_after: bool, computing: bool = True) -> str:
    """Return what a call of the module does besides what its weights and its class say, or nothing.

    Args:
        hooks_after: whether hooks that see results count; most of them only look.
        computing: whether hooks count that only compute a weight; not for who has :func:`computed` run them.

    >>> linear = torch.nn.Linear(2, 3)
    >>> _ = linear.register_forward_pre_hook(lambda module, given: None)
    >>> beyond_weights(torch.nn.Linear(2, 3), hooks_after=False), beyond_weights(linear, hooks_after=False)
    ('', 'hooks of its forward')
    """
    if has_own_forward(module):
        return "a forward of its own"
    if isinstance(module, torch.nn.Embedding) and module.max_norm is not None:
        return "a max_norm"  # by which a call shortens the rows that it reads
    before = any(computing or not isinstance(hook, _COMPUTING) for hook in module._forward_pre_hooks.values())
    return "hooks of its forward" if before or (hooks_after and module._forward_hooks) else ""


def computed(module: _Module) -> _Module:
    """Return the module, its weights computed anew that torch's pruning or older norms compute before each call.

    For who reads the weights in place of calling: between a step of an optimiser and the next call they are old.

    >>> from torch.nn.utils import prune
    >>> linear = prune.identity(torch.nn.Linear(2, 3), "weight")
    >>> _ = torch.nn.init.ones_(linear.weight_orig)
    >>> bool((linear.weight == 1).all()), bool((computed(linear).weight == 1).all())
    (False, True)
    """
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, _COMPUTING):
            hook(module, ())
    return module


def has_own_forward(module: torch.nn.Module) -> bool:
    """Return whether the module, or its class, has another forward than the classes of torch.nn and of this package."""
    return "forward" in vars(module) or not type(module).forward.__module__.startswith(("torch.nn.", "unrolled.nn."))


def taken(cls: type[torch.nn.Module], name: str) -> bool:
    """Return whether a layer or cell of this class has something of this package's under a name, and torch's has not.

    An attribute of that name, such as ``self.step = torch.nn.Linear(6, 2)`` in a subclass, would hide it or be hidden.

    >>> from unrolled.nn import LSTM
    >>> taken(LSTM, "step"), taken(LSTM, "head"), taken(LSTM, "dropout"), taken(torch.nn.LSTM, "step")
    (True, False, False, False)
    """
    first = next((c for c in cls.__mro__ if name in vars(c)), None)
    ours = first is not None and first.__module__.startswith("unrolled.nn.")
    return ours and name not in _SETTABLE and not hasattr(cls.stock, name)  # type: ignore[attr-defined]


class GateView(property):
    """A name in the equations; `parts` are the blocks of weights that it is the sum of, by name."""

    parts: str


class OwnNames(torch.nn.Module):
    """A layer or cell of this package: nothing is set on it under a name that is `taken`."""

    def __setattr__(self, name: str, value: Any) -> None:
        if taken(type(self), name):
            package = next(c.__name__ for c in type(self).__mro__ if c.__module__.startswith("unrolled.nn."))
            remedy, gate = "choose another", getattr(type(self), name)
            if isinstance(gate, GateView):
                one = gate.parts.partition(" ")[0]
                of = "its weights" if one == name else gate.parts
                remedy += f", or write into {of}, as by .{one}.copy_(...) under torch.no_grad"
            raise AttributeError(
                f"{name} cannot be set on {type(self).__name__}: {package} of unrolled.nn has something else of that "
                f"name, which torch's lacks; {remedy}",
                name=name,
                obj=self,
            )
        super().__setattr__(name, value)


def names_taken(module: torch.nn.Module, cls: type[torch.nn.Module]) -> str:
    """Return the attributes of a module whose names are `taken` in the class that it is to have, or nothing."""
    held = (*vars(module), *module._modules, *module._parameters, *module._buffers)
    return ", ".join(name for name in held if taken(cls, name))


def sharing_parameters(module: torch.nn.Module, cls: type[_Module]) -> _Module:
    """Return a module of another class that shares the Parameters, buffers, hooks and settings of this one.

    Args: a layer or cell of torch or of this package, and the class of the same name in the other.
    Raises: TypeError for a parametrized module, whose class is its own, for one whose forward was replaced, and for one
        with attributes whose names are `taken`.

    >>> from unrolled.nn import LSTM
    >>> stock = torch.nn.LSTM(4, 6)
    >>> sharing_parameters(stock, LSTM).weight_ih_l0 is stock.weight_ih_l0
    True
    """
    if parametrize.is_parametrized(module):
        raise TypeError(
            f"{type(module).__name__} is parametrized; bake the weights in first, "
            "with torch.nn.utils.parametrize.remove_parametrizations"
        )
    if has_own_forward(module):
        raise TypeError(
            f"this {type(module).__name__} has a forward of its own, which would be left out or go on calling the old "
            "one; take it off first"
        )
    if names := names_taken(module, cls):
        raise TypeError(
            f"this {type(module).__name__} has attributes of its own, {names}, whose names {cls.__name__} of "
            "unrolled.nn has for something else; give them others first"
        )
    other = cls.__new__(cls)
    for key, value in module.__dict__.items():
        # The registries are copied: a hook or a parameter added to one is not added to the other.
        other.__dict__[key] = copy(value) if isinstance(value, (dict, list, set)) else value
    other._compiled_call_impl = None  # compile() compiled a call of the other class
    hooks: dict[int, Any] = other._load_state_dict_pre_hooks
    for number, hook in hooks.items():
        if hook.with_module and hook.module() is module:
            hooks[number] = type(hook)(hook.hook, other)
    return other


def refuse_script(module: torch.nn.Module) -> NoReturn:
    """Raise TypeError in the place of torch.jit.script, which calls this first, as `__prepare_scriptable__`.

    A layer of torch's cannot be returned for it to compile: torch.jit.script would leave that in the caller's model.
    """
    raise TypeError(
        f"torch.jit.script cannot compile {type(module).__name__} of unrolled.nn; compile a copy that has torch's, "
        "torch.jit.script(swap(copy.deepcopy(model), to='torch')), or use torch.compile or torch.export"
    )


def is_sharded(w: torch.Tensor) -> bool:
    """Return whether the processes of `fully_shard` share a weight, so that each holds a part of it."""
    held = sys.modules.get("torch.distributed.tensor")  # who shards has imported it; it takes half a second
    return held is not None and isinstance(w, held.DTensor)


def refuse_sharded(layer: torch.nn.Module, what: str, *, distributed: bool = True) -> None:
    """Raise ValueError if a process holds only a part of a layer's weights; `distributed` ones say so themselves.

    Args: the layer; what needs all of them.
    """
    for name, w in layer.named_parameters(recurse=False):
        _refuse_piece(name, w, what)
        if distributed and is_sharded(w):
            raise _sharded(name, what)


def _refuse_piece(name: str, w: torch.Tensor, what: str) -> None:
    """Raise ValueError for a flat piece of a weight, as FSDP makes them."""
    if name.startswith("weight") and w.dim() != 2:
        raise _sharded(name, what)


def _sharded(name: str, what: str) -> ValueError:
    return ValueError(
        f"{name} is sharded, so that each process holds a part of it, and {what} needs all of it; do that before the "
        "layer is sharded, or with gathered weights, as by full_tensor or FSDP.summon_full_params"
    )


def block_of(name: str, w: torch.Tensor, rows: slice | None) -> torch.Tensor:
    """Return rows of the weight of this name, or all of it: a view, but of a sharded one a copy."""
    _refuse_piece(name, w, "a gate")
    if rows is not None and is_sharded(w):
        said = (
            "this gate is a copy, for its weight is sharded: what is written to it is lost; write to the whole weight"
        )
        warnings.warn(said, stacklevel=4)
    return w if rows is None else w[rows]


def overwrite(w: torch.Tensor, values: torch.Tensor) -> None:
    """Write values to a weight, or of a sharded one those of the first process, each to its own part."""
    if is_sharded(w):
        from torch.distributed.tensor import DTensor, distribute_tensor

        assert isinstance(w, DTensor)
        values = distribute_tensor(values, w.device_mesh, w.placements)
    w.copy_(values)


def with_gate_views(kind: str) -> Callable[[type[_Module]], type[_Module]]:
    """Give a class that has a `gate` method a property for each name in the equations of its cell, ours and textbooks'.

    >>> from unrolled.nn import GRU
    >>> gru = GRU(3, 5)
    >>> gru.W_hz.data_ptr() == gru.weight_hh_l0[5:].data_ptr(), torch.equal(gru.b_z, gru.b_iz + gru.b_hz)
    (True, True)
    """

    def view(name: str, what: str, parts: str) -> GateView:
        made = GateView(lambda self: self.gate(name), doc=f"{name} of the first layer's forward direction, {what}.")
        made.parts = parts
        return made

    def decorate(cls: type[_Module]) -> type[_Module]:
        for name, _, _ in gate_parameters(kind):
            setattr(cls, name, view(name, "a view", name))
        for name, parts in textbook_names(kind).items():
            setattr(cls, name, view(name, " + ".join(parts), " + ".join(parts)))
        return cls

    return decorate
