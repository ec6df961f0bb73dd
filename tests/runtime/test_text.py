"""The numpy runtime agrees with the torch model, and needs no torch."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from unrolled import runtime
from unrolled.config.generation import GenerationConfig
from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.core.bfloat16 import rounded
from unrolled.corpus.corpus import Corpus
from unrolled.lm.layers import recurrent_layers
from unrolled.lm.model import SequenceModel
from unrolled.lm.training import train
from unrolled.nn import Stepper
from unrolled.runtime.engine import KEPT
from unrolled.runtime.generation import LOOKED, generate
from unrolled.saved.atomic_files import CheckpointError
from unrolled.saved.vocabulary import Vocabulary

MODELS = {
    "rnn": ModelConfig(cell="rnn", hidden_size=7),
    "relu-2-layers": ModelConfig(cell="rnn", nonlinearity="relu", hidden_size=9, num_layers=2),
    "lstm-learned": ModelConfig(cell="lstm", hidden_size=9, num_layers=3, learned_initial_state=True),
    "gru-tied": ModelConfig(cell="gru", hidden_size=7, embedding_size=7, tied=True, dropout=0.5),
    "lstm-embedded": ModelConfig(cell="lstm", hidden_size=33, embedding_size=5),
}
TEXT = "shall I compare thee to a summer's day?"


@pytest.fixture(params=MODELS)
def pair(request, tmp_path):
    """The same model in torch and, through a folder, in numpy; its weights are large enough to matter."""
    torch.manual_seed(3)
    model = SequenceModel(MODELS[request.param], Vocabulary.build(TEXT), framed=False)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    model.save_pretrained(tmp_path / "model")
    return model.eval(), runtime.load(tmp_path / "model")


@pytest.fixture(params=["float32", "bfloat16"])
def light(request, pair, tmp_path):
    """The same model without torch, its weights of either type."""
    return runtime.load(tmp_path / "model", weights=request.param)


def test_runtime_logits_match_torch(pair):
    model, light = pair
    ids = model.vocabulary.encode(TEXT)
    with torch.inference_mode():
        want = model(torch.from_numpy(ids)[:, None])[0][:, 0].numpy()
    state = light.initial(1)
    for t, symbol in enumerate(ids):
        logits, state = light.read(np.array([symbol]), state)
        np.testing.assert_allclose(logits[0], want[t], atol=1e-5, rtol=1e-5)


def test_state_of_another_network_is_not_read_on(pair):
    _, light = pair
    first = light.initial(1)
    other = runtime.State(tuple(np.zeros((1, s.shape[1] + 1), s.dtype) for s in layer) for layer in first)
    for _ in range(2):  # the second time with a stepper that waits
        with pytest.raises(ValueError, match=r"the state of layer 0 is h .* it is of another network"):
            light.read(np.array([1]), other)
        with pytest.raises(TypeError, match="the state is a tuple, expected a State"):
            light.read(np.array([1]), tuple(first))
        double = runtime.State(tuple(s.astype(np.float64) for s in layer) for layer in first)
        with pytest.raises(ValueError, match=r"the state of layer 0 is h float64"):
            light.read(np.array([1]), double)
        light.read(np.array([1]), first)


@pytest.mark.parametrize("backend", ["fused", "reference"])
@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
def test_several_symbols_are_read_by_the_rules_of_one(pair, weights, backend, monkeypatch):
    """The first layers of a state of more were taken, lengths beyond the ids were cut, doubles were rounded."""
    monkeypatch.setenv("UNROLLED_BACKEND", backend)
    light = runtime.load(pair[1].network, weights=weights)
    ids, lengths, first = np.array([[0, 1], [2, 1], [1, 0]]), np.array([3, 1]), light.initial(2)
    light.read_on(ids, first, lengths)
    deeper, double = runtime.State((*first, first[-1])), runtime.State([[s.astype(float) for s in l] for l in first])
    for state, said in (
        (deeper, f"the state is of {len(first) + 1} layers, expected {len(first)}"),
        (double, "the state of layer 0 is h float64"),
        (light.initial(3), "x holds 2 streams, expected 3"),
    ):
        with pytest.raises(ValueError, match=said):
            light.read_on(ids, state, lengths)
    with pytest.raises(TypeError, match="the state is a tuple, expected a State"):
        light.read_on(ids, tuple(first), lengths)
    for wrong in ([4, 1], [-1, 1], [3], [3.0, 1.0]):
        with pytest.raises(ValueError, match=r"lengths is .*, each from 0 to T = 3"):
            light.read_on(ids, first, np.array(wrong))
    for wrong in (-1, len(light.vocabulary)):
        with pytest.raises(IndexError, match=rf"symbol {wrong} .*expected 0 to V - 1"):
            light.read_on(np.full((3, 2), wrong), first, lengths)


def test_runtime_text_matches_torch(pair):
    model, light = pair
    for options in ({"strategy": "greedy"}, {"seed": 4, "temperature": 0.7, "top_k": 9}, {"strategy": "beam"}):
        options |= {"max_length": 40}
        assert light.generate("shall", **options) == model.generate("shall", **options)
    assert "".join(light.stream("shall", max_length=40)) == light.generate("shall", max_length=40)[0]
    assert "".join(model.stream("shall", max_length=40)) == light.generate("shall", max_length=40)[0]


def test_runtime_score_matches_torch(pair):
    model, light = pair
    got, want = light.score(TEXT + "#"), model.score(TEXT + "#")
    np.testing.assert_allclose(got.bits, want.bits, atol=1e-4)
    assert (got.pieces, got.unknown) == (want.pieces, 1)


def test_runtime_scores_each_byte_as_one_piece(tmp_path):
    vocabulary = Vocabulary.build("a\u00e9", "bytes")
    SequenceModel(MODELS["rnn"], vocabulary, framed=False).save_pretrained(tmp_path)
    light = runtime.load(tmp_path)
    for text, pieces in (("a\u00e9", ("a", "", "\u00e9")), (b"\xc3a", ("", "\ufffda")), (b"a\xc3", ("a", "\ufffd"))):
        score = light.score(text)
        assert score.pieces == pieces
        assert len(score.bits) == len(pieces)


def test_runtime_batch_of_prompts_matches_each_alone(light):
    prompts = ["s", "shall I", ""]
    together = light.generate_each(prompts, strategy="greedy", max_length=9)
    assert together[1] == light.generate("shall I", strategy="greedy", max_length=9)[0]


def test_runtime_imports_no_torch(tmp_path):
    SequenceModel(MODELS["gru-tied"], Vocabulary("ab", "characters")).save_pretrained(tmp_path / "model")
    code = f"""
import sys
sys.modules["torch"] = None  # an import of torch would raise
from unrolled import runtime
model = runtime.load({str(tmp_path / "model")!r})
model.generate("a", max_length=5)
model.score("ab")
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_runtime_refuses_a_folder_without_a_model(tmp_path):
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        runtime.load(tmp_path)


class Stepwise:
    """A model without its `write`: each symbol takes a call."""

    def __init__(self, model):
        self.eos_id, self.unk_id, self.start = model.eos_id, model.unk_id, model.start
        self.initial, self.read, self.select = model.initial, model.read, model.select


@pytest.mark.parametrize("prompts", [["s"], ["", ""], ["a", "b", "c"]])
@pytest.mark.parametrize("strategy", ["sample", "greedy"])
def test_generation_in_blocks_equals_generation_step_by_step(light, prompts, strategy):
    light.start = light.start + np.where(np.arange(len(light.start)) == light.eos_id, 0, 1).astype(np.float32)
    ids = [light.vocabulary.encode(prompt) for prompt in prompts]
    config = GenerationConfig(max_length=37, seed=2, strategy=strategy, top_p=0.9)
    want = generate(Stepwise(light), ids, config)
    for got, row in zip(generate(light, ids, config), want, strict=True):
        assert got.tolist() == row.tolist()


def test_logits_of_a_row_have_the_same_bits_in_any_batch(light):
    ids = np.arange(5)
    together, _ = light.read(ids, light.initial(5))
    for b in ids:
        np.testing.assert_array_equal(light.read(ids[b : b + 1], light.initial(1))[0][0], together[b])


def in_bfloat16(model):
    """The recurrent layers of a model in bfloat16, which read symbols, and its state before the first."""
    W_ih, E = model.rnn.weight_ih_l0, None if model.embedding is None else model.E
    symbols = recurrent_layers(model.config, len(model.vocabulary))
    symbols.load_state_dict(model.rnn.state_dict() | {"weight_ih_l0": W_ih if E is None else W_ih @ E.T})
    return symbols.bfloat16(), [s.bfloat16() for s in model.initial_state(1)]


def test_bfloat16_runtime_has_the_bits_of_a_stepper_of_the_layers(pair, tmp_path):
    model, _ = pair
    light = runtime.load(tmp_path / "model", weights="bfloat16")
    with torch.no_grad():
        layers, before = in_bfloat16(model)
    stepper, state = Stepper(layers, one_hot=True), light.initial(1)
    if before:
        stepper.state = (*before,) if len(before) == 2 else before[0]
    W_hy, b_y = (w.detach().bfloat16().double().numpy() for w in (model.W_hy, model.b_y))
    for symbol in model.vocabulary.encode(TEXT):
        logits, state = light.read(np.array([symbol]), state)
        y = stepper(torch.tensor([symbol]))
        np.testing.assert_array_equal(state[-1][0], y.float().numpy())
        np.testing.assert_allclose(logits, y.double().numpy() @ W_hy.T + b_y, atol=1e-5, rtol=1e-5)


def test_bfloat16_runtime_costs_and_writes_nearly_what_float32_does(pair, tmp_path):
    _, wide = pair
    narrow = runtime.load(tmp_path / "model", weights="bfloat16")
    bits = wide.score(TEXT).bits
    np.testing.assert_allclose(narrow.score(TEXT).bits, bits, atol=0.02 * bits.max())
    assert (narrow.score(TEXT).bits != bits).any()
    assert "".join(narrow.stream("shall", max_length=20)) == narrow.generate("shall", max_length=20)[0]
    assert len(narrow.generate("shall", strategy="beam", max_length=9)) == 1


def test_bfloat16_runtime_matches_its_equations(pair, tmp_path, monkeypatch):
    light, rng = runtime.load(tmp_path / "model", weights="bfloat16"), np.random.default_rng(0)
    ids = rng.integers(0, len(light.vocabulary), 20)
    state = runtime.State(tuple(rounded(rng.uniform(-1, 1, s.shape)) for s in layer) for layer in light.initial(20))
    logits, after = light.read(ids, state)
    monkeypatch.setenv("UNROLLED_BACKEND", "reference")
    of_equations, found = light.read(ids, state)
    for (h, *_), (want, *_) in zip(found, after, strict=True):
        np.testing.assert_array_equal(h, rounded(h))
        assert (h != want).mean() < 0.02  # a sum beside a tie may fall to either side of it
        np.testing.assert_allclose(h, want, rtol=2**-7)
    same = (found[-1][0] == after[-1][0]).all(1)
    assert same.any()
    np.testing.assert_allclose(of_equations[same], logits[same], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("weights", ["int4", "bf16", None, ["bfloat16"]])
def test_runtime_refuses_other_types_of_weights(weights, tmp_path):
    with pytest.raises(ValueError, match=r"^weights is .*; it must be one of stored, float32, bfloat16, int8$"):
        runtime.load(tmp_path, weights=weights)


def test_runtime_keeps_few_steppers_however_many_batch_sizes_it_meets(tmp_path):
    SequenceModel(MODELS["rnn"], Vocabulary("ab"), framed=False).save_pretrained(tmp_path)
    light = runtime.load(tmp_path)
    texts = [light.generate("a", count=B, max_length=2) for B in range(1, 30)]
    assert len(light._engine._idle) == KEPT
    assert light.generate("a", count=1, max_length=2) == texts[0]


def trained_on(folder, texts):
    """Return a model that has learned these texts, files of one stream, for two steps."""
    (folder / "data").mkdir()
    for k, text in enumerate(texts):
        (folder / "data" / f"{k}.txt").write_text(text)
    corpus = Corpus.read(folder / "data", validation=0, test=0)
    model = SequenceModel(ModelConfig(hidden_size=5), corpus.vocabulary)
    train(model, corpus, TrainingConfig(max_steps=2))
    model.save_pretrained(folder / "model")
    return model


@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_runtime_never_writes_the_end_that_a_single_stream_never_had(tmp_path, monkeypatch, backend):
    monkeypatch.setenv("UNROLLED_BACKEND", backend)
    trained = trained_on(tmp_path, ["abcab" * 40])
    loaded = [runtime.load(tmp_path / "model", weights=weights) for weights in ("float32", "bfloat16")]
    for model in (trained, *loaded):
        assert {len(text) for text in model.generate("", count=30, max_length=30, temperature=9)} == {30}
        assert len("".join(model.stream("a", max_length=200))) == 200
        for width in (1, 18):
            assert len(model.generate("a", strategy="beam", beam_width=width, max_length=9)[0]) == 9
        assert len(model.generate("a", max_length=50, allow_unk=True, temperature=9)[0]) == 50
        assert np.isfinite(model.score("ab").bits).all()


def test_runtime_writes_the_end_that_parts_the_documents_of_a_stream(tmp_path):
    trained = trained_on(tmp_path, ["abcab" * 9, "cba" * 9])
    for model in (trained, runtime.load(tmp_path / "model")):
        lengths = {len(text) for text in model.generate("", count=30, max_length=30, temperature=9)}
        assert min(lengths) < 30


@pytest.mark.parametrize("strategy", ["sample", "beam"])
def test_text_that_stops_is_the_text_up_to_there(light, strategy):
    options = {"max_length": 200, "seed": 5, "strategy": strategy}
    whole = light.generate_each(["shall", "I ", "day"], **options)
    for stop in ("a", "sh", "no such text", whole[0][1:3] or "l", whole[2][:1] or "m"):
        cut = [text.partition(stop)[0] for text in whole]
        assert light.generate_each(["shall", "I ", "day"], **options, stop=stop) == cut
        if strategy == "sample":
            assert "".join(light.stream("shall", **options, stop=stop)) == cut[0]


def test_text_stops_at_what_is_the_same_in_normal_form():
    vocabulary = Vocabulary("aé", "characters", nfc=True)
    model = runtime.load(SequenceModel(ModelConfig(hidden_size=3), vocabulary).network())
    composed, apart = "\u00e9", "e\u0301"
    of_composed = model.generate("a", count=5, max_length=30, stop=composed)
    assert model.generate("a", count=5, max_length=30, stop=apart) == of_composed
    assert any(len(text) < 30 for text in of_composed)
    assert "".join(model.stream("a", max_length=30, stop=apart)) == of_composed[0]


def test_batch_is_written_no_longer_than_until_every_text_has_stopped():
    corpus = Corpus.from_text("abba" * 50)
    model = SequenceModel(ModelConfig(hidden_size=3), corpus.vocabulary)
    train(model, corpus, TrainingConfig(max_steps=1))  # of a stream: it writes no EOS
    config = GenerationConfig(max_length=1000)
    rows = generate(model.runtime().writer, [np.array([0])] * 3, config, lambda rows: len(rows[0]) > LOOKED)
    assert [len(row) for row in rows] == [2 * LOOKED] * 3


def test_model_can_be_pickled_and_copied(pair):
    _, light = pair
    want = light.generate("I", max_length=20, seed=1)
    for again in (pickle.loads(pickle.dumps(light)), copy.deepcopy(light), copy.copy(light)):
        assert again.generate("I", max_length=20, seed=1) == want


@pytest.mark.parametrize("count", [0, -1, 2.0, True])
def test_number_of_texts_is_a_whole_number_above_zero(light, count):
    with pytest.raises(ValueError, match=f"count is {count}; it must be a whole number from 1 to 2,147,483,647"):
        light.generate("I", count=count)
    assert light.generate_each([]) == []


@pytest.mark.parametrize("other", [{"cell": "lstm"}, {"hidden_size": 1}, {"num_layers": 2}], ids=str)
def test_state_of_a_network_of_another_kind_is_refused(other, tmp_path):
    """One unit could be spread over all."""
    models = []
    for name, options in {"own": {}, "other": other}.items():
        config = ModelConfig(**{"cell": "gru", "hidden_size": 5} | options)
        SequenceModel(config, Vocabulary("ab")).save_pretrained(tmp_path / name)
        models.append(runtime.load(tmp_path / name))
    own, foreign = models
    with pytest.raises(ValueError, match=r"it is of another network|the state is of 2 layers, expected 1"):
        own.read(np.array([0]), foreign.initial(1))
