"""The folder of any network: that of a text model where it is one, else config.json with a `network` in it.

A folder without symbols has no vocabulary.json.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from unrolled.config.checks import LARGEST
from unrolled.notation import CELLS, SHAPES, Kind, Weights, stored_name, weight_shapes
from unrolled.saved.atomic_files import CheckpointError, Tensors, unchanged
from unrolled.saved.model import SavedModel, read_config, read_parts, save_model
from unrolled.saved.network import Head, Layer, Network, TextPart, When, initial_name, without_weights
from unrolled.saved.tensors import Expected, check_tensors

_Size = Annotated[int, Meta(ge=1, le=LARGEST)]
_Count = Annotated[int, Meta(ge=0, le=LARGEST)]


class _Layer(msgspec.Struct, forbid_unknown_fields=True):
    kind: Kind
    hidden_size: _Size
    proj_size: _Count = 0
    directions: Annotated[int, Meta(ge=1, le=2)] = 1
    bias: bool = True
    learned_initial_state: bool = False

    @property
    def width(self) -> int:
        return self.directions * (self.proj_size or self.hidden_size)


class _Head(msgspec.Struct, forbid_unknown_fields=True):
    size: _Size
    bias: bool = True
    when: When = "each"
    softmax: bool = False


class _Network(msgspec.Struct, forbid_unknown_fields=True):
    """What config.json says of a network: all that its tensors do not."""

    dtype: str
    input_size: _Size  # V of symbols, I of vectors
    symbols: bool
    layers: Annotated[list[_Layer], Meta(min_length=1)]
    embedding_size: _Count = 0
    framed: bool | None = None
    head: _Head | None = None


def save_network(folder: str | Path, network: Network, *, overwrite: bool = False) -> None:
    """Write a network to a folder; a network of text that a `SequenceModel` can be is saved as one.

    Raises: CheckpointError as :func:`unrolled.saved.model.save_model`; ValueError if a matrix is not one that `narrow`
        of the network holds.
    """
    text, tensors = network.text, network.tensors()
    vocabulary = None if text is None else text.vocabulary
    start = {} if text is None else {"start": text.start.astype(network.dtype)}
    model = network.model_config()
    config = (network.origin or {}) | ({} if network.narrow is None else {"weights": network.narrow})
    if model is None:
        save_model(
            folder,
            config | {"network": msgspec.to_builtins(_described(network))},
            vocabulary,
            tensors | start,
            overwrite=overwrite,
        )
        return
    assert text is not None
    config |= {"model": msgspec.to_builtins(model), "framed": text.framed}
    filled = Network(
        tuple(layer.biased() for layer in network.layers), network.embedding, network.one_hot, network.head
    )
    save_model(folder, config, vocabulary, _as_model(filled) | start, overwrite=overwrite)


def _as_model(network: Network) -> Tensors:
    """Return the tensors of a text model, whose initial states of all layers are one array (L, 1, H)."""
    tensors = {name: w for name, w in network.tensors().items() if not name.startswith("initial.")}
    assert network.head is not None
    tensors.setdefault("head.bias", np.zeros(len(network.head.W), network.dtype))
    initial = [layer.initial[0] for layer in network.layers if layer.initial is not None]
    return tensors | {f"initial.{k}": np.stack(states)[:, None] for k, states in enumerate(zip(*initial, strict=True))}


def load_network(folder: str | Path) -> Network:
    """Load the network in a folder, including that of a text model; no code in it is run.

    Raises: CheckpointError naming the file, and what is missing, damaged, out of range or does not fit the others.
    """
    folder = Path(folder)
    if "network" not in read_config(folder)[0]:
        return Network.of_model(SavedModel.load(folder))
    return unchanged(folder / "config.json", lambda: _load(folder))


def _load(folder: Path) -> Network:
    config, vocabulary, tensors = read_parts(folder)
    file = folder / "config.json"
    try:
        described = msgspec.convert(config["network"], _Network)
    except msgspec.ValidationError as error:
        raise CheckpointError(f"{file}: not the config of a network: [network] {error}") from None
    if (described.framed is None) != (vocabulary is None):
        is_there = "there is no vocabulary.json" if vocabulary is None else "vocabulary.json is there"
        raise CheckpointError(f"{file}: [network] framed is {described.framed}, but {is_there}")
    if described.dtype not in ("float32", "float64"):
        raise CheckpointError(f"{file}: [network] dtype is {described.dtype!r}, expected float32 or float64")
    if described.embedding_size and not described.symbols:
        raise CheckpointError(f"{file}: [network] symbols is false, but embedding_size is {described.embedding_size}")
    check_tensors(folder / "model.safetensors", tensors, _expected(described), "config.json")
    try:
        return _rebuilt(described, tensors, vocabulary, {k: v for k, v in config.items() if k != "network"})
    except ValueError as error:
        raise CheckpointError(f"{file}: {error}") from None


def _described(network: Network) -> _Network:
    layers = [
        _Layer(
            layer.kind,
            layer.H,
            layer.P if layer.is_projected else 0,
            layer.D,
            layer.has_bias,
            layer.initial is not None,
        )
        for layer in network.layers
    ]
    head = None
    if (given := network.head) is not None:
        head = _Head(len(given.W), given.b is not None, given.when, given.softmax)
    E = 0 if network.embedding is None else int(network.embedding.shape[1])
    framed = None if network.text is None else network.text.framed
    return _Network(str(network.dtype), network.I, network.reads_symbols, layers, E, framed, head)


def _expected(described: _Network) -> Iterator[Expected]:
    V, E, dtype = described.input_size, described.embedding_size, described.dtype
    if described.framed is not None:
        yield Expected("start", dtype, ("V",), (V,))
    if E:
        yield Expected("embedding.weight", dtype, ("V", "E"), (V, E))
    I = E or V
    for number, layer in enumerate(described.layers):
        H, P = layer.hidden_size, layer.proj_size or layer.hidden_size
        shapes = weight_shapes(layer.kind, I, H, bias=layer.bias, proj_size=layer.proj_size)
        for reverse in map(bool, range(layer.directions)):
            for name, shape in shapes.items():
                yield Expected(f"rnn.{stored_name(name, number, reverse)}", dtype, SHAPES[name], shape)
            for state in CELLS[layer.kind].states if layer.learned_initial_state else ():
                letter, size = ("P", P) if state == "h" else ("H", H)
                yield Expected(initial_name(state, number, reverse), dtype, (letter,), (size,))
        I = layer.width
    if described.head is not None:
        yield Expected("head.weight", dtype, ("V", "D*P"), (described.head.size, I))
        if described.head.bias:
            yield Expected("head.bias", dtype, ("V",), (described.head.size,))


def _rebuilt(described: _Network, tensors: Tensors, vocabulary: Any, origin: dict[str, Any]) -> Network:
    layers = []
    for number, layer in enumerate(described.layers):
        sides = [*map(bool, range(layer.directions))]
        directions = tuple(
            Weights(**{name: tensors.get(f"rnn.{stored_name(name, number, reverse)}") for name in SHAPES})
            for reverse in sides
        )
        initial = tuple(
            tuple(tensors[initial_name(state, number, reverse)] for state in CELLS[layer.kind].states)
            for reverse in (sides if layer.learned_initial_state else ())
        )
        layers.append(Layer(layer.kind, directions, initial or None))
    head = None
    if (given := described.head) is not None:
        head = Head(tensors["head.weight"], tensors.get("head.bias"), given.when, given.softmax)
    text = None if vocabulary is None else TextPart(vocabulary, bool(described.framed), tensors["start"])
    E = tensors.get("embedding.weight")
    origin, narrow = without_weights(origin)
    return Network(tuple(layers), E, described.symbols and E is None, head, text, origin, narrow)
