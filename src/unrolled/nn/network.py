"""From modules to the network that they are, apart from torch: what is saved, shipped and exported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch

from unrolled.config.checks import check_value
from unrolled.nn import fit
from unrolled.nn.modules import beyond_weights, check_count, is_sharded, refuse_sharded
from unrolled.notation import WEIGHTS, Kind, Weights, stored_name
from unrolled.saved.network import Head, Layer, Network, When
from unrolled.saved.network_folder import save_network

#: Modules that only act in training.
_IDLE = (torch.nn.Dropout, torch.nn.Identity)
#: Modules that are read in place of being called.
_READ = (
    torch.nn.RNNBase,
    torch.nn.Embedding,
    torch.nn.Linear,
    torch.nn.Softmax,
    torch.nn.Sequential,
    torch.nn.ModuleList,
)


def network_of(module: Any, *, head: When = "each", one_hot: bool = False) -> Network:
    """Return the network that a module is, with copies of its weights.

    Args:
        module: an RNN, LSTM or GRU, of torch or of this package; a Sequential, list or tuple of an Embedding, such
            layers, a Linear and a Softmax, in this order, of which all but the layers may be missing; or a module that
            has a method `network()`, as `SequenceModel`.
        head: what the Linear reads: the output at "each" step; h of each direction after its "last" step, as `h_n`; or
            the output at the last step, "last_output", as `output[-1]`.
        one_hot: whether it reads symbols as one-hot vectors of the first layer's I.
    Raises: TypeError for any other module, naming it, and for one with hooks or a forward of its own; ValueError if
        its parts do not fit each other, or are of other types than float32 and float64.

    >>> from unrolled.nn import GRU
    >>> network = network_of([torch.nn.Embedding(9, 4), GRU(4, 6, bidirectional=True), torch.nn.Linear(12, 9)])
    >>> network.I, network.layers[0].width, network.width
    (9, 12, 9)
    """
    check_value("head", head, When)
    if callable(getattr(type(module), "network", None)):  # a part of that name is none of a model's methods
        found = module.network()
        if not isinstance(found, Network):
            raise TypeError(f"{type(module).__name__}.network() gives a {type(found).__name__}, expected a Network")
        return found
    parts = [part for part in _parts(module) if not isinstance(part, _IDLE)]
    embedding = after = None
    softmax = False
    if parts and isinstance(parts[0], torch.nn.Embedding):
        embedding = array_of(parts.pop(0).weight)
    if len(parts) > 1 and isinstance(parts[-1], torch.nn.Softmax):
        softmax = True
        if cast(torch.nn.Softmax, parts.pop()).dim == 0:
            raise TypeError("Softmax has dim=0, the axis of steps; give dim=-1, the axis of a head's predictions")
    if len(parts) > 1 and isinstance(parts[-1], torch.nn.Linear):
        linear = parts.pop()
        after = Head(array_of(linear.weight), None if linear.bias is None else array_of(linear.bias), head, softmax)
    if after is None and head != "each":
        raise ValueError(f"head is {head!r}, but there is no Linear after the layers to read it; leave it out")
    layers = tuple(layer for part in parts for layer in layers_of(part))
    return Network(layers, embedding, one_hot, after)


def save(
    module: Any, folder: str | Path, *, head: When = "each", one_hot: bool = False, overwrite: bool = False
) -> None:
    """Save a module so that `unrolled.runtime.load` can run it without torch.

    Args: as :func:`network_of`; the folder; whether to replace a model that is already there.
    Raises: TypeError and ValueError as :func:`network_of`; CheckpointError if the folder cannot be written.

    >>> from unrolled.nn import LSTM
    >>> save([LSTM(3, 5), torch.nn.Linear(5, 2)], "saved-layers")
    """
    save_network(folder, network_of(module, head=head, one_hot=one_hot), overwrite=overwrite)


def says_all(module: Any) -> None:
    """Raise TypeError if a module is read instead of being called, and a call would do more than its weights say.

    >>> says_all(torch.nn.Linear(2, 3))
    """
    if isinstance(module, _READ) and (more := beyond_weights(module, hooks_after=False)):
        raise TypeError(
            f"{type(module).__name__} has {more}, which its weights do not say; take that off first, as by "
            "torch.nn.utils.prune.remove or torch.nn.utils.remove_weight_norm, and give the parts that a network has"
        )


def _parts(module: Any) -> Iterator[torch.nn.Module]:
    if isinstance(module, torch.nn.RNNBase):
        refuse_sharded(module, "a network")
    says_all(module)
    if isinstance(module, (torch.nn.Sequential, torch.nn.ModuleList, list, tuple)):
        for part in module:
            yield from _parts(part)
    else:
        yield module


def layers_of(module: torch.nn.Module) -> Iterator[Layer]:
    """Yield the layers of a recurrent module, bottom first, with copies of its weights.

    Raises: TypeError for any other module; RuntimeError for one whose `num_layers` was changed by hand.
    """
    if not isinstance(module, torch.nn.RNNBase):
        raise TypeError(
            f"{type(module).__name__} cannot be saved as a part of a network, expected an Embedding, then RNN, LSTM or "
            "GRU layers, then a Linear, then a Softmax; save the recurrent layers alone"
        )
    check_count(module, len(module._all_weights))
    kind = cast(Kind, module.mode)
    for layer in range(module.num_layers):
        sides = (False, True) if module.bidirectional else (False,)
        yield Layer(kind, tuple(_weights(module, layer, reverse) for reverse in sides))


def _weights(module: torch.nn.RNNBase, layer: int, reverse: bool) -> Weights:
    found = {name: getattr(module, stored_name(name, layer, reverse), None) for name in WEIGHTS}
    return Weights(**{name: None if w is None else array_of(w) for name, w in found.items()})


def array_of(w: Any) -> Any:
    """Return a copy of the numbers of a weight.

    Raises: as :func:`shown`.

    >>> array_of(torch.ones(2))
    array([1., 1.], dtype=float32)
    """
    return shown(w, "a weight").copy()


def shown(w: Any, name: str) -> Any:
    """Return the numbers of a weight as an array, which may share its memory.

    Raises: RuntimeError if its memory was freed, as sharding frees it between calls; ValueError if it has no numbers,
        or a type that numpy lacks.

    >>> shown(torch.ones(2), "W")
    array([1., 1.], dtype=float32)
    """
    fit.memory({name: w})
    if is_sharded(w):
        raise ValueError(
            f"{name} is sharded, so that each process holds a part of it; gather it first, w.full_tensor()"
        )
    if w.is_meta:
        raise ValueError(f"{name} is on the meta device, so it has no numbers; load or make them first")
    try:
        return w.detach().cpu().resolve_neg().numpy()
    except TypeError:
        raise ValueError(f"{name} is {w.dtype}, which numpy lacks; convert the model, model.float()") from None
