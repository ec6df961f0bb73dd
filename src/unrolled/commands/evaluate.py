"""`unrolled evaluate`."""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from cyclopts import App, Parameter
from rich.table import Table

from unrolled.commands import Flag, Model, WrongUse, command, examples, inputs
from unrolled.commands.console import PlainConsole, as_json, printable
from unrolled.config.data import ReadingConfig
from unrolled.words import MOST_BITS, counted, perplexity, rounded

if TYPE_CHECKING:
    from unrolled.corpus.baselines import Baseline
    from unrolled.corpus.corpus import Corpus
    from unrolled.lm.evaluation import Evaluation
    from unrolled.lm.model import SequenceModel

#: Symbols that a model and the baselines are measured on, at most: n-grams hold a probability of each order for each.
COMPARED = 1 << 21
#: From this share on that training data holds too, other data is none.
MOST = 0.5

app = App(
    name="evaluate",
    usage="Usage: unrolled evaluate MODEL [DATA...] [OPTIONS]",
    help_epilogue=examples(
        "unrolled evaluate runs/sonnets",
        "unrolled evaluate runs/sonnets other.txt",
    ),
)


@app.default
def evaluate(
    model: Model,
    data: list[str] | None = None,
    /,
    *,
    split: Literal["train", "validation", "test"] | None = None,
    baselines: Annotated[bool, Parameter(negative="--no-baselines")] = True,
    dynamic: Flag = False,
    json: Flag = False,
    reading: inputs.Reading = ReadingConfig(),
) -> None:
    """Measure a model against simple baselines, on the data it was trained on or on other data.

    Args:
        data: Other files or folders to measure on, whole; by default a split of the data the model was trained on.
        split: The split; by default test if there is one, else validation, else train.
        baselines: Also measure simple predictors and compressors, given the same training data; everything is then
            measured on at most two million symbols, fewer if H times V is large.
        dynamic: Also measure a copy of the model that keeps learning from the text as it reads it; for streams.
        json: Print one line of JSON.
    """
    if data and split:
        raise WrongUse("--split chooses a part of the data a model was trained on; other data is measured whole")
    if not data and reading != ReadingConfig():
        raise WrongUse("--lines, --format and their like say how to read other data; name it after the model")
    from unrolled.corpus.reading import CorpusError
    from unrolled.corpus.seen import share_seen
    from unrolled.saved.model import SavedModel

    loaded = SavedModel.load(model)
    saved, vocabulary = loaded.origin, loaded.vocabulary
    if data:
        corpus = inputs.read_other(data, reading, saved, vocabulary)
        corpus, chosen, what = replace(corpus, test=corpus.train), "test", ", ".join(data)
        known = inputs.is_recorded(data, saved)
        try:
            own = inputs.read_again(model, saved, vocabulary) if baselines else corpus
            known = known or (baselines and share_seen(corpus.train, own.train) > MOST)
            corpus = replace(corpus, train=own.train, validation=own.validation)
        except CorpusError as error:
            baselines = False
            warnings.warn(f"{error}; measured without baselines, which are fitted to it", stacklevel=1)
        if known:
            warnings.warn(
                f"{what}: the model was trained on this, or on most of it, so it says little about new text; what was "
                f"held out of its data is measured by {command('evaluate', model)}",
                stacklevel=1,
            )
    else:
        try:
            corpus = inputs.read_again(model, saved, vocabulary)
        except CorpusError as error:
            raise CorpusError(f"{error}; name other data to measure on") from None
        chosen, what = split or held_out(corpus), ""

    from unrolled import lm  # here, so that a mistake in the files is reported before torch is loaded

    console, network = PlainConsole(), lm.SequenceModel.from_pretrained(model)
    if json:
        print(printable(as_json(measure(network, corpus, chosen, baselines, what, dynamic).values())))
        return
    if not data:
        console.print(f"{corpus!r}", soft_wrap=True)
    report(console, network, corpus, chosen, baselines, what, dynamic)


def held_out(corpus: Corpus) -> str:
    """Return the best split to evaluate on: test if there is one, else validation, else train."""
    return next(name for name in ("test", "validation", "train") if len(corpus.splits[name]))


class Measured(NamedTuple):
    """What a report says."""

    of: str  #: the data that was measured
    model: Evaluation
    rates: dict[str, float]  #: characters and bytes that a symbol stands for, where that is not one
    with_first: dict[str, float]  #: the same, of first symbols too
    baselines: list[Baseline]
    dynamic: Evaluation | None  #: of a copy that learned as it read

    def values(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        beside = {
            each.name: self._rates(each.bits_per_symbol, each.of_first) | {"note": each.note} for each in self.baselines
        }
        learning = {"dynamic": self._of(self.dynamic)} if self.dynamic else {}
        return {"of": self.of} | self._of(self.model) | learning | {"baselines": beside}

    def _of(self, evaluation: Evaluation) -> dict[str, Any]:
        return self._rates(evaluation.bits) | asdict(evaluation)

    def _rates(self, bits: float, of_first: bool = False) -> dict[str, float]:
        """Return the numbers that a row of the table has for bits per symbol, of first symbols too or not."""
        rates = self.with_first if of_first else self.rates
        each = {f"bits_per_{unit}": bits / rate for unit, rate in rates.items()}
        uncertain = 2.0**bits if bits < MOST_BITS else math.inf
        return {"bits": bits} | each | {"nats": bits * math.log(2), "perplexity": uncertain}


def measure(
    model: SequenceModel, corpus: Corpus, split: str, baselines: bool = True, what: str = "", dynamic: bool = False
) -> Measured:
    """Measure a model, and simple predictors on the same symbols; arguments as of :func:`report`."""
    from unrolled import lm
    from unrolled.core.free_memory import give_back
    from unrolled.corpus.baselines import table
    from unrolled.corpus.splitting import beginning
    from unrolled.corpus.units import per_symbol
    from unrolled.lm.evaluation import affordable

    what = what or f"the {split} split"
    if baselines and len(corpus.splits[split].ids) > (most := affordable(model, COMPARED)):
        what = f"the first {most:,} of {what}"
        cut: dict[str, Any] = {split: beginning(corpus.splits[split], most)}
        corpus = replace(corpus, **cut)
    measured = lm.evaluate(model, corpus, split)
    rates = per_symbol(model.vocabulary, corpus.splits[split])
    whole = per_symbol(model.vocabulary, corpus.splits[split], first=True) if baselines else rates
    with_first = {unit: whole.get(unit, whole.get("char", 1.0)) for unit in rates}
    learned = lm.evaluate(model, corpus, split, dynamic=True) if dynamic else None
    if baselines:
        give_back()  # of what trained and measured the model, for the n-grams need the room
    return Measured(what, measured, rates, with_first, table(corpus, split) if baselines else [], learned)


def report(
    console: PlainConsole,
    model: SequenceModel,
    corpus: Corpus,
    split: str,
    baselines: bool = True,
    what: str = "",
    dynamic: bool = False,
) -> Measured:
    """Print how well a model predicts one split, and how well simple predictors do on the same symbols; return both.

    Args:
        console: where to print.
        model: the model to measure.
        corpus: holds the split, and the training data that n-grams count and compressors read first.
        split: name of the split.
        baselines: whether to measure those too.
        what: what the symbols are, for the title; default is the name of the split.
        dynamic: whether to measure a copy that learns as it reads, too.
    """
    found = measure(model, corpus, split, baselines, what, dynamic)
    what, measured, rates, with_first, beside, learned = found
    console.print(f"{counted(measured.symbols, 'symbol')} of {what}", style="italic", soft_wrap=True)
    grid = Table()
    for name in ("predictor", "bits/symbol", *(f"bits/{unit}" for unit in rates), "nats", "perplexity", "accuracy"):
        head = name.replace("/", "/\n") if len(rates) > 1 else name  # three of them would leave no room for the others
        grid.add_column(head, justify="left" if name == "predictor" else "right")
    name = repr(model).removeprefix("SequenceModel").strip("()")
    grid.add_row(name, *_numbers(measured.bits, rates), f"{100 * measured.accuracy:.1f} %", style="bold")
    if learned:
        accuracy = f"{100 * learned.accuracy:.1f} %"
        grid.add_row("a copy that learns as it reads", *_numbers(learned.bits, rates), accuracy)
    for baseline in beside:
        grid.add_row(baseline.name, *_numbers(baseline.bits_per_symbol, with_first if baseline.of_first else rates))
    console.print(grid)
    for note in dict.fromkeys(baseline.note for baseline in beside[1:]):
        names = ", ".join(baseline.name for baseline in beside if baseline.note == note)
        console.print(f"{names}: {note}", soft_wrap=True)
    if measured.exact_strings is not None and measured.exact_bound is not None:
        share, most = (f"{100 * each:.1f} %" for each in (measured.exact_strings, measured.exact_bound))
        bound = "" if measured.exact_bound == 1 else f", of {most} at most: strings that begin alike go on differently"
        console.print(f"exact strings (every symbol the likeliest): {share}{bound}", soft_wrap=True)
    if measured.unk_rate:
        flattered = "; their spelling is not predicted, which flatters bits/char" if "char" in rates else ""
        console.print(f"symbols read as UNK: {100 * measured.unk_rate:.2f} %{flattered}", soft_wrap=True)
    if split == "train":
        kept = " and ".join(name for name in ("validation", "test") if len(corpus.splits[name]))
        other = f"--split chooses what was held out: {kept}" if kept else "nothing was held out"
        console.print(f"the model was trained on these symbols; {other}", soft_wrap=True)
    elif split == "validation":
        said = "the saved weights are those that were best on these symbols, so new text costs somewhat more"
        console.print(said, soft_wrap=True)
    return found


def _numbers(bits: float, rates: dict[str, float]) -> list[str]:
    """Return bits per symbol and per other unit, nats and perplexity."""
    each = [bits, *(bits / rate for rate in rates.values())]
    return [*(rounded(b, 3) for b in each), rounded(bits * math.log(2), 4), perplexity(bits)]
