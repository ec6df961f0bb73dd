"""ONNX: a node RNN, LSTM or GRU for each layer, for any T and B.

A graph reads `input` (T, B, I), or symbols (T, B) int64, and gives `output` (T, B, width), for a head that reads the
last step alone (B, V).  Inputs that may be left out: `sequence_lens` (B) int32, and the initial states `h_0`
(L*D, B, P) and `c_0` (L*D, B, H), else the learned ones, or zeros.  `h_n` and `c_n` are the states after the last step.
Where the layers have states of several shapes, each layer has its own: `h_0_l0`, `h_n_l0`.

ONNX stacks gates as i o f c and z r h, peepholes as i o f; its GRU is torch's with linear_before_reset=1.  Its LSTM has
no projection: the node's state is o * tanh(c), R is W_hh W_hr, a product of the graph, and W_hr follows the node.
Source: https://onnx.ai/onnx/operators (LSTM, GRU, RNN of operator set 14); docs/deploy/onnx.md.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from unrolled import __version__
from unrolled.formats.network_of import Source, network_from
from unrolled.formats.onnx_reading import read_graph
from unrolled.formats.onnx_writing import FRAMED, START, VOCABULARY, GraphWriter
from unrolled.formats.outside_files import finished, outside_bytes, refused
from unrolled.formats.protobuf import check_wire
from unrolled.saved.atomic_files import write_file
from unrolled.saved.network import Network, TextPart
from unrolled.saved.vocabulary import Vocabulary

#: The operator set and the version of the format that files are written in; both are from 2022.
OPSET, IR_VERSION = 17, 8


def to_onnx(source: Source, path: str | Path, *, lengths: bool = True, states: bool = True) -> None:
    """Write a network as an ONNX file, which its own checker has checked.

    A float64 network is written in double, which the format allows but onnxruntime does not run at present.

    Args:
        source: a Network, the folder of a saved model, or a module.
        path: of the file.
        lengths: whether the graph has the input `sequence_lens`.
        states: whether it has the inputs `h_0` and `c_0`, and the outputs `h_n` and `c_n`.
    Raises: FormatError for an initial state that no node can start from; CheckpointError if the file cannot be written.

    >>> from unrolled import nn
    >>> to_onnx([nn.GRU(3, 5), nn.RNN(5, 2)], "model.onnx")
    >>> [layer.kind for layer in from_onnx("model.onnx").layers]
    ['GRU', 'RNN_TANH']
    """
    import onnx
    from onnx import helper, numpy_helper

    network = network_from(source)
    graph = GraphWriter(network, lengths=lengths, states=states)
    number = helper.np_dtype_to_tensor_dtype(network.dtype)
    reads = helper.make_tensor_value_info(
        "input", *((7, ("T", "B")) if network.reads_symbols else (number, ("T", "B", network.I)))
    )
    values = graph.initializers | {name: value for name, (value, _) in graph.defaults.items()}
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "unrolled",
            [reads, *(_info(name, value.dtype, shape) for name, (value, shape) in graph.defaults.items())],
            [_info(name, network.dtype, shape) for name, shape in graph.outputs.items()],
            [numpy_helper.from_array(np.asarray(value, order="C"), name) for name, value in values.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="unrolled",
        producer_version=__version__,
    )
    helper.set_model_props(model, _metadata(network.text))
    onnx.checker.check_model(model, full_check=True)
    write_file(path, model.SerializeToString())


def from_onnx(path: str | Path) -> Network:
    """Read the network in an ONNX file; data in other files is not read.

    It may be a file of :func:`to_onnx`, of `torch.onnx.export` or of tf2onnx: RNN, LSTM and GRU nodes, forward or
    bidirectional, in either layout, with what these exporters write around them; an embedding, a linear head, a
    softmax.  An initial state that is a constant, or the default of an input, becomes a learned one.

    Raises: FormatError naming the file, the node and what was expected.

    >>> from unrolled import nn
    >>> to_onnx(nn.LSTM(3, 5, bidirectional=True), "both_ways.onnx")
    >>> from_onnx("both_ways.onnx").width
    10
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from onnx import ModelProto

    path = Path(path)
    data = outside_bytes(path)
    check_wire(path, data, ModelProto.DESCRIPTOR)
    try:
        model = ModelProto.FromString(data)
    except DecodeError as error:
        raise refused(path, f"damaged, or no ONNX file: {error}") from None
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return finished(path, lambda: read_graph(path, model, len(data), _text(metadata)))


def _info(name: str, dtype: Any, shape: Any) -> Any:
    from onnx import helper

    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)


def _metadata(text: TextPart | None) -> dict[str, str]:
    if text is None:
        return {}
    return {
        VOCABULARY: text.vocabulary.to_json().decode(),
        FRAMED: json.dumps(text.framed),
        START: base64.b64encode(text.start.astype("<f4").tobytes()).decode(),
    }


def _text(metadata: dict[str, str]) -> TextPart | None:
    if VOCABULARY not in metadata:
        return None
    if metadata.get(FRAMED) not in ("true", "false"):
        raise ValueError(f"metadata {FRAMED} is {metadata.get(FRAMED)!r:.20}, expected true or false")
    try:
        start = np.frombuffer(base64.b64decode(metadata.get(START, ""), validate=True), "<f4")
    except ValueError:
        raise ValueError(f"metadata {START} is not a float32 array in base64") from None
    return TextPart(Vocabulary.from_json(metadata[VOCABULARY]), metadata[FRAMED] == "true", start.astype(np.float32))
