"""ONNX models that are well formed but false."""

import numpy as np
import onnx

#: Numbers that sizes and indices become.
NUMBERS = [0, 1, -1, 2, 3, 5, 20, 2**15, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63), -(2**31)]
OPERATORS = ["If", "Mul", "Expand", "Tile", "Gather", "Slice", "Concat"]


def lie(draw, data):
    """Change the meaning of an ONNX model and leave its form right; what is none any more stays as it is."""
    if not _is_whole(data):
        return data
    model = onnx.ModelProto.FromString(data)
    try:
        for _ in range(draw.choice([1, 1, 2])):
            _lie(draw, model.graph)
        return model.SerializeToString()
    except (TypeError, UnicodeDecodeError):  # a name that is no text any more
        return data


def _lie(draw, graph):
    node, tensor = draw.choice(graph.node), draw.choice(graph.initializer)
    names = [*(each for n in graph.node for each in (*n.input, *n.output)), ""]
    ways = [
        lambda: node.input.__setitem__(draw.randrange(len(node.input)), draw.choice(names)),
        lambda: node.input.append(draw.choice(names)),
        lambda: node.output.__setitem__(0, draw.choice(names)),
        lambda: setattr(node, "op_type", draw.choice([*OPERATORS, *(n.op_type for n in graph.node)])),
        lambda: graph.node.append(draw.choice(graph.node)),
        lambda: graph.node.remove(node),
        lambda: (
            tensor.dims.__setitem__(draw.randrange(len(tensor.dims)), draw.choice(NUMBERS)) if tensor.dims else None
        ),
        lambda: tensor.dims.append(draw.choice(NUMBERS)),
        lambda: setattr(tensor, "data_type", draw.choice([1, 6, 7, 9, 10, 11, 16, 0, 99])),
        lambda: setattr(tensor, "raw_data", tensor.raw_data[: draw.randrange(len(tensor.raw_data) + 1)]),
        lambda: setattr(tensor, "raw_data", _numbers(draw, tensor)),
        lambda: setattr(tensor, "name", draw.choice(names)),
        lambda: _attribute(draw, node),
        lambda: graph.input[0].type.tensor_type.shape.dim.add(dim_value=draw.choice([1, 3, 2**40])),
        lambda: setattr(graph.output[0], "name", draw.choice(names)),
    ]
    draw.choice(ways)()


def _numbers(draw, tensor):
    """Bytes of as many numbers, which are sizes or not finite."""
    if tensor.data_type == 7:
        return np.array(draw.choices(NUMBERS, k=len(tensor.raw_data) // 8), np.int64).tobytes()
    return np.full(len(tensor.raw_data) // 4, draw.choice([np.nan, np.inf, 3e38, 0.0]), np.float32).tobytes()


def _attribute(draw, node):
    if not node.attribute:
        return
    attribute = draw.choice(node.attribute)
    attribute.i = draw.choice([n for n in NUMBERS if n < 2**63])
    attribute.type = draw.choice([attribute.type, 1, 2, 3, 4, 5, 7, 8])
    if attribute.ints:
        attribute.ints[draw.randrange(len(attribute.ints))] = draw.choice(NUMBERS)


def _is_whole(data):
    try:
        graph = onnx.ModelProto.FromString(data).graph
    except Exception:
        return False
    return bool(graph.node and graph.initializer and graph.input and graph.output and all(n.input for n in graph.node))
