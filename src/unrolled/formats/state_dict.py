"""The parts that named arrays are, by the names and shapes that torch gives the parameters of its layers."""

from __future__ import annotations

import re
from collections.abc import Mapping

from unrolled.config.options import listed, option
from unrolled.formats.assembly import FilePart, assembled
from unrolled.formats.network_of import FormatError
from unrolled.formats.told import Told
from unrolled.notation import CELLS, WEIGHTS, Kind, Weights, stored_name
from unrolled.saved.atomic_files import Tensors
from unrolled.saved.network import Array, Layer, Network

#: The names of a cell's parameters, which are those of a module of one layer, and how those of modules end.
_CELL = re.compile(r"((?:.*\.)?(?:weight|bias)_(?:ih|hh))")
_RECURRENT = re.compile(rf"(?:(.*)\.)?(?:{'|'.join(WEIGHTS.values())})_l(\d+)(?:_reverse)?")
#: The cell by its gates; an RNN does not tell its nonlinearity.
_BY_GATES: dict[int, Kind] = {4: "LSTM", 3: "GRU"}


def network_in(where: str, tensors: Tensors, told: Told, owners: Mapping[str, str]) -> Network:
    """Return the network that these arrays are.

    Args: the file, for messages; its arrays by name; what the caller says; the dictionary of each array, where the
        file holds several.
    Raises: FormatError saying what there is, and what was expected.
    """
    names = {name: _as_layer(name, tensors) for name in tensors}
    tensors = {names[name]: w for name, w in tensors.items()}
    owners = {names[name]: owner for name, owner in owners.items()}
    modules = _modules(tensors)
    models = {owners[name] for names in modules.values() for name in names if name in owners}
    if len(models) > 1 and told.rnn is None:
        how = f"{option('rnn')}, and its {option('embedding')} and {option('head')}"
        raise FormatError(
            f"{where}: recurrent layers lie in several dictionaries, {listed(sorted(models))}; name those of one "
            f"network, lowest first, with {how}"
        )
    taken: set[str] = set()
    parts = [_recurrent(tensors, prefix, names, taken) for prefix, names in modules.items()]
    for name, w in sorted(tensors.items()):
        stem = name.removesuffix(".weight")
        if name.endswith(".weight") and w.ndim == 2 and w.size and name not in taken:
            b = tensors.get(f"{stem}.bias")
            parts.append(FilePart(stem, W=w, b=b, is_table=b is None))
            taken |= {name, f"{stem}.bias"}
    return assembled(where, [parts], told, sorted(tensors.keys() - taken))


def _as_layer(name: str, tensors: Tensors) -> str:
    """Return the name that a parameter of a cell has in a layer, if none has it yet; other names as they are."""
    return f"{name}_l0" if _CELL.fullmatch(name) and f"{name}_l0" not in tensors else name


def _modules(tensors: Tensors) -> dict[str, dict[str, int]]:
    """Return the prefixes of recurrent modules, each with its parameters and the number of the layer of each."""
    found: dict[str, dict[str, int]] = {}
    for name in tensors:
        if match := _RECURRENT.fullmatch(name):
            found.setdefault(match[1] or "", {})[name] = int(match[2][:6])
    return found


def _recurrent(tensors: Tensors, prefix: str, names: dict[str, int], taken: set[str]) -> FilePart:
    """Return one recurrent module; the names of its arrays are added to those that are taken."""
    layers = []
    for number in range(min(max(names.values()) + 1, len(names))):
        sides = [_weights(tensors, prefix, number, reverse) for reverse in (False, True)]
        directions = tuple(side for side in sides if side is not None)
        if sides[0] is None:
            raise ValueError(f"{prefix or 'the recurrent layer'}: layer {number} has no weight_ih_l{number}")
        layers.append(Layer(_kind(directions[0], prefix), directions))
    taken |= {*names}
    if place := re.fullmatch(r"((?:.*\.)?)rnn\.(\d+)", prefix):  # as `NetworkModule` names it, and what it learned
        states = [f"{place[1]}initial.{place[2]}_{which}" for which in range(len(CELLS[layers[0].kind].states))]
        if all(name in tensors for name in states):
            layers = _started(layers, [tensors[name] for name in states])
            taken |= {*states}
    return FilePart(prefix, tuple(layers))


def _weights(tensors: Tensors, prefix: str, number: int, reverse: bool) -> Weights | None:
    names = {name: f"{prefix}.{stored_name(name, number, reverse)}".lstrip(".") for name in WEIGHTS}
    found = {name: tensors[stored] for name, stored in names.items() if stored in tensors}
    if "W_ih" not in found:
        return None
    if "W_hh" not in found or any(w.ndim != (2 if name[0] == "W" else 1) for name, w in found.items()):
        raise ValueError(f"{names['W_hh']!r} is missing, or a parameter beside it has not the axes of a layer's")
    return Weights(**found)


def _kind(weights: Weights, prefix: str) -> Kind:
    rows, H = len(weights.W_ih), weights.W_hh.shape[1] if weights.W_hr is None else weights.W_hr.shape[1]
    gates, rest = divmod(rows, H) if H else (0, 1)
    if rest or gates not in (1, *_BY_GATES):
        raise ValueError(f"{prefix}.weight_ih_l0 has {rows} rows for H = {H}, expected H, 3*H or 4*H".lstrip("."))
    if gates > 1:
        return _BY_GATES[gates] if weights.p is None else "LSTM_PEEPHOLE"
    return "RNN_TANH"


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
