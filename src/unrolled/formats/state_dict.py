"""The network that named arrays are, by the names and shapes that torch gives the parameters of its layers."""

from __future__ import annotations

import re
from itertools import pairwise, permutations
from typing import Any, NamedTuple

from unrolled.formats.assembly import may_stand_before, natural
from unrolled.notation import CELLS, WEIGHTS, Kind, Weights, stored_name
from unrolled.saved.atomic_files import Tensors
from unrolled.saved.network import Array, Head, Layer, Network, When

#: The names of one recurrent module's parameters end so.
_RECURRENT = re.compile(rf"(?:(.*)\.)?(?:{'|'.join(WEIGHTS.values())})_l(\d+)(?:_reverse)?")
#: The cell by its gates; an RNN does not tell its nonlinearity.
_BY_GATES: dict[int, Kind] = {4: "LSTM", 3: "GRU"}
#: Names of one message.
_SHOWN = 20
#: Most recurrent modules whose order is looked for among all there are.
_MODULES = 6


class Named(NamedTuple):
    """The prefixes of the parts that a caller names; None for those that are to be found."""

    embedding: str | None = None
    rnn: tuple[str, ...] | None = None
    head: str | None = None


def network_in(
    tensors: Tensors, parts: Named, kind: Kind | None, *, when: When, softmax: bool, one_hot: bool
) -> Network:
    """Return the network that these arrays are.

    Raises: ValueError saying what there is, and what was expected.
    """
    modules = _modules(tensors)
    prefixes = _in_order(modules, tensors) if parts.rnn is None else list(parts.rnn)
    for prefix in prefixes:
        if prefix not in modules:
            raise ValueError(f"no recurrent layer is named {prefix!r}; {_told(tensors)}")
    if not prefixes:
        raise ValueError(f"no recurrent layer: no weight_ih_l0; {_told(tensors)}")
    layers: list[Layer] = []
    taken: set[str] = set()
    for number, prefix in enumerate(prefixes):
        made = _layers(tensors, prefix, kind, modules[prefix])
        if layers and layers[-1].width != made[0].I:
            raise ValueError(
                f"the recurrent layers {', '.join(map(repr, prefixes))} do not fit each other in this order; name "
                f"them, bottom first, with rnn=[...]; {_told(tensors)}"
            )
        taken |= {name for name in tensors if (m := _RECURRENT.fullmatch(name)) and (m[1] or "") == prefix}
        states = [f"initial.{number}_{which}" for which in range(len(CELLS[made[0].kind].states))]
        if all(name in tensors for name in states):
            made = _started(made, [tensors[name] for name in states])
            taken |= {*states}
        layers += made
    if kind is not None and kind not in {layer.kind for layer in layers}:
        found = ", ".join(sorted({layer.kind for layer in layers}))
        raise ValueError(f"kind is {kind!r}, but the weights are those of {found}")
    left = {name: w for name, w in tensors.items() if name not in taken}
    E, head = _around(left, tensors, parts, layers)
    if head is None and when != "each":
        raise ValueError(f"when is {when!r}, but there is no head to read it; leave it out")
    return Network(
        tuple(layers),
        None if E is None else left[f"{E}.weight"],
        one_hot,
        None if head is None else Head(left[f"{head}.weight"], left.get(f"{head}.bias"), when, softmax),
    )


def _modules(tensors: Tensors) -> dict[str, int]:
    """Return the prefixes of recurrent modules, each with how many layers it has."""
    found: dict[str, int] = {}
    for name in tensors:
        if match := _RECURRENT.fullmatch(name):
            found[match[1] or ""] = max(found.get(match[1] or "", 0), int(match[2][:6]) + 1)
    return found


def _in_order(modules: dict[str, int], tensors: Tensors) -> list[str]:
    """Return the prefixes of recurrent modules, bottom first: as their names count, or as only they fit each other.

    >>> _in_order({"rnn.10": 1, "rnn.9": 1}, {})
    ['rnn.9', 'rnn.10']

    Raises: ValueError if neither says the order.
    """
    found = sorted(modules)
    if len({re.sub(r"[0-9]+", "#", prefix) for prefix in found}) <= 1:
        return sorted(found, key=natural)
    widths = {prefix: _widths(tensors, prefix, modules[prefix]) for prefix in found}
    fitting = [
        order
        for order in (permutations(found) if len(found) <= _MODULES else ())
        if all(widths[below][1] == widths[above][0] for below, above in pairwise(order))
    ]
    if len(fitting) != 1:
        raise ValueError(
            f"there are several recurrent layers, {', '.join(map(repr, found))}, and nothing says their order; name "
            f"them, bottom first, with rnn=[...]; {_told(tensors)}"
        )
    return [*fitting[0]]


def _widths(tensors: Tensors, prefix: str, count: int) -> tuple[int, int]:
    """Return what the first layer of a recurrent module reads, I, and what its last one gives, D*P; 0 without one."""
    first, last = (tensors.get(f"{prefix}.{w}".lstrip(".")) for w in ("weight_ih_l0", f"weight_hh_l{count - 1}"))
    D = 2 if f"{prefix}.weight_ih_l{count - 1}_reverse".lstrip(".") in tensors else 1
    I, P = (0 if w is None or w.ndim != 2 else int(w.shape[1]) for w in (first, last))
    return I, D * P


def _layers(tensors: Tensors, prefix: str, kind: Kind | None, count: int) -> list[Layer]:
    made = []
    for number in range(min(count, len(tensors))):
        sides = [_weights(tensors, prefix, number, reverse) for reverse in (False, True)]
        directions = tuple(side for side in sides if side is not None)
        if sides[0] is None:
            raise ValueError(f"{prefix or 'the recurrent layer'}: layer {number} has no weight_ih_l{number}")
        made.append(Layer(_kind(directions[0], kind, prefix), directions))
    return made


def _weights(tensors: Tensors, prefix: str, number: int, reverse: bool) -> Weights | None:
    names = {name: f"{prefix}.{stored_name(name, number, reverse)}".lstrip(".") for name in WEIGHTS}
    found = {name: tensors[stored] for name, stored in names.items() if stored in tensors}
    if "W_ih" not in found:
        return None
    if "W_hh" not in found or any(w.ndim != (2 if name[0] == "W" else 1) for name, w in found.items()):
        raise ValueError(f"{names['W_hh']!r} is missing, or a parameter beside it has not the axes of a layer's")
    return Weights(**found)


def _kind(weights: Weights, told: Kind | None, prefix: str) -> Kind:
    rows, H = len(weights.W_ih), weights.W_hh.shape[1] if weights.W_hr is None else weights.W_hr.shape[1]
    gates, rest = divmod(rows, H) if H else (0, 1)
    if rest or gates not in (1, *_BY_GATES):
        raise ValueError(f"{prefix}.weight_ih_l0 has {rows} rows for H = {H}, expected H, 3*H or 4*H".lstrip("."))
    if gates > 1:
        return _BY_GATES[gates] if weights.p is None else "LSTM_PEEPHOLE"
    if told not in ("RNN_TANH", "RNN_RELU"):
        raise ValueError(
            f"{prefix or 'the recurrent layer'} is an RNN, whose weights do not tell its nonlinearity; say "
            f"kind='RNN_TANH' or 'RNN_RELU'"
        )
    return told


def _started(layers: list[Layer], states: list[Array]) -> list[Layer]:
    """Return the layers with the states before the first step that `NetworkModule` learned, each (L*D, 1, P or H)."""
    D = layers[0].D
    for s in states:
        if s.ndim != 3 or s.shape[:2] != (len(layers) * D, 1):
            raise ValueError(f"a learned initial state is {s.shape}, expected (L*D, 1, H) with L*D = {len(layers) * D}")
    return [
        Layer(layer.kind, layer.directions, tuple(tuple(s[n * D + d, 0] for s in states) for d in range(D)))
        for n, layer in enumerate(layers)
    ]


def _around(left: Tensors, tensors: Tensors, parts: Named, layers: list[Layer]) -> tuple[str | None, str | None]:
    """Return the prefixes of the embedding and of the head, None for one that is missing."""
    stems = [
        name.removesuffix(".weight") for name, w in sorted(left.items()) if name.endswith(".weight") and w.ndim == 2
    ]
    for role, named in (("embedding", parts.embedding), ("head", parts.head)):
        if named and named not in stems:
            raise ValueError(f"no {role} is named {named!r}; {_told(tensors)}")
    before = [s for s in stems if left[f"{s}.weight"].shape[1] == layers[0].I and f"{s}.bias" not in left]
    after = [s for s in stems if left[f"{s}.weight"].shape[1] == layers[-1].width]
    E = parts.embedding if parts.embedding is not None else _only("embedding", before, parts.head, after, tensors)
    head = parts.head if parts.head is not None else _only("head", after, E, (), tensors)
    if E and parts.embedding is None and left[f"{E}.weight"].shape[0] == left[f"{E}.weight"].shape[1]:
        raise ValueError(f"{E!r} is square, so it may be an embedding or a Linear without bias; say embedding={E!r}")
    if head and parts.head is None and may_stand_before(head, left[f"{head}.weight"], layers):
        raise ValueError(f"{head!r} may be the head or a Linear before the layers, for it is square; say head={head!r}")
    names = {f"{stem}.{w}" for stem in (E, head) if stem for w in ("weight", "bias")}
    surplus = sorted(left.keys() - names)
    if surplus and None in parts:
        raise ValueError(
            f"it also holds {_list(surplus)}, which is no part of a network here; to leave it out, name the parts with "
            f"embedding={E or ''!r}, rnn=[...], head={head or ''!r}"
        )
    return E or None, head or None


def _only(role: str, fitting: list[str], other: str | None, wanted: Any, tensors: Tensors) -> str | None:
    """Return the one prefix that fits a role, if one does; those that only fit the other role do not count."""
    found = [stem for stem in fitting if stem != other]
    if role == "embedding" and len([stem for stem in wanted if stem not in found]) == 0 and len(found) == 1:
        found = found if len(wanted) > 1 or found[0] not in wanted else []  # alone, it may be either
        if not found:
            raise ValueError(f"{fitting[0]!r} may be the embedding or the head; name it with embedding= or head=")
    if len(found) > 1:
        raise ValueError(f"{_list(found)} may each be the {role}; name it with {role}=; {_told(tensors)}")
    return found[0] if found else None


def _told(tensors: Tensors) -> str:
    return f"found are {_list([f'{name} {w.shape}' for name, w in sorted(tensors.items())])}"


def _list(names: list[str]) -> str:
    shown = ", ".join(f"{name:.80}" for name in names[:_SHOWN])
    return (shown or "none") + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
