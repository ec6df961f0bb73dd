"""From torch's layers to these and back, over the same Parameters."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeVar

import torch
from torch.nn.modules.rnn import RNNCellBase
from torch.nn.utils import parametrize

from unrolled.config.checks import check_value
from unrolled.nn.cells import GRUCell, LSTMCell, RecurrentCell, RNNCell
from unrolled.nn.class_tests import class_tests
from unrolled.nn.layers import GRU, LSTM, RNN
from unrolled.nn.modules import names_taken, sharing_parameters
from unrolled.nn.recurrent_layer import RecurrentLayer

_Model = TypeVar("_Model", bound=torch.nn.Module)

_OURS: dict[type[torch.nn.Module], type[RecurrentLayer] | type[RecurrentCell]] = {
    cls.stock: cls for cls in (RNN, LSTM, GRU, RNNCell, LSTMCell, GRUCell)
}
#: Which class becomes which, by the package that a model is to have its recurrent modules from.
_TURNS: dict[str, dict[type[torch.nn.Module], type[torch.nn.Module]]] = {
    "unrolled": dict(_OURS),
    "torch": {ours: stock for stock, ours in _OURS.items()},
}


class Recurrent(NamedTuple):
    """A recurrent module inside a model, and what `swap` does with it."""

    name: str  #: as `model.named_modules()` has it: "" is the model itself
    cls: str  #: the class it has now
    turns: bool  #: whether `swap` gives it another
    why: str  #: the class it gets, or why it keeps its own


def from_torch(module: torch.nn.Module) -> RecurrentLayer | RecurrentCell:
    """Return the layer or cell of this package that corresponds to one of torch's, sharing its Parameters.

    Args: an RNN, LSTM, GRU, RNNCell, LSTMCell or GRUCell of torch.nn; it stays as it is.
    Raises: TypeError for any other module, and for a parametrized one.

    >>> stock = torch.nn.GRU(4, 6)
    >>> gru = from_torch(stock)
    >>> type(gru).__module__, gru.weight_hh_l0 is stock.weight_hh_l0
    ('unrolled.nn.layers', True)
    """
    ours = _OURS.get(parametrize.type_before_parametrizations(module))
    if ours is None:
        expected = ", ".join(map(_shown, _OURS))
        raise TypeError(f"from_torch expected one of {expected}, got {_shown(type(module))}")
    return sharing_parameters(module, ours)


def swap(model: _Model, to: Literal["unrolled", "torch"] = "unrolled") -> _Model:
    """Turn every recurrent layer and cell of torch.nn inside a model into this package's, or back, in place.

    The objects stay the same: an optimiser, a hook or a list that holds one of them or its Parameters still does.
    `explain_swap` lists them.

    Args:
        model: any module; it may itself be such a layer.
        to: "unrolled", or "torch" to turn all back, for code that looks for torch's classes.
    Returns: the same module.
    Raises: ValueError for another `to`.
    Warns: UserWarning with the names of recurrent modules it had to leave, and why; if there are none at all; and with
        the places in the model's own code that test for torch's classes, which a swapped layer is not.

    >>> model = swap(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.LSTM(4, 6)))
    >>> type(model[1]).__module__
    'unrolled.nn.layers'
    >>> type(swap(model, to="torch")[1]).__module__
    'torch.nn.modules.rnn'
    """
    turns, found = _turns(to), explain_swap(model, to)
    modules = dict(model.named_modules())
    for each in found:
        if each.turns:  # both classes keep the same attributes and nothing else
            modules[each.name].__class__ = turns[type(modules[each.name])]
    if not found:
        warnings.warn(f"swap found no recurrent layer or cell in {type(model).__name__}", stacklevel=2)
    left = [each for each in found if not isinstance(modules[each.name], (*turns.values(),))]
    if left:
        reasons = "; ".join(f"{each.name or 'the model'}, {each.cls}: {each.why}" for each in left)
        warnings.warn(f"swap left {reasons}", stacklevel=2)
    tests = class_tests(model, turns) if any(each.turns for each in found) else []
    if tests:
        warnings.warn(
            f"no longer true of the layers that swap turned: {', '.join(tests)}; "
            f"name {_package(turns.values())}'s class beside {_package(turns)}'s, or swap back",
            stacklevel=2,
        )
    return model


def explain_swap(model: torch.nn.Module, to: Literal["unrolled", "torch"] = "unrolled") -> list[Recurrent]:
    """Return what `swap` does with each recurrent module inside a model, and why; nothing is changed.

    Args: as for `swap`.
    Returns: one entry for each, in the order of `model.named_modules()`.
    Raises: ValueError for another `to`.

    >>> explain_swap(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.LSTM(4, 6)))
    [Recurrent(name='1', cls='torch.nn.LSTM', turns=True, why='becomes unrolled.nn.LSTM')]
    """
    turns = _turns(to)
    return [
        Recurrent(name, _shown(parametrize.type_before_parametrizations(module)), *_fate(module, turns))
        for name, module in model.named_modules()
        if isinstance(module, (torch.nn.RNNBase, RNNCellBase)) or _scripted(module)
    ]


def _turns(to: str) -> dict[type[torch.nn.Module], type[torch.nn.Module]]:
    """Return which class becomes which."""
    check_value("to", to, str)
    if to not in _TURNS:
        raise ValueError(f"to is {to!r}, expected one of {', '.join(map(repr, _TURNS))}")
    return _TURNS[to]


def _fate(module: torch.nn.Module, turns: dict[type[torch.nn.Module], type[torch.nn.Module]]) -> tuple[bool, str]:
    """Return whether a recurrent module gets another class, and which, or why it keeps its own."""
    cls = type(module)
    if "forward" in vars(module):
        return False, "a forward of its own was put onto it, which would go on calling the old one; take it off first"
    if cls in turns and (names := names_taken(module, turns[cls])):
        return (
            False,
            f"{_shown(turns[cls])} has something else under the names of its own attributes {names}; rename them",
        )
    if cls in turns and "dropout_function" in vars(module):
        return (
            False,
            "it has a dropout_function, which torch's layer would not call; take that off first, or write a "
            "SequenceModel with torch's layers by unrolled.export.to_torch",
        )
    if cls in turns:
        return True, f"becomes {_shown(turns[cls])}"
    if isinstance(module, (*turns.values(),)):
        return False, f"is of {_package(turns.values())} already"
    if _scripted(module):
        return False, "torch.jit.script has compiled it; swap first"
    if parametrize.is_parametrized(module):
        return False, "it is parametrized; call torch.nn.utils.parametrize.remove_parametrizations first"
    for old, new in turns.items():
        if isinstance(module, old) and not getattr(module, "beyond_torch", False):  # torch has no peepholes
            return False, f"it derives from {_shown(old)}; derive it from {_shown(new)}"
    return False, f"{_package(turns.values())} has no such class"


def _scripted(module: torch.nn.Module) -> bool:
    """Return whether torch.jit.script made this module of a recurrent one."""
    return isinstance(module, torch.jit.ScriptModule) and module.original_name in {cls.__name__ for cls in _OURS}


def _shown(cls: type) -> str:
    """Return the name under which a class is imported, "torch.nn.LSTM"; that of a class of anybody else's alone."""
    package = next((name for name in ("torch.nn", "unrolled.nn") if cls.__module__.startswith(f"{name}.")), None)
    return cls.__qualname__ if package is None else f"{package}.{cls.__qualname__}"


def _package(classes: Iterable[type]) -> str:
    """Return the package that exports these classes."""
    return _shown(next(iter(classes))).rpartition(".")[0]
