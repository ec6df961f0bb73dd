"""Memory: counted without making a model, and what does not fit is refused before anything large is made."""

import itertools
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
    read = 0
    for batch in one_epoch(corpus.train, stream, batch_size, bptt):
        read = max(read, batch.ids.numel() if batch.lengths is None else int(batch.lengths.sum()))
    assert memory.largest_batch(corpus.train, stream, config) == read


def test_batch_in_bfloat16_takes_half_but_for_the_cell_state(monkeypatch):
    rows = 64 * 2000
    for cell, of_unit in {"gru": 2 * 5, "lstm": 2 * 5 + 4}.items():
        monkeypatch.setattr(memory, "available", partial(int, 64 * rows * of_unit + 2 * 10**6))  # and the weights
        memory.check_memory(ModelConfig(cell, 64), 9, TrainingConfig(precision="bfloat16"), rows)
        with pytest.raises(MemoryError, match="a batch of 128,000 symbols"):
            memory.check_memory(ModelConfig(cell, 64), 9, TrainingConfig(), rows)


def test_batch_that_does_not_fit_is_refused_with_what_lowers_it(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10**8)
    config, rows = ModelConfig(hidden_size=64), 64 * 2000
    memory.check_memory(config, 9, TrainingConfig(), 0)
    with pytest.raises(MemoryError, match=r"a batch of 128,000 symbols takes 0.2 GB .*; lower bptt \(now 2,000\)$"):
        memory.check_memory(config, 9, TrainingConfig(bptt=2000), rows)
    memory.check_memory(ModelConfig(hidden_size=64, checkpoint_steps="auto"), 9, TrainingConfig(bptt=2000), rows)
