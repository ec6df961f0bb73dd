"""Small runs, the ways in which they are cut, and what they leave."""

import json

import torch

from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.lm.callbacks import Callback
from unrolled.lm.model import SequenceModel
from unrolled.lm.training import train

TIMES = ("seconds", "symbols_per_second")


TEXT = "the quick brown fox jumps over the lazy dog and runs away from it\n" * 12


def stream_corpus():
    return Corpus.from_text(TEXT, validation=0.1, test=0.1)


def sequence_corpus():
    return Corpus.from_sequences([["a"] * n + ["b"] * n for n in range(1, 14)], validation=0.2, test=0)


def trained(corpus, model, training, out=None, **how):
    torch.manual_seed(training.seed)
    fresh = SequenceModel(model, corpus.vocabulary, framed=not corpus.stream)
    if how.get("resume"):  # what the caller's model holds then, and the state of its random numbers, must not matter
        for tensor in [*fresh.parameters(), *fresh.buffers()]:
            tensor.detach().fill_(0.7)
    return fresh, train(fresh, corpus, training, out, **how)


class Interrupt(Callback):
    """Acts at the first validation from a step on: sends a signal, or raises.

    In RUNS that step has neither a line of metrics nor a checkpoint.
    """

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_validation_end(self, run, line):
        if run.clock.step >= self.step:
            self.action()


class PowerCut(Exception):
    pass


def power_cut():
    raise PowerCut


def metrics(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


RUNS = {
    "stream-gru-adamw-cosine": (
        stream_corpus,
        ModelConfig(cell="gru", hidden_size=9, num_layers=2, embedding_size=5, dropout=0.3),
        TrainingConfig(
            schedule="cosine", warmup_steps=3, max_steps=31, batch_size=3, bptt=7, validate_every=5, log_every=3
        ),
    ),
    "sequences-lstm-sgd-plateau-accumulate": (
        sequence_corpus,
        ModelConfig(cell="lstm", hidden_size=7, learned_initial_state=True),
        TrainingConfig(
            optimiser="sgd", schedule="plateau", plateau_patience=1, learning_rate=2.0, weight_decay=0.01, accumulate=2,
            max_steps=31, batch_size=3, validate_every=4, log_every=3, max_epochs=0,
        ),
    ),
    "stream-rnn-rmsprop-tied": (
        stream_corpus,
        ModelConfig(cell="rnn", nonlinearity="relu", hidden_size=6, embedding_size=6, tied=True),
        TrainingConfig(optimiser="rmsprop", max_steps=31, batch_size=2, bptt=5, log_every=5, validate_every=6),
    ),
    "stream-gru-sampled": (
        stream_corpus,
        ModelConfig(cell="gru", hidden_size=9, embedding_size=5, dropout=0.3),
        TrainingConfig(
            softmax_samples=6, schedule="cosine", max_steps=31, batch_size=3, bptt=7, validate_every=5, log_every=3
        ),
    ),
    "stream-lstm-bfloat16": (
        stream_corpus,
        ModelConfig(cell="lstm", hidden_size=9, num_layers=2, embedding_size=5, dropout=0.3),
        TrainingConfig(precision="bfloat16", max_steps=31, batch_size=3, bptt=7, validate_every=5, log_every=3),
    ),
}  # fmt: skip
