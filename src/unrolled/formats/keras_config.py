"""The config.json of a .keras file: the layers of a network in Keras's words, and the reverse."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from unrolled.config.options import brief
from unrolled.formats.hdf5 import Hdf5
from unrolled.formats.keras_weights import RESET_BEFORE, cell, dense
from unrolled.formats.network_of import FormatError
from unrolled.notation import Kind
from unrolled.saved.network import Head, Layer, Network, When

#: The layers and cells of Keras by our kinds.
_CLASSES = {"LSTM": "LSTM", "GRU": "GRU", "RNN_TANH": "SimpleRNN", "RNN_RELU": "SimpleRNN"}
#: Layers that only act in training.
_IDLE = {"InputLayer", "Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout", "Identity"}


@dataclass(frozen=True)
class KerasLayer:
    """A layer of a Keras model: its config, the place of its arrays, and the recurrent layer that it is."""

    config: dict[str, Any]
    place: str
    layer: Layer | None = None


def config_of(network: Network) -> Iterator[KerasLayer]:
    """Yield the layers of the Sequential model that a network is."""
    head, dtype, name_of = network.head, str(network.dtype), _names()

    def made(class_name: str, layer: Layer | None = None, /, **options: Any) -> KerasLayer:
        name = name_of(class_name)
        return KerasLayer(_config(class_name, name=name, dtype=dtype, **options), name, layer)

    shape = [None, None] if network.embedding is not None else [None, None, network.I]
    kind_of_input = "int32" if network.embedding is not None else dtype
    yield KerasLayer(_config("InputLayer", batch_shape=shape, dtype=kind_of_input, name="input_layer"), "")
    if network.embedding is not None:
        V, E = network.embedding.shape
        yield made("Embedding", input_dim=V, output_dim=E)
    for number, layer in enumerate(network.layers):
        last = number == len(network.layers) - 1 and head is not None and head.when != "each"
        options: dict[str, Any] = {"units": layer.H, "use_bias": layer.has_bias, "return_sequences": not last}
        if layer.kind == "RNN_RELU":
            options["activation"] = "relu"
        if layer.D == 1:
            yield made(_CLASSES[layer.kind], layer, **options)
        else:
            ways = (
                _config(
                    _CLASSES[layer.kind], name=f"{way}_{number}", dtype=dtype, go_backwards=way == "backward", **options
                )
                for way in ("forward", "backward")
            )
            yield made("Bidirectional", layer, layer=next(ways), backward_layer=next(ways), merge_mode="concat")
    if head is not None:
        activation = "softmax" if head.softmax else "linear"
        yield made("Dense", units=len(head.W), use_bias=head.b is not None, activation=activation)


def snake_case(class_name: str) -> str:
    """Return the name that Keras makes of a class.

    >>> snake_case("SimpleRNN"), snake_case("TimeDistributed")
    ('simple_rnn', 'time_distributed')
    """
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", class_name)).lower()


def _names() -> Callable[[str], str]:
    """Return what gives each layer of a list its name in a file of weights, from its class."""
    used = Counter[str]()

    def name_of(class_name: str) -> str:
        stem = snake_case(class_name)
        used[stem] += 1
        return f"{stem}_{used[stem] - 1}" if used[stem] > 1 else stem

    return name_of


def _config(class_name: str, **options: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": class_name, "config": options, "registered_name": None}


class _Part:
    """One layer in a config.json, or one in another: what it is called in messages, and its options."""

    def __init__(self, where: str, config: Any) -> None:
        inside = config if isinstance(config, dict) else {}
        class_name, options = inside.get("class_name"), inside.get("config")
        if not isinstance(class_name, str) or not isinstance(options, dict):
            raise FormatError(f"{where}{brief(config)} is no layer, expected a class_name and a config")
        self.class_name, self.options, self.inbound = class_name, options, inside.get("inbound_nodes")
        self.where = f"{where}{brief(options.get('name'))} ({brief(class_name)[1:-1]})"
        # Keras names the module of its own classes; an author's may bear the same name.
        module = inside.get("module", "keras")
        own = isinstance(module, str) and module.split(".")[0] == "keras"
        if not own or inside.get("registered_name") not in (None, self.class_name):
            raise FormatError(f"{self.where}: is a class of its author's, whose code is not in the file and is not run")

    def part(self, name: str) -> _Part:
        return _Part(f"{self.where}: {name} ", self.options.get(name))

    def parts(self, name: str) -> list[_Part]:
        found = self.options.get(name)
        if not isinstance(found, list):
            raise FormatError(f"{self.where}: {name} is {brief(found)}, expected a list of layers")
        return [_Part(f"{self.where}: layer {k}, ", each) for k, each in enumerate(found)]

    def expect(self, name: str, value: Any, default: Any, reason: str = "") -> None:
        """Refuse an option of another value."""
        found = self.options.get(name, default)
        if found != value:
            raise FormatError(
                f"{self.where}: {name} is {brief(found)}, expected {value!r}" + (f": {reason}" if reason else "")
            )


def read_config(where: str, parsed: Any, weights: Hdf5) -> Network:
    """Return the network that a config.json and its weights are."""
    model = _Part(f"{where}: the model ", parsed)
    if model.class_name not in ("Sequential", "Functional"):
        raise FormatError(f"{model.where}: expected a Sequential or Functional model of layers one upon the other")
    parts = model.parts("layers")
    if model.class_name == "Functional":
        _check_chain(model, parts)
    name_of = _names()
    layers: list[Layer] = []
    embedding = head = None
    when: When = "each"
    for part in parts:
        place = f"layers/{name_of(part.class_name)}"
        if part.class_name in _IDLE:
            continue
        if part.class_name == "Embedding" and not layers and embedding is None:
            embedding = weights.array(f"{place}/vars/0")
            if part.options.get("mask_zero"):
                warnings.warn(
                    f"{part.where}: mask_zero, so symbol 0 was padding; here it is a symbol as any other", stacklevel=2
                )
        elif part.class_name in ("Activation", "Softmax") and head is not None and not head.softmax:
            part.expect("activation" if part.class_name == "Activation" else "axis", *_SOFTMAX[part.class_name])
            head = Head(head.W, head.b, when, softmax=True)
        elif (
            part.class_name in ("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional") and head is None and when == "each"
        ):
            layers += _recurrent(part, place, weights)
            when = "each" if _returns_sequences(part) else "last"
        elif layers and head is None and part.class_name in ("Dense", "TimeDistributed"):
            head = _head(part, place, weights, when)
        else:
            raise FormatError(
                f"{part.where}: expected an Embedding, then LSTM, GRU and SimpleRNN layers, then a Dense and a Softmax"
            )
    if not layers:
        raise FormatError(f"{model.where}: has no recurrent layer")
    if head is None and when == "last":
        head = Head.unchanged(layers[-1], "last")
    return Network(tuple(layers), embedding, head=head)


#: The value of the option by which these are a softmax over the symbols, and its default.
_SOFTMAX = {"Activation": ("softmax", None), "Softmax": (-1, -1)}


def _recurrent(part: _Part, place: str, weights: Hdf5) -> list[Layer]:
    """Return the layers that one recurrent layer of Keras is: more than one where it stacks cells."""
    if part.class_name == "Bidirectional":
        part.expect("merge_mode", "concat", "concat")
        forward, backward = (
            part.part("layer"),
            part.part("backward_layer" if "backward_layer" in part.options else "layer"),
        )
        ways = [
            _recurrent_way(each, f"{place}/{way}_layer", weights, way == "backward" and each is not forward)
            for each, way in ((forward, "forward"), (backward, "backward"))
        ]
        if any(len(way) > 1 for way in ways) or ways[0][0].kind != ways[1][0].kind:
            raise FormatError(
                f"{part.where}: its directions have several cells, or cells of two kinds; expected one kind"
            )
        return [Layer(ways[0][0].kind, ways[0][0].directions + ways[1][0].directions)]
    return _recurrent_way(part, place, weights, False)


def _recurrent_way(part: _Part, place: str, weights: Hdf5, backward: bool) -> list[Layer]:
    part.expect("go_backwards", backward, False, "a network has no layer that reads only backward")
    part.expect("return_state", False, False, "a network returns only outputs")
    if part.class_name != "RNN":
        return [_cell(part, part.class_name, f"{place}/cell", weights)]
    inner = part.part("cell")
    if inner.class_name != "StackedRNNCells":
        return [_cell(inner, inner.class_name.removesuffix("Cell"), f"{place}/cell", weights)]
    name_of = _names()
    return [
        _cell(each, each.class_name.removesuffix("Cell"), f"{place}/cell/cells/{name_of(each.class_name)}", weights)
        for each in inner.parts("cells")
    ]


def _cell(part: _Part, class_name: str, place: str, weights: Hdf5) -> Layer:
    if class_name not in _CLASSES.values():
        raise FormatError(f"{part.where}: expected a cell of LSTM, GRU or SimpleRNN")
    is_relu = class_name == "SimpleRNN" and part.options.get("activation") == "relu"
    if not is_relu:
        part.expect("activation", "tanh", "tanh")
    part.expect("recurrent_activation", "sigmoid", "sigmoid")
    part.expect("reset_after", True, True, RESET_BEFORE)
    kinds: dict[str, Kind] = {"LSTM": "LSTM", "GRU": "GRU", "SimpleRNN": "RNN_RELU" if is_relu else "RNN_TANH"}
    layer = cell(weights, place, kinds[class_name])
    part.expect("units", layer.H, None, "that many are in the file of weights")
    part.expect("use_bias", weights.has(f"{place}/vars/2"), True, "as the file of weights has it")
    return layer


def _returns_sequences(part: _Part) -> bool:
    inner = part.part("layer") if part.class_name == "Bidirectional" else part
    return inner.options.get("return_sequences", False) is True


def _head(part: _Part, place: str, weights: Hdf5, when: When) -> Head:
    if part.class_name == "TimeDistributed":
        part, place = part.part("layer"), f"{place}/layer"
    activation = part.options.get("activation", "linear")
    if part.class_name != "Dense" or activation not in ("linear", "softmax", None):
        raise FormatError(f"{part.where}: activation is {brief(activation)}, expected a Dense with linear or softmax")
    W, b = dense(weights, place)
    return Head(W, b, when, activation == "softmax")


def _check_chain(model: _Part, parts: list[_Part]) -> None:
    """Refuse a Functional model in which a layer reads something else than what the one before it writes."""
    for before, part in zip([None, *parts], parts, strict=False):
        _expect_alone(part.where, "reads", [*_histories(part.inbound)], before)
        for name, value in _arguments(part.inbound):
            if value not in (None, False) or (value is False and name != "training"):
                raise FormatError(
                    f"{part.where}: is called with {name} {brief(value)}, which no layer here is; leave that out"
                )
    outputs = model.options.get("output_layers", [])
    _expect_alone(f"{model.where}: its outputs", "are those of", [*_names_in(outputs)], parts[-1] if parts else None)


def _expect_alone(where: str, verb: str, found: list[Any], expected: _Part | None) -> None:
    name = [] if expected is None else [expected.options.get("name")]
    if found != name:
        raise FormatError(
            f"{where}: {verb} {', '.join(map(brief, found)) or 'nothing'}, expected "
            f"{', '.join(map(brief, name)) or 'nothing'} alone: a network is a chain of layers"
        )


def _names_in(outputs: Any) -> Iterator[Any]:
    """Yield the names of the layers in a list of outputs, which may be nested, or in a dict."""
    waiting = [outputs]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list) and len(each) == 3 and not isinstance(each[0], (list, dict)):
            yield each[0]
        elif isinstance(each, (list, dict)):
            waiting += each.values() if isinstance(each, dict) else each


def _arguments(inbound: Any) -> Iterator[tuple[str, Any]]:
    """Yield the arguments by name with which a layer of a Functional model is called, and those after the first."""
    for call in inbound if isinstance(inbound, list) else []:
        if isinstance(call, dict):
            args, kwargs = call.get("args"), call.get("kwargs")
            yield from ((f"argument {k}", each) for k, each in enumerate(args[1:] if isinstance(args, list) else [], 2))
            yield from (kwargs if isinstance(kwargs, dict) else {}).items()


def _histories(value: Any) -> Iterator[Any]:
    """Yield the names of the layers whose outputs the nodes of a Functional model read."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict) and "keras_history" in each:
            history = each["keras_history"]
            yield history[0] if isinstance(history, list) and history else history
        elif isinstance(each, (dict, list)):
            waiting += each.values() if isinstance(each, dict) else each
