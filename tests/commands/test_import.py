"""`unrolled import` makes the folder of a model from a network that was trained elsewhere, and says what it found."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.commands.command_line import contents, refusal, unrolled
from tests.saved.networks import networks
from unrolled import runtime
from unrolled.export import to_flax, to_onnx
from unrolled.formats.network_of import FormatError
from unrolled.formats.text import with_vocabulary
from unrolled.saved.network import Head, Network
from unrolled.saved.network_folder import load_network, save_network
from unrolled.saved.vocabulary import Vocabulary

NETWORKS = dict(networks())
ONE_HOT = NETWORKS["text-GRU-one-hot"]


@pytest.fixture
def file(tmp_path):
    """A GRU that reads and predicts seven symbols, in a file that does not say which."""
    to_flax(ONE_HOT, tmp_path / "gru.npz")
    return tmp_path / "gru.npz"


def test_import_says_what_was_found_and_what_can_be_done_with_it(file, tmp_path):
    done = unrolled("import", file, "--out", tmp_path / "run")
    assert done.stdout.decode().splitlines() == [
        f"{file}: Flax",
        "  reads vectors of 7",
        "  layer 0: GRU, 5 units that read 7",
        "  head: 7 numbers after each step",
        "  252 numbers, float32",
        f"wrote {tmp_path / 'run'}: 2 kB; try:",
        f"  in Python: unrolled.runtime.load('{tmp_path / 'run'}')",
    ]
    assert load_network(tmp_path / "run").layers[0].kind == "GRU"


@pytest.mark.parametrize(
    "given",
    [
        ["--vocabulary", "TEXT"],
        ["--vocabulary", "TEXT/vocabulary.json"],
        ["--symbols", "abcde", "--kind", "characters"],
    ],
)
def test_imported_model_with_its_vocabulary_writes_what_it_wrote_before(given, file, tmp_path):
    start = np.full(7, -np.log(5), np.float32)
    start[5:] = -1e4
    text = replace(ONE_HOT, text=replace(ONE_HOT.text, start=start))
    save_network(tmp_path / "text", text)
    given = [argument.replace("TEXT", str(tmp_path / "text")) for argument in given]
    done = unrolled("import", file, "--out", tmp_path / "run", *given)
    assert done.returncode == 0, done.stderr.decode()
    assert f"  unrolled generate {tmp_path / 'run'}" in done.stdout.decode().splitlines()
    before, after = (runtime.load(tmp_path / name) for name in ("text", "run"))
    assert after.vocabulary == before.vocabulary
    np.testing.assert_allclose(after.score("abcabeedcb").bits, before.score("abcabeedcb").bits, atol=1e-5)
    shown = [unrolled("generate", tmp_path / name, "ab", "--seed", "1") for name in ("text", "run")]
    assert shown[0].stdout == shown[1].stdout != b""


@pytest.mark.parametrize("embedded", [False, True])
def test_network_of_the_symbols_alone_gets_eos_and_unk_that_change_nothing(embedded, tmp_path):
    rng, (layer,) = np.random.default_rng(0), NETWORKS["text-GRU-one-hot"].layers
    E = rng.normal(size=(7, 7)).astype(np.float32) if embedded else None
    network = Network((layer,), E, head=Head(rng.normal(size=(7, 5)).astype(np.float32), None, "last", True))
    save_network(tmp_path / "run", with_vocabulary(network, Vocabulary("abcdefg", "characters")))
    model = runtime.load(tmp_path / "run")
    assert len(model.vocabulary) == 9
    ids = np.array([3, 1, 6, 0])
    h = np.zeros(5)
    for k in ids:
        logits = np.reshape(model.step(k), (1, 9))
        h = _gru(network, k, h)
    expected = network.head.W @ h
    np.testing.assert_allclose(logits[0, :7], expected, atol=1e-5)
    assert (np.exp(logits[0, 7:] - logits.max()) == 0).all()
    assert set("".join(model.generate("ab", count=50, max_length=20, seed=1))) <= set("abcdefg")


def _gru(network, k, h):
    (w,) = network.layers[0].directions
    x = w.W_ih[:, k] if network.embedding is None else w.W_ih @ network.embedding[k]
    (a_r, a_z, a_n), (h_r, h_z, h_n) = np.split(x + w.b_ih, 3), np.split(w.W_hh @ h + w.b_hh, 3)
    r, z = 1 / (1 + np.exp(-a_r - h_r)), 1 / (1 + np.exp(-a_z - h_z))
    return (1 - z) * np.tanh(a_n + r * h_n) + z * h


@pytest.mark.parametrize(
    ("network", "symbols", "options", "said"),
    [
        ("GRU-3-5", "abc", {}, "the network has no head, so it predicts no symbols"),
        ("GRU-two-ways", "abc", {"head": 8}, "a layer reads backward, so there is no next symbol"),
        ("head-no-bias", "abc", {}, "reads 7 symbols and predicts 7, but the vocabulary has 3, or 5 with EOS and UNK"),
        ("head-each-False", "abcdefg", {}, "reads 3 symbols and predicts 7"),
        ("head-no-bias", "abcdefg", {"framed": True}, "the network knows 7 symbols, and EOS is none of them"),
    ],
)
def test_vocabulary_that_does_not_fit_is_refused(network, symbols, options, said):
    network = NETWORKS[network]
    if width := options.pop("head", 0):
        network = replace(network, head=Head(np.ones((3, width), np.float32)))
    with pytest.raises(FormatError, match=said):
        with_vocabulary(network, Vocabulary(symbols, "characters"), **options)


@pytest.mark.parametrize(
    ("code", "arguments", "said"),
    [
        (2, ["FILE", "--out", "run", "--symbols", "a b", "--vocabulary", "x"], "leave --symbols and --kind out"),
        (2, ["FILE", "--out", "run", "--kind", "bytes"], "--kind bytes says how --symbols is read; give both"),
        (2, ["FILE", "--out", "run", "--framed"], "--framed is of a network of text"),
        (2, ["FILE"], "import needs --out"),
        (2, ["x.mp3", "--out", "run"], "x.mp3 is of no format known here; say which with --format"),
        (1, ["missing.npz", "--out", "run"], "missing.npz: cannot read: No such file"),
        (1, ["FILE", "--out", "run", "--symbols", "a b"], "but the vocabulary has 2, or 4 with EOS and UNK"),
        (1, ["FILE", "--out", "run", "--symbols", "a a"], "symbol 1 'a' occurs twice"),
        (1, ["FILE", "--out", "run", "--vocabulary", "missing"], "missing: cannot read: No such file"),
        (1, ["FILE", "--out", "run", "--vocabulary", "FILE"], "gru.npz: not a vocabulary: damaged"),
    ],
)
def test_import_that_cannot_be_is_refused_and_writes_nothing(code, arguments, said, file, tmp_path):
    before = contents(tmp_path)
    assert said in refusal(code, "import", *(file if a == "FILE" else a for a in arguments), cwd=tmp_path)
    assert contents(tmp_path) == before


def test_framed_is_refused_where_the_file_says_itself_what_its_text_is(tmp_path):
    """It did nothing, in silence."""
    pytest.importorskip("onnx", reason="needs [onnx]")
    to_onnx(NETWORKS["text-mixed"], tmp_path / "text.onnx")
    said = "--framed: text.onnx says itself that it learned one stream; leave it out"
    assert said in refusal(2, "import", "text.onnx", "--out", "run", "--framed", cwd=tmp_path)
    assert not (tmp_path / "run").exists()


def test_text_of_a_file_is_kept_beside_the_same_vocabulary_and_another_is_refused(tmp_path):
    """It was replaced, and with it how texts begin and end."""
    pytest.importorskip("onnx", reason="needs [onnx]")
    network = NETWORKS["text-mixed"]
    framed = replace(network, text=replace(network.text, framed=True))
    save_network(tmp_path / "model", framed)
    to_onnx(framed, tmp_path / "text.onnx")
    done = unrolled("import", "text.onnx", "--out", "run", "--vocabulary", "model", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    found = load_network(tmp_path / "run").text
    assert found.framed
    np.testing.assert_allclose(found.start, network.text.start, atol=1e-6)
    for given in (["--symbols", "z y x w v", "--kind", "symbols"], ["--symbols", "abcde", "--kind", "bytes"]):
        said = refusal(2, "import", "text.onnx", "--out", "other", *given, cwd=tmp_path)
        assert "--symbols: text.onnx says itself which symbols it reads, Vocabulary(7 characters: a b c" in said
    assert not (tmp_path / "other").exists()


class Forecaster(torch.nn.Module):
    """Its state_dict does not say whether `fc` stands before or after the cells, nor what they compute."""

    def __init__(self):
        super().__init__()
        self.fc, self.cells = torch.nn.Linear(5, 3), torch.nn.RNN(3, 5, nonlinearity="relu")


def test_what_a_file_does_not_say_is_asked_for_in_words_that_can_be_typed(tmp_path):
    torch.save(Forecaster().state_dict(), tmp_path / "x.pt")
    said = refusal(1, "import", tmp_path / "x.pt", "--out", tmp_path / "run")
    assert said.endswith("; say --head fc")
    told = said.rpartition("; say ")[2].split()
    said = refusal(1, "import", tmp_path / "x.pt", "--out", tmp_path / "run", *told)
    assert said.endswith("; say --cell RNN_TANH or --cell RNN_RELU")
    told += ["--cell", "RNN_RELU", "--when", "last", "--softmax"]
    done = unrolled("import", tmp_path / "x.pt", "--out", tmp_path / "run", *told)
    assert done.returncode == 0, done.stderr.decode()
    network = load_network(tmp_path / "run")
    assert network.layers[0].kind == "RNN_RELU"
    assert (network.head.when, network.head.softmax) == ("last", True)


def test_what_a_file_says_itself_is_not_told(tmp_path):
    pytest.importorskip("onnx", reason="needs [onnx]")
    to_onnx(NETWORKS["GRU-3-5"], tmp_path / "gru.onnx")
    said = refusal(2, "import", tmp_path / "gru.onnx", "--out", tmp_path / "run", "--head", "fc")
    assert "--head fc: a file of ONNX says this itself; leave it out" in said


def test_import_does_not_replace_a_model_unasked(file, tmp_path):
    assert unrolled("import", file, "--out", tmp_path / "run").returncode == 0
    before = contents(tmp_path)
    assert "a model is already there" in refusal(1, "import", file, "--out", tmp_path / "run")
    assert contents(tmp_path) == before
    assert unrolled("import", file, "--out", tmp_path / "run", "--overwrite").returncode == 0
