"""`unrolled demo`: the textbook example a^n b^n, then a book, then two pictures."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App
from rich.table import Table

from unrolled.commands import Flag, WrongUse, command, inputs
from unrolled.commands.console import PlainConsole
from unrolled.commands.evaluate import report
from unrolled.config.data import DataConfig
from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.words import rounded

if TYPE_CHECKING:
    from unrolled.commands.evaluate import Measured
    from unrolled.corpus.corpus import Corpus
    from unrolled.lm.model import SequenceModel

#: What the recipe for the Sonnets is given: a third of the passes that they can be read, and what takes a few seconds.
#: Neither looks at a clock, so that the steps are the same on every machine.
SHORT, QUICK = {"max_epochs": 15}, {"max_steps": 60, "hidden_size": 32}
#: What the demo makes in its folder, and the file that marks it as a demo's, so that a later one may replace them.
FOLDERS, PICTURES = ("sonnets", "anbn-rnn", "anbn-lstm", "anbn-gru"), ("learning_curve.png", "gates.png")
MARK = "made-by-unrolled-demo.txt"

app = App(name="demo", help_epilogue="")


@app.default
def demo(*, out: Path = Path("demo"), quick: Flag = False) -> None:
    """Learn a^n b^n with all three cells, then Shakespeare's Sonnets; write a sonnet and draw two pictures.

    Args:
        out: Folder for everything the demo makes; what an earlier demo made there is replaced, and nothing else.
        quick: Take a few seconds, instead of one to three minutes depending on the processor.
    """
    import torch

    torch.set_num_threads(1)  # a second thread gains these small models little, and waits where other programs run
    console = PlainConsole()
    begin(out)
    models = textbook_example(console, steps=60 if quick else 400)
    anbn = {cell: out / f"anbn-{cell}" for cell in models}
    for cell, model in models.items():
        model.save_pretrained(anbn[cell])
    sonnets_run = out / "sonnets"
    corpus = train_on_sonnets(console, sonnets_run, quick)
    console.rule("Pictures")
    pictures = [draw_learning_curve(sonnets_run, corpus, out), draw_gates(models["lstm"], out)]
    made = [*anbn.values(), sonnets_run, *pictures]
    for path in made:
        console.print(f"made {path}", soft_wrap=True)
    console.print("\nTry next:", style="bold")
    for line in (
        command("explain", anbn["rnn"], "a a b"),
        command("view", anbn["lstm"], "a a a b b b"),
        command("generate", sonnets_run, "Shall I compare", "--temperature", 0.7),
        command("score", sonnets_run, "Shall I compare thee to a summer"),
        command("train", "YOUR_TEXT.txt", "--minutes", 5),
    ):
        console.print(f"  {line}", soft_wrap=True)


def textbook_example(console: PlainConsole, steps: int) -> dict[str, SequenceModel]:
    """Learn a^n b^n EOS, n = 1 ... 5, with each cell; return the models by cell."""
    import torch

    from unrolled import lm
    from unrolled.corpus.anbn import anbn
    from unrolled.lm.training import train_within

    console.rule("The textbook example: a^n b^n EOS, n = 1 ... 5")
    corpus = lm.Corpus.from_sequences(anbn(), validation=0, test=0)
    vocabulary = corpus.vocabulary
    rows = Table("id", "symbol", "one-hot row", title="vocabulary", title_justify="left")
    for k, name in enumerate(vocabulary.names):
        rows.add_row(str(k), name, " ".join(f"{x:g}" for x in vocabulary.one_hot([k])[0]))
    console.print(rows)

    shapes = Table("weight", title="shapes, H = 10", title_justify="left")
    results = Table("cell", "loss before", "loss after", "exact n", "writes", title_justify="left")
    results.title = f"nats per symbol; a guess costs ln 4 = 1.3863, the best predictor {best_loss():.4f}"
    training = TrainingConfig(learning_rate=0.02, batch_size=5, max_steps=steps, max_epochs=0)
    models = {}
    for cell in ("rnn", "lstm", "gru"):
        torch.manual_seed(0)
        model = models[cell] = lm.SequenceModel(ModelConfig(cell=cell, hidden_size=10), vocabulary)
        shapes.add_column(cell)
        before = lm.evaluate(model, corpus, "train").nats
        train_within(model, corpus, training)
        after = lm.evaluate(model, corpus, "train").nats
        exact = " ".join(str(n) for n in range(1, 6) if completes(model, n)) or "none"
        written = ", ".join(text.replace(" ", "") for text in model.generate(count=4, max_length=12))
        results.add_row(cell, rounded(before, 4), rounded(after, 4), exact, written)
    parameters = [dict(model.named_parameters()) for model in models.values()]
    for name in parameters[0]:
        shapes.add_row(name, *("x".join(map(str, each[name].shape)) for each in parameters))
    console.print(shapes)
    console.print(results)
    console.print("exact: given a^n b, the likeliest symbols that follow are the missing b and EOS, and nothing else\n")
    return models


def completes(model: SequenceModel, n: int) -> bool:
    """Return whether the model continues a^n b with exactly b^(n-1) EOS."""
    (written,) = model.generate(["a"] * n + ["b"], strategy="greedy", max_length=2 * n + 2)
    return written.split() == ["b"] * (n - 1)


def best_loss() -> float:
    """Return the least possible loss in nats per symbol on the five strings: only the end of the run of a is uncertain.

    >>> round(best_loss(), 4)
    0.2682
    """
    symbols = sum(2 * n for n in range(1, 6))  # predicted in all: all but the first, EOS included
    return 5 * math.log(5) / symbols


def train_on_sonnets(console: PlainConsole, folder: Path, quick: bool) -> Corpus:
    """Train on the Sonnets, print the evaluation and a sonnet; return the corpus."""
    import torch

    from unrolled import lm
    from unrolled.corpus.sonnets import sonnets
    from unrolled.lm.display import Display
    from unrolled.lm.training import train_within

    console.rule("Shakespeare's Sonnets")
    corpus = lm.Corpus.from_text(sonnets())
    given: dict[str, Any] = QUICK if quick else SHORT
    recipe = lm.recipe_for(corpus, precision="float32", **given)
    torch.manual_seed(recipe.training.seed)
    model = lm.SequenceModel(recipe.model, corpus.vocabulary, framed=False)
    origin = inputs.origin(["sonnets"], DataConfig(), corpus)
    train_within(model, corpus, recipe.training, folder, callbacks=[Display(console)], origin=origin)
    measured = report(console, model, corpus, "test")
    console.print(verdict(measured), soft_wrap=True)
    console.print("\nA sonnet by the model:\n", style="bold")
    for piece in model.stream("\n\nShall I ", max_length=100 if quick else 600, temperature=0.7, seed=3):
        console.print(piece, end="")
    console.print("\n")
    return corpus


def verdict(measured: Measured) -> str:
    """Say whether a model predicts better than the best of the simple predictors beside it.

    >>> from types import SimpleNamespace as Some
    >>> beside = [Some(name="5-gram", bits_per_symbol=2.4), Some(name="unigram", bits_per_symbol=4.2)]
    >>> verdict(Some(model=Some(bits=2.3), baselines=beside))
    'The model predicts better than the best of them, the 5-gram: 2.300 bits beside 2.400.'
    """
    best, own = min(measured.baselines, key=lambda each: each.bits_per_symbol), measured.model.bits
    beside = f"the best of them, the {best.name}: {rounded(own, 3)} bits beside {rounded(best.bits_per_symbol, 3)}"
    if own < best.bits_per_symbol:
        return f"The model predicts better than {beside}."
    return f"The model predicts worse than {beside}; it has read too little."


def draw_learning_curve(run: Path, corpus: Corpus, out: Path) -> Path:
    """Draw the learning curve of a run with the baselines of its validation data; return the picture's path."""
    from unrolled.corpus import baselines
    from unrolled.lm.metrics_log import read_metrics
    from unrolled.views import plots

    beside = {each.name: each.bits_per_symbol for each in baselines.table(corpus, "validation")}
    path = out / "learning_curve.png"
    curve = plots.learning_curve(read_metrics(run), title="An LSTM learns Shakespeare's Sonnets", baselines=beside)
    plots.save(curve, path)
    return path


def draw_gates(model: SequenceModel, out: Path) -> Path:
    """Draw the gates of the textbook example's LSTM while it reads aaabbb; return the picture's path."""
    from unrolled.views import plots, plots_gates
    from unrolled.views.traces import trace

    symbols = list("aaabbb")
    path = out / "gates.png"
    figure = plots_gates.gates(
        trace(model, symbols).layers[-1].signals, symbols, title="An LSTM that knows aⁿbⁿ reads aaabbb"
    )
    plots.save(figure, path)
    return path


def begin(out: Path) -> None:
    """Make the folder of a demo; remove what an earlier one wrote there, and nothing else.

    Raises: WrongUse naming what is there under a name that the demo uses, unless an earlier demo made it.
    """
    from unrolled.saved.atomic_files import write_file
    from unrolled.saved.lock import only_writer

    there = [name for name in (*FOLDERS, *PICTURES) if (out / name).exists()]
    if there and not (out / MARK).is_file():
        raise WrongUse(f"{out} holds {', '.join(there)}, not made by an earlier demo; name another folder with --out")
    write_file(out / MARK, f"The next demo in this folder replaces {', '.join((*FOLDERS, *PICTURES))}.\n".encode())
    for name in there:
        if name in FOLDERS:
            with only_writer(out / name):
                shutil.rmtree(out / name, ignore_errors=True)
        else:
            (out / name).unlink()
