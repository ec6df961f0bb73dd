"""Matrices in a smaller type: what a folder holds, and that reading it widens exactly."""

import numpy as np
import pytest

from tests.saved import seal
from tests.saved.networks import layer, networks, text_networks
from unrolled.core import bfloat16, int8
from unrolled.saved.atomic_files import CheckpointError
from unrolled.saved.model import SavedModel
from unrolled.saved.narrow import narrowed
from unrolled.saved.network import Network
from unrolled.saved.network_folder import load_network, save_network

NETWORKS = dict(networks())
NARROW = ("bfloat16", "int8")


def assert_equal(network, other):
    before, after = network.tensors(), other.tensors()
    assert before.keys() == after.keys()
    for name in before:
        np.testing.assert_array_equal(before[name], after[name], strict=True, err_msg=name)


@pytest.mark.parametrize("weights", NARROW)
@pytest.mark.parametrize("name", NETWORKS)
def test_narrow_network_comes_back_from_its_folder_to_the_bit(name, weights, tmp_path):
    network = narrowed(NETWORKS[name], weights)
    save_network(tmp_path / "first", network)
    loaded = load_network(tmp_path / "first")
    assert_equal(network, loaded)
    assert loaded.stored == weights
    save_network(tmp_path / "again", loaded)
    files = [tmp_path / folder / "model.safetensors" for folder in ("first", "again")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("weights", NARROW)
def test_narrowing_twice_changes_nothing(weights):
    once = narrowed(NETWORKS["mixed"], weights)
    assert_equal(once, narrowed(once, weights))


def test_numbers_of_int8_are_exact_and_within_half_a_step():
    w = np.random.default_rng(0).normal(size=(300, 77)) * np.logspace(-20, 20, 300)[:, None]
    matrix = int8.quantised(w)
    assert np.abs(matrix.q).max(axis=1).tolist() == [127] * 300
    exact = matrix.q.astype(np.float64) * matrix.scale.astype(np.float64)[:, None]
    np.testing.assert_array_equal(int8.widened(matrix), exact)
    assert (np.abs(exact - w) <= 0.5001 * matrix.scale[:, None]).all()


def test_only_matrices_are_narrow(tmp_path):
    network = dict(text_networks())["text-LSTM"]
    save_network(tmp_path, narrowed(network, "int8"))
    saved = SavedModel.load(tmp_path)
    np.testing.assert_array_equal(saved.tensors["head.bias"], network.head.b)
    np.testing.assert_array_equal(saved.tensors["start"], network.text.start)
    np.testing.assert_array_equal(saved.tensors["initial.0"][0, 0], network.layers[0].initial[0][0])
    assert {w.dtype for w in saved.tensors.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("weights", NARROW)
def test_file_is_as_small_as_its_type(weights, tmp_path):
    network = Network((layer("LSTM", 64, 64),))
    save_network(tmp_path / "wide", network)
    save_network(tmp_path / "narrow", narrowed(network, weights))
    wide, narrow = ((tmp_path / name / "model.safetensors").stat().st_size for name in ("wide", "narrow"))
    assert narrow < wide * {"bfloat16": 0.53, "int8": 0.31}[weights]


def test_weights_that_a_type_cannot_hold_are_refused(tmp_path):
    broken = Network((layer("GRU", 3, 5),))
    broken.layers[0].directions[0].W_ih[0, 0] = np.nan
    with pytest.raises(ValueError, match=r"rnn.weight_ih_l0 holds a number that is not finite in float32"):
        narrowed(broken, "int8")
    with pytest.raises(ValueError, match="weights are 'int4', expected float32, bfloat16, int8"):
        narrowed(NETWORKS["GRU-3-5"], "int4")
    claimed = Network(NETWORKS["GRU-3-5"].layers, narrow="int8")
    with pytest.raises(ValueError, match=r"rnn\.weight_ih_l0 is not what int8 holds exactly"):
        save_network(tmp_path, claimed)


W, SCALES = "rnn.weight_hh_l0", "rnn.weight_hh_l0.scale"


def float32s(*values):
    return np.array(values, np.float32).tobytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop(SCALES), r"'rnn.weight_hh_l0.scale' is missing, expected F32 \(3,\)"),
        (lambda t: t.update({SCALES: ("F32", [2], float32s(1, 1))}), r"is F32 \(2,\), expected F32 \(3,\)"),
        (lambda t: t.update({SCALES: ("F32", [3], float32s(1, np.inf, 1))}), "a scale that is negative or not finite"),
        (lambda t: t.update({SCALES: ("F32", [3], float32s(1, np.nan, 1))}), "a scale that is negative or not finite"),
        (lambda t: t.update({SCALES: ("F32", [3], float32s(1, -1, 1))}), "a scale that is negative or not finite"),
        (lambda t: t.update({SCALES: ("F32", [3], float32s(1, 1.1, 1))}), "with which q . scale is not exact"),
        (lambda t: t.update({SCALES: ("F32", [3], float32s(1, 1e-40, 1))}), "with which q . scale is not exact"),
        (lambda t: t.update({SCALES: ("F32", [3], float32s(1, 2.0**127, 1))}), "a scale that is too large"),
        (lambda t: t.update({W: ("I8", [3, 3], bytes([128] * 9))}), "holds -128, expected -127 to 127"),
        (lambda t: t.update({W: ("F32", [3, 3], bytes(36))}), r"'rnn.weight_hh_l0' is of type F32 \(3, 3\)"),
        (lambda t: t.update({W: ("U8", [3, 3], bytes(9))}), "a tensor is of type U8, expected one of F32, I8, BF16"),
        (lambda t: t.update({"x.scale": ("F32", [3], bytes(12))}), "'x.scale' is not expected"),
        (lambda t: t.update({"rnn.bias_ih_l0": ("I8", [3], bytes(3))}), r"'rnn.bias_ih_l0' is of type I8 \(3,\)"),
    ],
)  # fmt: skip
def test_int8_that_somebody_spoiled_is_refused(change, said, tmp_path):
    save_network(tmp_path, narrowed(Network((layer("RNN_TANH", 4, 3),)), "int8"))
    seal.change(tmp_path, tensors=lambda data: seal.spoiled(data, change))
    with pytest.raises(CheckpointError, match=said):
        load_network(tmp_path)


def test_unknown_type_of_weights_is_refused(tmp_path):
    save_network(tmp_path, Network((layer("RNN_TANH", 4, 3),)))
    seal.change(tmp_path, config=lambda config: config | {"weights": "int4"})
    with pytest.raises(CheckpointError, match="weights is 'int4', expected bfloat16 or int8"):
        load_network(tmp_path)


def test_bfloat16_is_of_the_type_that_other_libraries_read(tmp_path):
    network = narrowed(NETWORKS["RNN_TANH-3-5"], "bfloat16")
    save_network(tmp_path, network)
    load_file = pytest.importorskip("safetensors.torch").load_file
    found = load_file(tmp_path / "model.safetensors")["rnn.weight_ih_l0"]
    assert str(found.dtype) == "torch.bfloat16"
    want = network.layers[0].directions[0].W_ih
    np.testing.assert_array_equal(found.float().numpy(), want)
    np.testing.assert_array_equal(bfloat16.rounded(want), want)
