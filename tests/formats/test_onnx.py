"""ONNX, out and in: onnxruntime computes what the layers do, and what was written is read to the same bits."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tests.formats import onnx_graphs as by_hand
from tests.formats.onnx_graphs import H, I, ints
from tests.saved.networks import layer, networks
from unrolled.export import to_onnx
from unrolled.formats.network_of import FormatError
from unrolled.imports import from_onnx
from unrolled.nn.network_module import module_of
from unrolled.saved.network import Network

NETWORKS = dict(networks())
SINGLE = [name for name, network in NETWORKS.items() if network.dtype == np.float32]


def session(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of inputs that may be left out
    return onnxruntime.InferenceSession(path, options)


def drawn(network, T, B):
    rng = np.random.default_rng(T + B)
    if network.reads_symbols:
        return rng.integers(0, network.I, (T, B))
    return rng.normal(size=(T, B, network.I)).astype(network.dtype)


def close(got, want):
    want = want.detach().numpy() if isinstance(want, torch.Tensor) else want
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= 1e-5 * max(1, np.abs(want).max())


def flat(states):
    return [s for state in states for s in (state if isinstance(state, tuple) else (state,))]


@pytest.mark.parametrize("name", SINGLE)
def test_onnxruntime_computes_what_the_layers_do(name, tmp_path):
    network = NETWORKS[name]
    to_onnx(network, tmp_path / "model.onnx")
    run, module = session(tmp_path / "model.onnx"), module_of(network)
    for T, B in ((1, 1), (1, 3), (2, 1), (2, 3), (7, 1), (7, 3)):
        x = drawn(network, T, B)
        y, states = module(torch.from_numpy(x))
        got = run.run(None, {"input": x})
        close(got[0], y)
        lengths = np.random.default_rng(B).integers(1, T + 1, B)
        y, ends = module(torch.from_numpy(x), lengths=torch.from_numpy(lengths))
        ragged = run.run(None, {"input": x, "sequence_lens": lengths.astype(np.int32)})
        close(ragged[0], y)
        if len(module.rnn) == 1:
            for k, (whole, cut) in enumerate(zip(flat(states), flat(ends), strict=True)):
                close(got[1 + k], whole)
                close(ragged[1 + k], cut)


@pytest.mark.parametrize("options", [{}, {"lengths": False}, {"states": False}, {"lengths": False, "states": False}])
@pytest.mark.parametrize("name", NETWORKS)
def test_written_file_is_read_back_to_the_bit(name, options, tmp_path):
    network = NETWORKS[name]
    to_onnx(network, tmp_path / "model.onnx", **options)
    loaded = from_onnx(tmp_path / "model.onnx")
    before, after = network.tensors(), loaded.tensors()
    assert before.keys() == after.keys()
    for key in before:
        np.testing.assert_array_equal(before[key], after[key], strict=True)
    assert [each.kind for each in loaded.layers] == [each.kind for each in network.layers]
    assert (loaded.one_hot, loaded.width) == (network.one_hot, network.width)
    if network.head is not None:
        assert (loaded.head.when, loaded.head.softmax) == (network.head.when, network.head.softmax)
    if network.text is not None:
        assert (loaded.text.vocabulary, loaded.text.framed) == (network.text.vocabulary, network.text.framed)
        np.testing.assert_array_equal(loaded.text.start, network.text.start)


@pytest.mark.parametrize("name", ["head-last-True", "projected", "LSTM-initial"])
def test_file_without_lengths_and_states_has_one_input(name, tmp_path):
    network = NETWORKS[name]
    to_onnx(network, tmp_path / "model.onnx", lengths=False, states=False)
    run, x = session(tmp_path / "model.onnx"), drawn(network, 7, 3)
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert ([each.name for each in graph.input], [each.name for each in graph.output]) == (["input"], ["output"])
    close(run.run(None, {"input": x})[0], module_of(network)(torch.from_numpy(x))[0])


def test_initial_state_before_a_projection_of_less_than_full_rank_is_refused(tmp_path):
    network = Network((layer("LSTM", 3, 5, P=2),))
    network.layers[0].directions[0].W_hr[1] = network.layers[0].directions[0].W_hr[0]
    with pytest.raises(FormatError, match=r"cannot hold the initial state of layer 0: .* W_hr has not full rank"):
        to_onnx(network, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
    to_onnx(network, tmp_path / "model.onnx", states=False)


def test_learned_state_before_a_projection_is_the_default(tmp_path):
    network = Network((layer("LSTM", 3, 5, 2, P=2, initial=True),))
    to_onnx(network, tmp_path / "model.onnx")
    x = drawn(network, 4, 2)
    close(session(tmp_path / "model.onnx").run(["output"], {"input": x})[0], module_of(network)(torch.from_numpy(x))[0])
    found = from_onnx(tmp_path / "model.onnx").layers[0].initial
    for got, want in zip(found, network.layers[0].initial, strict=True):
        assert [s.tolist() for s in got] == [s.tolist() for s in want]


def test_text_model_carries_its_vocabulary_as_json(tmp_path):
    to_onnx(NETWORKS["text-GRU"], tmp_path / "model.onnx")
    metadata = session(tmp_path / "model.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(metadata["unrolled.vocabulary"])["symbols"] == [*"abcde"]


@pytest.mark.parametrize("op", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("D", [1, 2])
@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("bias", [True, False])
def test_node_is_read_in_either_layout(op, D, layout, bias, tmp_path):
    arrays = by_hand.weights(op, D)
    inputs = ("x", "W", "R", "B" if bias else "", "lengths")
    direction = "bidirectional" if D == 2 else "forward"
    nodes = [by_hand.layer(op, inputs, ("Y",), direction=direction, layout=layout)]
    nodes += [by_hand.node("Transpose", ["Y"], ["TBDH"], perm=(0, 1, 2, 3) if layout else (0, 2, 1, 3))]
    nodes += [by_hand.node("Reshape", ["TBDH", "to"], ["y"])]
    constants = arrays | {"to": ints(0, 0, -1)}
    if not bias:
        del constants["B"]
    made = by_hand.model(nodes, constants, inputs=("x", "lengths"))
    onnx.save(made, tmp_path / "model.onnx")
    x = np.random.default_rng(1).normal(size=(7, 3, I)).astype(np.float32)
    y = module_of(from_onnx(tmp_path / "model.onnx"))(torch.from_numpy(x))[0]
    if layout:  # which onnxruntime does not run; the same node in the other layout is the oracle
        nodes[0] = by_hand.layer(op, inputs, ("Y",), direction=direction)
        nodes[1] = by_hand.node("Transpose", ["Y"], ["TBDH"], perm=(0, 2, 1, 3))
        onnx.save(by_hand.model(nodes, constants, inputs=("x", "lengths")), tmp_path / "model.onnx")
    close(
        y.detach().numpy(), session(tmp_path / "model.onnx").run(None, {"x": x, "lengths": np.full(3, 7, np.int32)})[0]
    )


def keras(D, sequences):
    """A Keras LSTM with a dense layer and a softmax, as tf2onnx names and arranges it."""
    node, direction = by_hand.node, "bidirectional" if D == 2 else "forward"
    inputs, outputs = ("lstm/transpose", "W", "R", "B", "", "", ""), ("Y", "Y_h")
    nodes = [
        node("Transpose", ["x"], ["lstm/transpose"], perm=(1, 0, 2)),
        by_hand.layer("LSTM", inputs, outputs, name="sequential/lstm/LSTM__32", direction=direction),
    ]
    if D == 2:
        for side, start, end in (("forward", "zero", "one"), ("backward", "one", "two")):
            nodes.append(node("Slice", ["Y", start, end, "one"], [f"{side}_4"]))
            nodes.append(node("Squeeze", [f"{side}_4", "one"], [side]))
        nodes.append(node("Concat", ["forward", "backward"], ["TBF"], axis=2))
    else:
        nodes.append(node("Squeeze", ["Y", "one"], ["TBF"]))
    if sequences:
        nodes.append(node("Transpose", ["TBF"], ["read"], perm=(1, 0, 2)))
    else:
        nodes.append(node("Squeeze", ["Y_h", "zero"], ["read"]))
    nodes.append(node("MatMul", ["read", "dense/kernel"], ["product"]))
    nodes.append(node("Add", ["product", "dense/bias"], ["logits"]))
    nodes.append(node("Softmax", ["logits"], ["y"], axis=-1))
    kernel = np.random.default_rng(3).normal(size=(D * H, 4)).astype(np.float32)
    constants = {"dense/kernel": kernel, "dense/bias": np.arange(4, dtype=np.float32)}
    return by_hand.model(
        nodes, by_hand.weights("LSTM", D) | constants | {"zero": ints(0), "one": ints(1), "two": ints(2)}
    )


@pytest.mark.parametrize(("D", "sequences"), [(1, True), (1, False), (2, True)])
def test_keras_by_tf2onnx_is_read(D, sequences, tmp_path):
    onnx.save(keras(D, sequences), tmp_path / "model.onnx")
    network = from_onnx(tmp_path / "model.onnx")
    assert (network.head.when, network.head.softmax) == ("each" if sequences else "last", True)
    x = np.random.default_rng(1).normal(size=(3, 7, I)).astype(np.float32)
    want = session(tmp_path / "model.onnx").run(None, {"x": x})[0]
    got = module_of(network)(torch.from_numpy(x).transpose(0, 1))[0].detach().numpy()
    close(got.swapaxes(0, 1) if sequences else got, want)


class Torch(torch.nn.Module):
    """An embedding, one of torch's layers and maybe a head, as people write them."""

    def __init__(self, rnn, last="", softmax=False, headed=True):
        super().__init__()
        self.embedding, self.rnn, self.last, self.softmax = torch.nn.Embedding(9, 4), rnn, last, softmax
        width = rnn.hidden_size * (2 if rnn.bidirectional else 1)
        self.head = torch.nn.Linear(width, 6) if headed else torch.nn.Identity()

    def forward(self, x):
        y, end = self.rnn(self.embedding(x))
        if self.last == "y":
            y = y[:, -1] if self.rnn.batch_first else y[-1]
        elif self.last == "h":
            y = (end[0] if isinstance(end, tuple) else end)[-1]
        elif self.last == "both h":
            h = end[0] if isinstance(end, tuple) else end
            y = torch.cat([h[-2], h[-1]], -1)
        elif self.last == "both ends":
            H = self.rnn.hidden_size
            y = torch.cat([y[:, -1, :H], y[:, 0, H:]], -1)
        elif self.last == "halves":
            H = self.rnn.hidden_size
            y = torch.cat([y[:, :, :H][:, -1], y[:, :, H:][:, 0]], -1)
        y = self.head(y)
        return y.softmax(-1) if self.softmax else y


STOCK = {
    "lstm": lambda: Torch(torch.nn.LSTM(4, 5, 2)),
    "lstm-both-ways": lambda: Torch(torch.nn.LSTM(4, 5, 2, bidirectional=True, batch_first=True)),
    "gru": lambda: Torch(torch.nn.GRU(4, 5, batch_first=True), last="y"),
    "lstm-h": lambda: Torch(torch.nn.LSTM(4, 5, 2), last="h", softmax=True),
    "lstm-both-y": lambda: Torch(torch.nn.LSTM(4, 5, bidirectional=True), last="y"),
    "gru-both-h": lambda: Torch(torch.nn.GRU(4, 5, 2, bidirectional=True), last="both h"),
    "lstm-both-ends": lambda: Torch(torch.nn.LSTM(4, 5, bidirectional=True, batch_first=True), last="both ends"),
    "gru-halves": lambda: Torch(torch.nn.GRU(4, 5, bidirectional=True, batch_first=True), last="halves"),
    "last-y-alone": lambda: Torch(torch.nn.LSTM(4, 5, bidirectional=True), last="y", headed=False),
    "both-h-alone": lambda: Torch(torch.nn.GRU(4, 5, bidirectional=True), last="both h", headed=False),
    "relu": lambda: Torch(torch.nn.RNN(4, 5, bias=False, nonlinearity="relu"), softmax=True),
}


@pytest.mark.filterwarnings("ignore")  # torch's remarks on its older exporter
@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize("name", STOCK)
def test_what_torch_exports_is_read(name, opset, tmp_path):
    model, x = STOCK[name]().eval(), torch.randint(9, (7, 3))
    torch.onnx.export(
        model, (x,), tmp_path / "model.onnx", dynamo=False, opset_version=opset, input_names=["x"],
        dynamic_axes={"x": {0: "a", 1: "b"}},
    )  # fmt: skip
    assert_same(model, x, tmp_path / "model.onnx")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_what_torch_exports_by_dynamo_is_read(name, tmp_path):
    pytest.importorskip("onnxscript", reason="which torch's newer exporter needs")
    model, x = STOCK[name]().eval(), torch.randint(9, (7, 3))
    sizes = {0: torch.export.Dim("a"), 1: torch.export.Dim("b")}
    torch.onnx.export(
        model, (x,), tmp_path / "model.onnx", dynamo=True, verbose=False, external_data=False, dynamic_shapes=(sizes,)
    )
    assert_same(model, x, tmp_path / "model.onnx")


def assert_same(model, x, path):
    first, want = model.rnn.batch_first, model(x)
    got = module_of(from_onnx(path))(x.T if first else x)[0]
    close(got.detach().numpy(), want.transpose(0, 1) if first and want.ndim == 3 else want)


def test_constant_initial_states_become_learned_ones(tmp_path):
    h, c = (np.full((1, 1, H), value, np.float32) for value in (0.25, -0.5))
    nodes = [
        by_hand.layer(inputs=("x", "W", "R", "B", "", "h", "c"), outputs=("Y",)),
        by_hand.node("Squeeze", ["Y", "one"], ["y"]),
    ]
    onnx.save(by_hand.model(nodes, by_hand.weights("LSTM") | {"h": h, "c": c, "one": ints(1)}), tmp_path / "model.onnx")
    ((found_h, found_c),) = from_onnx(tmp_path / "model.onnx").layers[0].initial
    assert (found_h.tolist(), found_c.tolist()) == ([0.25] * H, [-0.5] * H)


def one_layer(op="LSTM", inputs=("x", "W", "R", "B"), after=(), constants=(), given=("x",), **attributes):
    """A model of one node of `op` whose output is squeezed."""
    D = 2 if attributes.get("direction") == "bidirectional" else 1
    nodes = [by_hand.layer(op, inputs, ("Y",), **attributes), by_hand.node("Squeeze", ["Y", "one"], ["squeezed"])]
    nodes += after or [by_hand.node("Identity", ["squeezed"], ["y"])]
    return by_hand.model(nodes, by_hand.weights(op, D) | {"one": ints(1)} | dict(constants), inputs=given)


def lying_tensor(change):
    made = one_layer()
    change(made.graph.initializer[0])
    return made


def ending(*nodes, **constants):
    """A model whose one layer is followed by these nodes, operator and other input, from `squeezed` to `y`."""
    return one_layer(after=[by_hand.node(op, inputs, ["y"]) for op, inputs in nodes], constants=constants)


FLOATS = np.zeros((1, 3, H), np.float32)
ROWS = np.arange(3 * H, dtype=np.float32).reshape(1, 3, H)
NAN = np.full((1, 40), np.nan, np.float32)
HARD = ["HardSigmoid", "Tanh", "Tanh"]
REFUSED = {
    "clip": (lambda: one_layer(clip=3.0), r"node 'the_layer' \(LSTM\): clip is 3.0"),
    "activation": (
        lambda: one_layer(activations=["HardSigmoid", "Tanh", "Tanh"]),
        "are hardsigmoid, tanh, tanh, expected",
    ),
    "coupled": (lambda: one_layer(input_forget=1), "input_forget couples"),
    "reset before": (lambda: one_layer("GRU", linear_before_reset=0), r"\(GRU\): linear_before_reset is 0"),
    "reverse": (lambda: one_layer(direction="reverse"), "direction is 'reverse'"),
    "layout": (lambda: one_layer(layout=2), "layout is 2"),
    "hidden_size": (lambda: one_layer(hidden_size=6), "hidden_size is 6, but R is for 5"),
    "attribute": (lambda: one_layer(colour=1), "attributes colour"),
    "missing": (lambda: one_layer(inputs=("x", "W", "nowhere")), "reads 'nowhere', which nothing before it gives"),
    "shape": (lambda: one_layer(constants={"R": FLOATS}), r"R is float32 \(1, 3, 5\), expected floats \(1, 20, 5\)"),
    "fixed lengths": (
        lambda: one_layer(inputs=("x", "W", "R", "B", "lens"), constants={"lens": np.full(3, 4, np.int32)}),
        "sequence_lens are constants",
    ),
    "rows": (lambda: one_layer(inputs=("x", "W", "R", "B", "", "h"), constants={"h": ROWS}), "differs from row to row"),
    "weights": (lambda: one_layer(inputs=("x", "other", "R", "B"), given=("x", "other")), "W is no constant"),
    "operator": (
        lambda: ending(("Sigmoid", ["squeezed"])),
        r"node 'y_by_Sigmoid' \(Sigmoid\): ONNX's 'Sigmoid' has no place in a network here; known are Add, ",
    ),
    "product": (lambda: ending(("Mul", ["squeezed", "one"])), r"\(Mul\): a layer's input or output goes in"),
    "residual": (lambda: ending(("Add", ["squeezed", "squeezed"])), "input 1 is the signal, expected a constant"),
    "first step": (lambda: ending(("Gather", ["squeezed", "one"])), "expected the last step"),
    "no layer": (lambda: by_hand.model([by_hand.node("Identity", ["x"], ["y"])], {}), "without a recurrent layer"),
    "external": (lambda: lying_tensor(lambda t: setattr(t, "data_location", 1)), "another file, which is not followed"),
    "half": (lambda: lying_tensor(lambda t: setattr(t, "data_type", 10)), "is of type 10, expected float32"),
    "sizes": (lambda: lying_tensor(lambda t: t.dims.__setitem__(1, 2**50)), r"the sizes \[1, 1125899906842624, 3\]"),
    "not finite": (
        lambda: one_layer(constants={"B": NAN}),
        "has 20 non-finite numbers",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_layer_is_is_refused_with_its_place(name, tmp_path):
    make, said = REFUSED[name]
    (tmp_path / "model.onnx").write_bytes(make().SerializeToString())
    with pytest.raises(FormatError, match=said) as refused:
        from_onnx(tmp_path / "model.onnx")
    assert str(refused.value).startswith(f"{tmp_path / 'model.onnx'}: ")
    assert "\n" not in str(refused.value)


def test_constants_that_grow_beyond_the_file_are_refused(tmp_path):
    nodes = [by_hand.node("ConstantOfShape", ["huge"], ["h"])]
    made = one_layer(inputs=("x", "W", "R", "B", "", "h"), constants={"huge": ints(2**20, 2**20)})
    made.graph.node.insert(0, nodes[0])
    (tmp_path / "model.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(FormatError, match="it computes more numbers than the file holds"):
        from_onnx(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "operator set"),
        (b"\x3a\xff\xff\xff\xff\x0f", r"field 7 at byte 0 has [\d,]+ bytes, 0 are left"),
        (b"\x3a", "a number that does not end"),
        (b"\x0b" * 9, "wire type 3 at byte 0"),
        (b"\x72\x00" * 1_000_001, "has more than 1,000,000 fields"),
    ],
)
def test_bytes_that_are_no_model_are_refused(data, said, tmp_path):
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(FormatError, match=said):
        from_onnx(tmp_path / "model.onnx")


def test_graphs_in_graphs_are_refused_before_they_are_parsed(tmp_path):
    inner = b""
    for _ in range(200):  # GraphProto.node.attribute.g, three messages each
        for field in (6, 5, 1):
            inner = bytes([field << 3 | 2]) + varint(len(inner)) + inner
    (tmp_path / "model.onnx").write_bytes(b"\x3a" + varint(len(inner)) + inner)
    with pytest.raises(FormatError, match="messages in messages, 33 deep"):
        from_onnx(tmp_path / "model.onnx")


def varint(n):
    return bytes([n & 127 | (128 if n > 127 else 0)]) + (varint(n >> 7) if n > 127 else b"")


@pytest.mark.parametrize("place", ["missing.onnx", "."])
def test_file_that_cannot_be_read_is_named(place, tmp_path):
    with pytest.raises(FormatError, match=r"cannot read|is a pipe"):
        from_onnx(tmp_path / place)
