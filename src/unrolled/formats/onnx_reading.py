"""The network that an ONNX graph is: each node is taken for what it does to the signal, a constant, or states.

A node that does anything else is refused by its name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.formats.network_of import FormatError
from unrolled.formats.onnx_folding import DTYPES, FOLDS, Const, Folder
from unrolled.formats.onnx_operators import ON_SIGNAL, Value, of_ends, told
from unrolled.formats.onnx_signal import Atom, Axis, Ends, Foreign, Signal
from unrolled.formats.outside_files import refused
from unrolled.saved.network import Array, Head, Network, TextPart
from unrolled.words import counted

#: Sizes that stand in for those of the input that the file leaves open; primes, so that no product is another's.
OPEN = (11, 13, 17)
#: What a hostile file may make numpy and this reader raise.
_FAULTS = (ValueError, IndexError, TypeError, KeyError, OverflowError, MemoryError)


def read_graph(path: Path, model: Any, size: int, text: TextPart | None) -> Network:
    """Return the network of a parsed model.

    Args: the file, for messages; the ModelProto; the bytes of the file; what its metadata tell of its symbols.
    Raises: FormatError naming the node and what was expected; ValueError if the parts do not fit each other.
    """
    graph = model.graph
    versions = [each.version for each in model.opset_import if each.domain in ("", "ai.onnx")]
    if not versions or not 7 <= versions[0] <= 100:
        raise refused(path, f"operator set {versions}, expected 7 or later")
    values: dict[str, Value | None] = {"": None}
    for tensor in graph.initializer:
        values[tensor.name] = Const(_at(path, f"initializer {tensor.name!r:.60}", partial(array_of, tensor)))
    if graph.sparse_initializer:
        raise refused(path, "sparse initializers, expected dense ones")
    _inputs(path, graph, values)
    folder = Folder(size)
    for number, node in enumerate(graph.node):
        where = f"node {node.name or number!r:.80} ({node.op_type!s:.40})"
        missing = [name for name in node.input if name not in values]
        if missing:
            raise refused(path, f"{where} reads {missing[0]!r:.60}, which nothing before it gives")
        taken = [values[name] for name in node.input]
        found = _at(path, where, partial(_outputs, node, taken, folder, versions[0]))
        values |= {name: value for name, value in zip(node.output, found, strict=False) if name}  # "" is left out
    return _network(path, graph, values, text)


def array_of(tensor: Any) -> Array:
    """Return the array of a TensorProto whose sizes its data bear out.

    Raises: ValueError for data in another file, of another type than a network needs, or of another size than it says.
    """
    from onnx import numpy_helper

    if tensor.data_location == 1 or tensor.external_data:
        raise ValueError("its data are in another file, which is not followed; save the model with its data inside")
    if tensor.data_type not in DTYPES:
        raise ValueError(f"is of type {tensor.data_type}, expected float32, float64, int32, int64 or bool")
    count = 1
    for n in tensor.dims:
        if n < 0:
            raise ValueError(f"has the size {n}")
        count *= n
    if tensor.HasField("raw_data"):
        held = len(tensor.raw_data) // np.dtype(DTYPES[tensor.data_type]).itemsize
        if len(tensor.raw_data) % np.dtype(DTYPES[tensor.data_type]).itemsize:
            raise ValueError(f"has {counted(len(tensor.raw_data), 'byte')}, no whole number of entries")
    else:
        held = len(tensor.float_data) + len(tensor.int32_data) + len(tensor.int64_data) + len(tensor.double_data)
    if held != count or len(tensor.dims) > 8:
        raise ValueError(f"has the sizes {[*tensor.dims][:9]}, but {held} entries")
    array: Array = numpy_helper.to_array(tensor)
    return array


def _at(path: Path, where: str, read: Callable[[], Any]) -> Any:
    """Return what `read` returns; its faults are told with their place."""
    try:
        return read()
    except FormatError:
        raise
    except _FAULTS as error:
        raise refused(path, f"{where}: {error}") from None


def _inputs(path: Path, graph: Any, values: dict[str, Value | None]) -> None:
    """Add the inputs to the values: the first that must be given is the signal."""
    first = True
    for given in graph.input:
        if given.name in values:
            continue  # an initializer is its default
        if not first:
            values[given.name] = Foreign(f"the input {given.name!r:.60}")
            continue
        first = False
        kind = given.type.tensor_type
        symbols = kind.elem_type in (6, 7)
        rank = len(kind.shape.dim)
        if kind.elem_type not in (1, 6, 7, 11) or not 1 <= rank <= 3:
            raise refused(
                path,
                f"input {given.name!r:.60} is of type {kind.elem_type} with {rank} axes, expected floats (T, B, I) or "
                "integers (T, B)",
            )
        axes = tuple(_atom(f"axis {k}", dim.dim_value, OPEN[k]) for k, dim in enumerate(kind.shape.dim))
        features = () if symbols else axes[-1]
        values[given.name] = Signal(axes, features, symbols=symbols)


def _atom(name: str, size: int, open: int) -> Axis:
    return (Atom(name, size) if 0 < size < 2**31 else Atom(name, open, False),)


def _outputs(node: Any, taken: list[Value | None], folder: Folder, version: int) -> list[Value]:
    op = node.op_type
    if node.domain not in ("", "ai.onnx") or op not in (FOLDS.keys() | ON_SIGNAL.keys()):
        known = ", ".join(sorted(FOLDS.keys() | ON_SIGNAL.keys()))
        raise ValueError(f"{node.domain or 'ONNX'}'s {op!r:.40} has no place in a network here; known are {known}")
    attributes = {each.name: _attribute(each) for each in node.attribute}
    signals = [each for each in taken if isinstance(each, Signal)]
    if op in ("LSTM", "GRU", "RNN") or (op in ON_SIGNAL and signals):
        found = ON_SIGNAL[op](taken, attributes, version)
        return found if isinstance(found, list) else [found]
    if op == "Shape" and isinstance(taken[0], Signal):
        sizes = taken[0].shape[attributes.get("start", 0) : attributes.get("end")]
        return [Const(np.array(sizes, np.int64), of_sizes=True)]
    if signals:
        raise ValueError("a layer's input or output goes in, which no network here has")
    if any(isinstance(each, Ends) for each in taken):
        return of_ends(op, taken, attributes, len(node.output))
    if any(isinstance(each, Foreign) for each in taken):
        return [next(each for each in taken if isinstance(each, Foreign))] * len(node.output)
    constants = [each if isinstance(each, Const) else None for each in taken]
    return [*folder.fold(op, constants, attributes, len(node.output))]


def _attribute(attribute: Any) -> Any:
    """Return the value of an attribute; only the kinds that a network needs."""
    kind = attribute.type
    if kind in (1, 2):  # FLOAT, INT
        return attribute.f if kind == 1 else attribute.i
    if kind == 3:  # STRING
        return attribute.s.decode("utf-8", "replace")
    if kind == 4:  # TENSOR
        return array_of(attribute.t)
    if kind in (6, 7, 8):  # FLOATS, INTS, STRINGS
        if kind == 8:
            return [each.decode("utf-8", "replace") for each in attribute.strings]
        return [*(attribute.floats if kind == 6 else attribute.ints)]
    raise ValueError(f"attribute {attribute.name!r:.40} is of kind {kind}, expected numbers, strings or a tensor")


def _network(path: Path, graph: Any, values: dict[str, Value | None], text: TextPart | None) -> Network:
    """Return the network whose output is that of the graph; its other outputs may only be states."""
    given = {output.name: values.get(output.name) for output in graph.output}
    signals = {name: value for name, value in given.items() if isinstance(value, Signal)}
    whole = {name: value for name, value in signals.items() if not value.is_state} or signals
    if len(whole) != 1:
        found = "; ".join(f"{name!r:.60} is {told(value)}" for name, value in given.items())
        raise refused(path, f"expected one output that the layers give, beside states; {found or 'there is none'}")
    ((name, signal),) = whole.items()
    if not signal.layers or signal.when == "first":
        lacks = "a recurrent layer" if not signal.layers else "the last step of its layers"
        raise refused(path, f"the output {name!r:.60} comes without {lacks}")
    if not signal.ends_in_features or len(signal.axes) > 3:
        raise refused(path, f"the output {name!r:.60} has the sizes {signal.shape}, expected the features last")
    head = None
    if signal.W is not None:
        head = Head(np.ascontiguousarray(signal.W.T), signal.b, signal.when, signal.softmax)
    elif signal.when != "each":
        head = Head.unchanged(signal.layers[-1], signal.when)
    return Network(signal.layers, signal.embedding, signal.one_hot, head, text)
