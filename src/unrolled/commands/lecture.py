"""The makers of the drawings of `unrolled picture`, one function for each: draw_cell makes "cell"."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from unrolled.config.model import CellName, ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.sonnets import sonnets
from unrolled.lm.memory import check_memory
from unrolled.lm.model import SequenceModel
from unrolled.lm.training import train_within
from unrolled.saved.vocabulary import Vocabulary
from unrolled.views import plots_diagrams, plots_gradients
from unrolled.views.jacobians import jacobians
from unrolled.views.training_gradients import STEADY, LagGradients, explosion, with_gain

if TYPE_CHECKING:
    from unrolled.views.plots import Figure

#: Symbols of the text that new networks read.
LETTERS = "abcdefgh"
#: The string that an RNN learns to look back in: each second half repeats the first.
ECHO = 6


def draw_cell(cell: CellName = "rnn") -> Figure:
    """Draw one step of a cell."""
    return plots_diagrams.cell(cell.upper())


def draw_chain(cell: CellName = "rnn", steps: int = 4) -> Figure:
    """Draw a network unrolled through time."""
    return plots_diagrams.chain(cell.upper(), steps)


def draw_vanishing(gain: float = 0.9, hidden_size: int = 32, steps: int = 60, seed: int = 0) -> Figure:
    """Draw the gradients of new networks of each cell against the lag."""
    found = {}
    with torch.random.fork_rng(devices=[]):
        for cell in ("rnn", "lstm", "gru"):
            torch.manual_seed(seed)
            config, vocabulary = ModelConfig(cell=cell, hidden_size=hidden_size), Vocabulary(LETTERS, "characters")
            check_memory(config, len(vocabulary))
            model = SequenceModel(config, vocabulary)
            with_gain(model, gain)
            text = "".join(LETTERS[k] for k in torch.randint(len(LETTERS), (steps + 1,), device="cpu").tolist())
            found[cell.upper()] = jacobians(model, text, lags=steps)
    title = f"Gradients of new networks, H {hidden_size}; every gate's block of W_hh has singular values {gain:g}"
    return plots_gradients.gradient_against_lag(found, title=title)


def draw_exploding(gain: float = 1.2, hidden_size: int = 32, steps: int = 150, seed: int = 0) -> Figure:
    """Draw gradient norm and loss of a ReLU RNN that learns the Sonnets, with clipping and without."""
    config = ModelConfig(cell="rnn", nonlinearity="relu", hidden_size=hidden_size)
    training = replace(STEADY, max_steps=steps, seed=seed)
    corpus = Corpus.from_text(sonnets())
    check_memory(config, len(corpus.vocabulary), training)
    runs = explosion(corpus, config, training, gain=gain)
    norms, nats = ({name: getattr(run, what) for name, run in runs.items()} for what in ("norms", "nats"))
    title = f"A ReLU RNN whose W_hh starts with singular values {gain:g}, on the Sonnets"
    return plots_gradients.explosion(norms, nats, title=title)


def draw_lags(cell: CellName = "rnn", hidden_size: int = 32, steps: int = 400, seed: int = 0) -> Figure:
    """Draw how far the gradient of the last symbol reaches back while a network learns to repeat six letters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        halves = torch.randint(4, (200, ECHO), device="cpu").tolist()
        corpus = Corpus.from_sequences([[LETTERS[k] for k in half] * 2 for half in halves], validation=0, test=0)
        config = ModelConfig(cell=cell, hidden_size=hidden_size)
        log = max(1, steps // 40)
        training = TrainingConfig(
            learning_rate=0.01, batch_size=20, max_steps=steps, max_epochs=0, log_every=log, seed=seed
        )
        check_memory(config, len(corpus.vocabulary), training)
        model = SequenceModel(config, corpus.vocabulary)
        watch = LagGradients([LETTERS[k] for k in halves[0]] * 2)
        train_within(model, corpus, training, callbacks=[watch])
    title = f"{cell.upper()}: learning to repeat {ECHO} letters, and how far the last loss reaches back"
    return plots_gradients.lags_in_training(watch.norms, watch.steps, title=title, singular=watch.singular)
