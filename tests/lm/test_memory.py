"""Memory: counted without making a model, and what does not fit is refused before anything large is made."""

import itertools
import subprocess
import sys
from functools import partial

import pytest

from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.lm import Corpus, SequenceModel, Vocabulary, memory
from unrolled.lm.loader import one_epoch

SIZES = {
    "num_layers": (1, 2, 4),
    "embedding_size": (0, 7),
    "tied": (False, True),
    "learned_initial_state": (False, True),
}


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_parameters_are_those_of_the_model_itself(cell):
    for values in itertools.product(*SIZES.values()):
        sizes = dict(zip(SIZES, values, strict=True))
        if not sizes["tied"] or sizes["embedding_size"]:
            config = ModelConfig(cell=cell, hidden_size=7, **sizes)
            model = SequenceModel(config, Vocabulary("abc"))
            assert memory.parameters(config, 5) == sum(p.numel() for p in model.parameters()), config


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("batch_size", "bptt"), [(1, 1), (3, 5), (64, 64), (1000, 3)])
def test_largest_batch_is_that_of_the_loader(stream, batch_size, bptt):
    corpus = Corpus.from_text("abcab\n" * 40 + "a" * 50, lines=not stream, validation=0, test=0)
    config = TrainingConfig(batch_size=batch_size, bptt=bptt)
    symbols = steps = 0
    for batch in one_epoch(corpus.train, stream, batch_size, bptt):
        symbols = max(symbols, batch.ids.numel() if batch.lengths is None else int(batch.lengths.sum()))
        steps = max(steps, len(batch.ids))
    assert memory.Largest.of(corpus.train, stream, config) == (symbols, steps)


def test_batch_in_bfloat16_takes_half_but_for_the_cell_state(monkeypatch):
    largest = memory.Largest(64 * 2000, 2000)
    for cell, of_unit in {"gru": 2 * 7, "lstm": 2 * 7 + 4}.items():
        config, narrow = ModelConfig(cell, 64), TrainingConfig(precision="bfloat16")
        assert memory.Needs.of(config, 9, narrow, largest).batch == 64 * largest.symbols * of_unit
        monkeypatch.setattr(memory, "available", partial(int, 64 * largest.symbols * of_unit + 2 * 10**6))
        memory.check_memory(config, 9, narrow, largest)
        with pytest.raises(MemoryError, match="a batch of 128,000 symbols"):
            memory.check_memory(config, 9, TrainingConfig(), largest)


def test_batch_that_does_not_fit_is_refused_with_what_lowers_it(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10**8 + 10**7)
    config, largest = ModelConfig(hidden_size=64), memory.Largest(64 * 2000, 2000)
    memory.check_memory(config, 9, TrainingConfig(), memory.Largest(0, 0))
    with pytest.raises(MemoryError, match=r"a batch of 128,000 symbols takes 262.1 MB .*; lower bptt \(now 2,000\)$"):
        memory.check_memory(config, 9, TrainingConfig(bptt=2000), largest)
    memory.check_memory(ModelConfig(hidden_size=64, checkpoint_steps="auto"), 9, TrainingConfig(bptt=2000), largest)


def test_gates_are_recomputed_where_saved_ones_would_not_fit(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10**9)
    monkeypatch.setattr(memory, "resident", lambda: 3 * 10**8)
    config, training, largest = ModelConfig(hidden_size=64), TrainingConfig(bptt=2000), memory.Largest(64 * 2000, 2000)
    assert memory.fitted(config, 9, training, largest) == config
    assert memory.fitted(config, 9, training, largest, 6 * 10**8) == config
    assert memory.fitted(config, 9, training, largest, 4 * 10**8).checkpoint_steps == "auto"
    with pytest.raises(
        MemoryError, match=r"memory is 200.0 MB, and this process takes 300.0 MB before it trains; give"
    ):
        memory.check_memory(config, 9, training, largest, 2 * 10**8)
    rnn = ModelConfig("rnn", hidden_size=64)  # it saves no gates
    assert memory.fitted(rnn, 9, training, largest, 3 * 10**8) == rnn


PEAK = """
import re, sys, torch
from unrolled import lm
from unrolled.core.free_memory import resident
from unrolled.lm.memory import Largest, Needs
torch.set_num_threads(1)
cell, recomputed, dropout, steps = sys.argv[1], sys.argv[2] or None, float(sys.argv[3]), int(sys.argv[4])
corpus = lm.Corpus.from_text("to be, or not to be " * (steps // 5), validation=0, test=0)
training = lm.TrainingConfig(batch_size=4, bptt=steps, max_steps=2)
config = lm.ModelConfig(cell, 64, checkpoint_steps=recomputed, dropout=dropout, num_layers=2)
model, before = lm.SequenceModel(config, corpus.vocabulary), resident()
lm.train(model, corpus, training)
needs = Needs.of(config, len(corpus.vocabulary), training, Largest.of(corpus.train, True, training))
peak = 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
print(peak - before, needs.total)
"""


SAVED = """
import re, sys, torch
from unrolled import lm
from unrolled.core.free_memory import resident
from unrolled.lm.memory import Largest, Needs
torch.set_num_threads(1)
corpus = lm.Corpus.from_text("to be, or not to be " * 50)
training = lm.TrainingConfig(batch_size=2, bptt=4, max_steps=4, validate_every=2)
config, before = lm.ModelConfig("lstm", 1024, num_layers=2), resident()
model = lm.SequenceModel(config, corpus.vocabulary)
lm.train(model, corpus, training, sys.argv[1])
needs = Needs.of(config, len(corpus.vocabulary), training, Largest.of(corpus.train, True, training))
peak = 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
print(peak - before, needs.total)
"""


def test_estimate_is_what_a_run_takes_that_saves_a_large_model(tmp_path):
    done = subprocess.run([sys.executable, "-c", SAVED, str(tmp_path)], capture_output=True, text=True, check=True)
    taken, estimated = map(int, done.stdout.split())
    assert 0.75 * estimated < taken < 1.25 * estimated


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(("recomputed", "dropout"), [("", "0"), ("auto", "0"), ("", "0.3")])
def test_estimate_is_what_training_takes(cell, recomputed, dropout):
    done = subprocess.run(
        [sys.executable, "-c", PEAK, cell, recomputed, dropout, "25000"], capture_output=True, text=True, check=True
    )
    taken, estimated = map(int, done.stdout.split())
    assert 0.75 * estimated < taken < 1.25 * estimated
