import numpy as np
import pytest

from tests.saved import seal
from tests.saved.networks import layer, networks, text_networks
from unrolled.saved.atomic_files import CheckpointError
from unrolled.saved.model import SavedModel
from unrolled.saved.network import Network
from unrolled.saved.network_folder import load_network, save_network

NETWORKS = dict(networks())


@pytest.mark.parametrize("name", NETWORKS)
def test_network_comes_back_from_its_folder_to_the_bit(name, tmp_path):
    network = NETWORKS[name]
    save_network(tmp_path, network)
    loaded = load_network(tmp_path)
    assert [(each.kind, each.D, each.P) for each in loaded.layers] == [
        (each.kind, each.D, each.P) for each in network.layers
    ]
    assert (loaded.one_hot, loaded.dtype, loaded.width) == (network.one_hot, network.dtype, network.width)
    before, after = network.tensors(), loaded.tensors()
    assert before.keys() == after.keys()
    for key in before:
        np.testing.assert_array_equal(before[key], after[key], strict=True)
    if network.head is not None:
        assert (loaded.head.when, loaded.head.softmax) == (network.head.when, network.head.softmax)
    if network.text is not None:
        assert loaded.text.vocabulary == network.text.vocabulary
        np.testing.assert_array_equal(loaded.text.start, network.text.start)


@pytest.mark.parametrize("name", [name for name, _ in text_networks()][:-1])
def test_network_of_text_is_saved_as_the_text_model_that_it_is(name, tmp_path):
    save_network(tmp_path, NETWORKS[name])
    assert SavedModel.load(tmp_path).model.hidden_size == 5


@pytest.mark.parametrize("name", ["mixed", "text-mixed"])
def test_network_that_is_no_text_model_is_refused_as_one(name, tmp_path):
    save_network(tmp_path, NETWORKS[name])
    with pytest.raises(CheckpointError, match=r"no text model of this package; load them with unrolled\.runtime\.load"):
        SavedModel.load(tmp_path)


def test_network_over_a_text_model_leaves_no_vocabulary(tmp_path):
    save_network(tmp_path, NETWORKS["text-LSTM"])
    save_network(tmp_path, NETWORKS["mixed"], overwrite=True)
    assert sorted(file.name for file in tmp_path.iterdir() if file.name[0] != ".") == [
        "config.json",
        "model.safetensors",
    ]
    assert load_network(tmp_path).layers[1].kind == "GRU"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["layers"][0].update(hidden_size=6), r"'rnn.weight_ih_l0' is float32 \(20, 3\), expected"),
        (lambda d: d["layers"][0].update(hidden_size=2**40), r"\[network\] Expected `int` <= 2147483647"),
        (lambda d: d["layers"][0].update(kind="LSTMM"), r"\[network\] Invalid enum value 'LSTMM'"),
        (lambda d: d["layers"][0].update(directions=3), r"\[network\] Expected `int` <= 2"),
        (lambda d: d["layers"].clear(), r"\[network\] Expected `array` of length >= 1"),
        (lambda d: d.update(dtype="float16"), r"dtype is 'float16', expected float32 or float64"),
        (lambda d: d.update(framed=True), r"framed is True, but there is no vocabulary.json"),
        (lambda d: d.update(colour=1), r"\[network\] Object contains unknown field `colour`"),
        (
            lambda d: d.update(embedding_size=3, input_size=9, symbols=False),
            r"symbols is false, but embedding_size is 3",
        ),
        (lambda d: d.update(input_size=4), r"expected float32 \(G\*H, I\) = \(20, 4\)"),
    ],
)
def test_config_that_does_not_fit_the_tensors_is_refused(change, said, tmp_path):
    save_network(tmp_path, Network((layer("LSTM", 3, 5),)))
    seal.change(tmp_path, config=lambda config: change(config["network"]) or config)
    with pytest.raises(CheckpointError, match=said):
        load_network(tmp_path)
