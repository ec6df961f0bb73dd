"""ONNX files made by hand, as other exporters write them, or as none should."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

#: Of each node: gates, hidden size, input size.
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
I, H = 3, 5


def weights(op, D=1, *, seed=0):
    """W, R and B of a node, random."""
    rng, G = np.random.default_rng(seed), GATES[op]
    shapes = {"W": (D, G * H, I), "R": (D, G * H, H), "B": (D, 2 * G * H)}
    return {name: rng.uniform(-0.9, 0.9, shape).astype(np.float32) for name, shape in shapes.items()}


def layer(op="LSTM", inputs=("x", "W", "R", "B"), outputs=("y",), name="the_layer", **attributes):
    """A recurrent node; attributes that are None are left out."""
    options = {"hidden_size": H, **({"linear_before_reset": 1} if op == "GRU" else {}), **attributes}
    return helper.make_node(op, inputs, outputs, name=name, **{k: v for k, v in options.items() if v is not None})


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, name=f"{outputs[0]}_by_{op}", **attributes)


def model(nodes, constants, *, inputs=("x",), outputs=("y",), opset=17, symbols=False):
    """The bytes of a model; every input but the first is a state of open sizes, or `lengths`."""
    kinds = {"x": (TensorProto.INT64, ["T", "B"]) if symbols else (TensorProto.FLOAT, ["T", "B", I])}
    kinds |= {"lengths": (TensorProto.INT32, ["B"])}
    given = [
        helper.make_tensor_value_info(name, *kinds.get(name, (TensorProto.FLOAT, [None, "B", None]))) for name in inputs
    ]
    gives = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    arrays = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "by_hand", given, gives, arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def ints(*values):
    return np.array(values, np.int64)
