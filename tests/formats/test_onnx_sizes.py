"""ONNX graphs of open sizes, and of what acts on some of a signal alone: as onnxruntime computes them, or refused."""

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.formats import onnx_graphs as by_hand
from tests.formats.equations import outputs
from unrolled.formats.network_of import FormatError
from unrolled.imports import from_onnx

I, H = by_hand.I, by_hand.H
ONE = by_hand.ints(1)


def squeezed(*after, before=(), x="x", constants=(), lengths=""):
    """A model of an LSTM that reads `x`, is squeezed to z, and is followed by nodes to y."""
    nodes = [
        *before,
        by_hand.layer(inputs=(x, "W", "R", "B", lengths), outputs=("Y",)),
        by_hand.node("Squeeze", ["Y", "one"], ["z" if after else "y"]),
    ]
    return by_hand.model([*nodes, *after], by_hand.weights("LSTM") | {"one": ONE} | dict(constants))


def cropped(start, end):
    cut = {"start": by_hand.ints(start), "end": by_hand.ints(end), "axis": by_hand.ints(0)}
    slicing = by_hand.node("Slice", ["x", "start", "end", "axis"], ["some"])
    return squeezed(before=[slicing], x="some", constants=cut)


def shorter_by(n):
    """The length of every row is T - n, computed of the sizes of the input."""
    nodes = [
        by_hand.node("Shape", ["x"], ["sizes"]),
        by_hand.node("Gather", ["sizes", "zero"], ["steps"], axis=0),
        by_hand.node("Gather", ["sizes", "one"], ["rows"], axis=0),
        by_hand.node("Sub", ["steps", "n"], ["length"]),
        by_hand.node("Expand", ["length", "rows"], ["wide"]),
        by_hand.node("Cast", ["wide"], ["ends"], to=6),
    ]
    return squeezed(before=nodes, constants={"zero": by_hand.ints(0), "n": by_hand.ints(n)}, lengths="ends")


def headed(b, **options):
    M = np.random.default_rng(0).normal(size=(H, 3)).astype(np.float32)
    nodes = [by_hand.node("MatMul", ["z", "M"], ["p"]), by_hand.node("Add", ["p", "b"], ["y"])]
    return squeezed(*nodes, constants={"M": M, "b": b}, **options)


def dropping(acts):
    node = by_hand.node("Dropout", ["z", "half", "acts"], ["y"])
    return squeezed(node, constants={"half": np.float32(0.5), "acts": np.array(acts)})


def nameless():
    """Two layers; outputs that the first does not give bear no name, as do inputs that the second does not take."""
    second = by_hand.layer(inputs=("z2", "W2", "R", "B", "", "", ""), outputs=("Y2", "", ""), name="second")
    nodes = [
        by_hand.layer(outputs=("Y", "", "")),
        by_hand.node("Squeeze", ["Y", "one"], ["z2"]),
        second,
        by_hand.node("Squeeze", ["Y2", "one"], ["y"]),
    ]
    wide = np.random.default_rng(1).normal(size=(1, 4 * H, H)).astype(np.float32)
    return by_hand.model(nodes, by_hand.weights("LSTM") | {"one": ONE, "W2": wide})


ROW = np.arange(3, dtype=np.float32)
REFUSED = {
    "at most 512 steps": (lambda: cropped(0, 512), r"takes \[0:512\] of axis 0, expected all or the last step"),
    "the last 512 steps": (lambda: cropped(-512, 2**31 - 1), r"takes \[-512:2147483647\] of axis 0, expected all"),
    "dropout that acts": (lambda: dropping(True), "training_mode is true, so that it acts; export the model in eval"),
    "bias of the rows": (lambda: headed(ROW[:, None]), r"its bias is \(3, 1\), expected \(3\)"),
    "lengths T - 1": (lambda: shorter_by(1), "sequence_lens are made of the sizes of its X, and are not T"),
}
READ = {
    "all steps": lambda: cropped(0, 2**31 - 1),
    "all steps of 64 bits": lambda: cropped(0, 2**63 - 1),
    "dropout that does not act": lambda: dropping(False),
    "bias of a row": lambda: headed(ROW[None, None]),
    "lengths T": lambda: shorter_by(0),
    "outputs without names": nameless,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_holds_of_the_sizes_that_stand_in_alone_is_refused(name, tmp_path):
    make, said = REFUSED[name]
    onnx.save(make(), tmp_path / "model.onnx")
    with pytest.raises(FormatError, match=said):
        from_onnx(tmp_path / "model.onnx")


@pytest.mark.parametrize("T", [3, 11, 40])
@pytest.mark.parametrize("name", READ)
def test_what_holds_of_every_size_is_read(name, T, tmp_path):
    onnx.save(READ[name](), tmp_path / "model.onnx")
    x = np.random.default_rng(2).normal(size=(T, 3, I)).astype(np.float32)
    (expected,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"x": x})
    np.testing.assert_allclose(outputs(from_onnx(tmp_path / "model.onnx"), x), expected, atol=1e-5)
