"""Make the pictures of docs/views.md and docs/learn: `python docs/make_pictures.py`, minutes; `--diagrams`, seconds."""

import random
import sys
from pathlib import Path

import numpy as np
import torch

from unrolled.commands import lecture
from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.sonnets import sonnets
from unrolled.lm.model import SequenceModel
from unrolled.lm.training import train
from unrolled.views import plots, plots_diagrams, plots_gates, plots_gradients, plots_states, plots_units
from unrolled.views.gradients import connectivity
from unrolled.views.jacobians import jacobians
from unrolled.views.states import automaton, principal
from unrolled.views.traces import trace
from unrolled.views.training_gradients import LagGradients, explosion
from unrolled.views.units import count, ranked

OUT = Path(__file__).parent / "images"
#: A sonnet that no split of a corpus is needed to find.
POEM = sonnets()[40_006:40_640]


def draw(name, figure):
    path = OUT / f"{name}.png"
    plots.save(figure, path)
    print(f"made {path}")


def diagrams():
    for name in plots_diagrams.DIAGRAMS:
        plots.save(plots_diagrams.cell(name), OUT / f"{name.lower()}.svg")
    draw("chain", lecture.draw_chain())
    draw("vanishing", lecture.draw_vanishing())


def learned(cell):
    """A network that learned a^n b^n, n up to 20."""
    corpus = Corpus.from_sequences([["a"] * n + ["b"] * n for n in range(1, 21)], validation=0, test=0)
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig(cell=cell, hidden_size=10), corpus.vocabulary)
    train(model, corpus, TrainingConfig(learning_rate=0.02, batch_size=10, max_steps=1500, max_epochs=0))
    return model


def gates(name, title, model):
    read = trace(model, ["a"] * 4 + ["b"] * 4)
    draw(name, plots_gates.gates(read.layers[0].signals, read.symbols, title=f"{title} that knows aⁿbⁿ reads aaaabbbb"))


def counting():
    """All gates of each cell, and what three units of the LSTM count."""
    gates("rnn_state", "An RNN", learned("rnn"))
    gates("gru_gates", "A GRU", learned("gru"))
    model = learned("lstm")
    gates("gates", "An LSTM", model)
    read = trace(model, ["a"] * 15 + ["b"] * 15)
    best = ranked(read, "count:a-b", signals=("c",))[:3]
    lines = {f"{each.name}, correlation {each.correlation:+.2f}": read.values("c")[:, each.unit] for each in best}
    truth = {"a minus b": np.array(count("a", "b")(read.symbols))}
    title = "Three counters of an LSTM that knows aⁿbⁿ"
    draw("counter", plots_units.unit_lines(lines, read.symbols, title=title, unit="cell state c", background=truth))


def parity():
    """A GRU that says at the end whether it read an odd or an even number of a."""
    random.seed(0)
    rows = [random.choices("ab", k=random.randint(1, 9)) for _ in range(600)]
    rows = [[*row, "odd" if row.count("a") % 2 else "even"] for row in rows]
    corpus = Corpus.from_sequences(rows, validation=0, test=0)
    torch.manual_seed(1)
    model = SequenceModel(ModelConfig(cell="gru", hidden_size=8), corpus.vocabulary)
    training = TrainingConfig(learning_rate=0.02, batch_size=30, max_steps=1500, max_epochs=0, weight_decay=0.05)
    train(model, corpus, training)
    reads = [trace(model, row) for row in rows[:60]]
    found = automaton(reads, 3)
    states, symbols = np.concatenate([read.values("h") for read in reads]), [s for read in reads for s in read.symbols]
    title = "States of a GRU that tells odd from even"
    draw(
        "states",
        plots_states.state_space(states, np.concatenate(found.labels), symbols, principal(states), title=title),
    )
    draw("automaton", plots_states.automaton(found, title="A GRU that tells odd from even"))


def reading():
    """All three cells on the Sonnets, 1,500 steps each."""
    corpus = Corpus.from_text(sonnets())
    training = TrainingConfig(learning_rate=4e-3, batch_size=16, bptt=64, max_steps=1500, max_epochs=0, log_every=25)
    models, watch = {}, LagGradients(POEM[:80])
    for cell in ("rnn", "lstm", "gru"):
        torch.manual_seed(0)
        model = models[cell.upper()] = SequenceModel(
            ModelConfig(cell=cell, hidden_size=96), corpus.vocabulary, framed=False
        )
        train(model, corpus, training, callbacks=[watch] if cell == "lstm" else [])
    title = "How strongly a state depends on earlier ones, on the Sonnets"
    found = {name: jacobians(model, POEM) for name, model in models.items()}
    draw("gradient", plots_gradients.gradient_against_lag(found, title=title))
    draw(
        "lags",
        plots_gradients.lags_in_training(
            watch.norms, watch.steps, title="An LSTM learns to look back", singular=watch.singular
        ),
    )
    gru = models["GRU"]
    read = trace(gru, POEM)
    best = ranked(read, "line-length")[0]
    title = f"A GRU's unit {best.name}, correlation {best.correlation:+.2f} with the length of the line"
    draw("text", plots_units.coloured_text(read.symbols, read.values("h")[:, best.unit], title=title))
    draw(
        "connectivity",
        plots_gradients.connectivity(
            connectivity(gru, POEM[:44]), POEM[:44], title="What each prediction of a GRU looked at"
        ),
    )
    runs = explosion(corpus)
    norms, nats = {name: run.norms for name, run in runs.items()}, {name: run.nats for name, run in runs.items()}
    draw(
        "explosion",
        plots_gradients.explosion(norms, nats, title="A ReLU RNN whose W_hh starts with singular values 1.2"),
    )
    for name, run in runs.items():
        print(f"{name}: {run.ended}, largest gradient norm {run.norms.max():.3g}, last loss {run.nats[-1]:.3f} nats")


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    diagrams()
    if "--diagrams" not in sys.argv:
        counting()
        parity()
        reading()
