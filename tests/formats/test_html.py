"""A network becomes one HTML file, or is refused before anything is written; tests/webpage opens such files."""

import base64
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from tests.saved.networks import layer, networks, text_networks
from unrolled import export
from unrolled.config.model import ModelConfig
from unrolled.core.bfloat16 import narrowed
from unrolled.formats.network_of import FormatError
from unrolled.saved import narrow
from unrolled.saved.network import Head, Network, TextPart
from unrolled.saved.network_folder import save_network
from unrolled.saved.vocabulary import Vocabulary

TEXT_NETWORKS = dict(text_networks())
HELD = {name: network for name, network in TEXT_NETWORKS.items() if network.model_config()}
OTHERS = {name: network for name, network in networks() if name not in HELD}


def inside(path):
    """What a page holds of its network."""
    page = path.read_text("utf-8")
    return json.loads(re.search(r'<script type="application/json" id="network">(.*?)</script>', page)[1])


def numbers(kept, kind):
    return np.frombuffer(base64.b64decode(kept["data"]), kind)


@pytest.mark.parametrize("name", HELD)
def test_page_holds_every_number_of_a_network(tmp_path, name):
    network, path = HELD[name], tmp_path / "page.html"
    export.to_html(network, path)
    held = inside(path)["network"]["tensors"]
    want = network.tensors() | {"start": network.text.start}
    assert held.keys() == want.keys()
    for each, w in want.items():
        np.testing.assert_array_equal(numbers(held[each], "<f4"), w.ravel())


def test_bfloat16_keeps_half_of_the_bits_of_matrices(tmp_path):
    network, path = HELD["text-LSTM"], tmp_path / "page.html"
    export.to_html(network, path, weights="bfloat16")
    held = inside(path)["network"]["tensors"]
    for each, w in (network.tensors() | {"start": network.text.start}).items():
        if w.ndim == 2:
            np.testing.assert_array_equal(numbers(held[each], "<u2"), narrowed(w).ravel())
        else:
            np.testing.assert_array_equal(numbers(held[each], "<f4"), w)


def test_int8_keeps_a_byte_a_number_and_a_scale_a_row(tmp_path):
    network, path = HELD["text-LSTM"], tmp_path / "page.html"
    export.to_html(network, path, weights="int8")
    held = inside(path)["network"]["tensors"]
    for each, w in narrow.narrowed(network, "int8").tensors().items():
        if w.ndim == 2:
            q, scale = numbers(held[each], "i1").reshape(w.shape), numbers({"data": held[each]["scale"]}, "<f4")
            np.testing.assert_array_equal(q * scale[:, None], w)
        else:
            np.testing.assert_array_equal(numbers(held[each], "<f4"), w)


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_weights_are_kept_as_the_network_is_saved(tmp_path, weights):
    small = narrow.narrowed(HELD["text-GRU"], weights)
    export.to_html(small, tmp_path / "saved.html", name="x")
    export.to_html(HELD["text-GRU"], tmp_path / "told.html", name="x", weights=weights)
    assert (tmp_path / "saved.html").read_bytes() == (tmp_path / "told.html").read_bytes()


def test_head_that_is_the_embedding_stands_in_the_page_once(tmp_path):
    network = HELD["text-GRU"]
    wide = replace(network, layers=(layer("GRU", 3, 3),), head=Head(network.embedding))
    export.to_html(wide, tmp_path / "page.html")
    held = inside(tmp_path / "page.html")["network"]["tensors"]
    assert "embedding.weight" in held
    assert "head.weight" not in held
    np.testing.assert_array_equal(numbers(held["head.bias"], "<f4"), np.zeros(7))


def test_page_is_named_after_the_folder_or_the_file_or_as_told(tmp_path):
    network, path = HELD["text-GRU"], tmp_path / "page.html"
    save_network(tmp_path / "sonnets", network)
    names = []
    for source, options in ((network, {}), (tmp_path / "sonnets", {}), (network, {"name": "<b>"})):
        export.to_html(source, path, **options)
        names.append(inside(path)["card"]["name"])
    assert names == ["page", "sonnets", "<b>"]


@pytest.mark.parametrize("name", OTHERS)
def test_network_that_a_page_cannot_show_is_refused_with_the_reason(tmp_path, name):
    with pytest.raises(FormatError, match=r"an HTML page cannot hold .*: "):
        export.to_html(OTHERS[name], tmp_path / "page.html")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("LSTM-3-5", "nothing to type"),
        ("LSTM-two-ways", "the reverse direction of layer 0: it has no next step"),
        ("projected", "the reverse direction of layer 0"),
        ("LSTM_PEEPHOLE-3-5", "the peepholes of layer 0"),
        ("text-mixed", "layers of one kind and size"),
    ],
)
def test_reason_names_what_is_in_the_way(tmp_path, name, reason):
    with pytest.raises(FormatError, match=reason):
        export.to_html(OTHERS[name], tmp_path / "page.html")


def test_head_that_predicts_only_at_the_end_is_refused(tmp_path):
    network = HELD["text-GRU"]
    for head in (replace(network.head, when="last"), None):
        with pytest.raises(FormatError, match="next symbol after each step"):
            export.to_html(replace(network, head=head), tmp_path / "page.html")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(("dtype", "number"), [("float32", np.nan), ("float32", np.inf), ("float64", 1e300)])
def test_numbers_that_are_not_finite_are_refused_by_name(tmp_path, dtype, number):
    vocabulary = Vocabulary("abc", "characters")
    W = np.ones((5, 4), dtype)
    W[1, 2] = number
    text = TextPart(vocabulary, False, np.zeros(5, dtype))
    network = Network((layer("GRU", 5, 4, dtype=dtype),), one_hot=True, head=Head(W), text=text)
    with pytest.raises(FormatError, match=r"head\.weight is not finite in float32"):
        export.to_html(network, tmp_path / "page.html")
    assert [*tmp_path.iterdir()] == []


def test_unknown_way_to_keep_numbers_is_refused(tmp_path):
    with pytest.raises(ValueError, match="weights is 'int3'; it must be one of float32, bfloat16, int8"):
        export.to_html(HELD["text-GRU"], tmp_path / "page.html", weights="int3")


def test_page_of_a_model_of_200_kB_is_below_1_MB(tmp_path):
    config, vocabulary = ModelConfig(cell="lstm", hidden_size=96), Vocabulary(map(chr, range(32, 92)), "characters")
    from unrolled.lm.model import SequenceModel

    model = SequenceModel(config, vocabulary)
    assert sum(p.numel() for p in model.parameters()) * 4 > 200_000
    export.to_html(model, tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 1_000_000
