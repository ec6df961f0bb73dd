"""Published experiments, run again with the published results next to ours.

A protocol uses the settings of its source where the source gives them.  The quick setting takes fewer steps than the
full one, and the table says so.  Rows called "ours" use the defaults of the laboratory instead of the source's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from unrolled.config.lab import LabConfig
from unrolled.config.model import CellName
from unrolled.lab.results import Range
from unrolled.languages.registry import unknown

#: Best scores by cell, the same on all four regular tasks.
DELETANG: dict[CellName, str] = {"rnn": "100 (ReLU, not tanh)", "lstm": "100", "gru": "not measured"}

#: Plain training, as in most sources.
PLAIN = LabConfig(gain=1.0, schedule="constant", clip_norm=0.0, forget_bias=0.0)


@dataclass(frozen=True)
class Experiment:
    """One row of a protocol.

    Attributes:
        name: of the row and its file.
        language: to learn.
        config: of the training.
        limit: the largest size tried.
        published: the published result, or why there is none; "" without a source.
        criterion: what right means; "" for the one that goes with the loss.
        ranges: of sizes, for the shares; empty for the default.
        task: whether `language` is the name of a task, not of a language.
    """

    name: str
    language: str
    config: LabConfig
    limit: int
    published: str
    criterion: str = ""
    ranges: tuple[Range, ...] = ()
    task: bool = False

    def settings(self) -> dict[str, Any]:
        """Return everything the result depends on."""
        own = {name: getattr(self, name) for name in ("language", "limit", "criterion", "ranges", "task")}
        return own | asdict(self.config)


@dataclass(frozen=True)
class Protocol:
    """A published experiment.

    Attributes:
        name: on the command line.
        source: where it was published.
        summary: what is measured, in one sentence.
        full: returns the rows in the published setting.
        quick: factor on the steps in the quick setting.
        quick_limit: the largest size tried in the quick setting.
        quick_changes: other changes to the configuration in the quick setting.
        notes: differences from the source, and what the published results are.
    """

    name: str
    source: str
    summary: str
    full: Callable[[], list[Experiment]]
    quick: float = 1.0
    quick_limit: int = 1000
    quick_changes: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def experiments(self, *, quick: bool, seeds: int = 0) -> list[Experiment]:
        """Return the rows.

        Args:
            quick: with fewer steps, to finish in a few minutes.
            seeds: models of each row; 0 for the protocol's own number.
        """
        rows = []
        for row in self.full():
            config, limit = row.config, row.limit
            if quick:
                limit = min(limit, self.quick_limit)
                if not row.name.startswith("ours"):
                    config = replace(config, steps=max(1, round(self.quick * config.steps)), **self.quick_changes)
            config = replace(config, seeds=seeds) if seeds else config
            rows.append(replace(row, config=config, limit=limit))
        return rows


def _suzgun() -> list[Experiment]:
    # 1000 strings, 150 epochs, one string a step: 150,000 steps.
    theirs = replace(PLAIN, loss="squared", optimiser="rmsprop", learning_rate=0.01, steps=150_000)
    marks = {
        "uniform": "83 to 244, median 139.5 (10 seeds)",
        "u": "12 to 170, median 122.5 (10 seeds)",
        "long": "1 to 121, median 1 (10 seeds)",
        "short": "59 to 103, median 83.5 (10 seeds)",
    }
    rows = [
        Experiment(f"{shape}:1-50", "anbncn", replace(theirs, lengths=f"{shape}:1-50"), 1000, mark)
        for shape, mark in marks.items()
    ]
    return [*rows, Experiment("ours, uniform:1-50", "anbncn", LabConfig(), 1000, "not part of the source")]


def _weiss() -> list[Experiment]:
    theirs = replace(PLAIN, units=10, learning_rate=0.001, steps=100_000)
    marks: dict[tuple[str, CellName], str] = {
        ("anbn", "lstm"): "accepts a^1000 b^1000",
        ("anbn", "gru"): "rejects a^1000 b^1000",
        ("anbncn", "lstm"): "accepts n = 60",
        ("anbncn", "gru"): "rejects n = 60",
    }
    rows = []
    for (language, cell), mark in marks.items():
        config = replace(theirs, cell=cell, lengths="uniform:1-99" if language == "anbn" else "uniform:1-49")
        rows.append(Experiment(f"{language}, {cell}", language, config, 1000, mark, criterion="accepts"))
    ours = LabConfig(lengths="uniform:1-99")
    for name, config in {"lstm": ours, "gru": replace(ours, cell="gru")}.items():
        rows.append(Experiment(f"ours, anbn, {name}, exact", "anbn", config, 1000, "not part of the source"))
    return rows


def _gers() -> list[Experiment]:
    return [
        Experiment("ours, anbn 1-10", "anbn", LabConfig(lengths="uniform:1-10"), 1000, "best model right on 1..1000"),
        Experiment("ours, anbncn 1-40", "anbncn", LabConfig(lengths="uniform:1-40"), 500, "best model right on 1..500"),
        Experiment("ours, anbncn 1-10", "anbncn", LabConfig(lengths="uniform:1-10"), 500, "best model right on 1..52"),
    ]


def _lan() -> list[Experiment]:
    marks = {
        "anbn": ("99.8 % of symbols: no string right", 100),
        "anbncn": ("99.8 % of symbols: no string right", 500),
        "anbmcnm": ("98.9 % of symbols", 500),
        "dyck-1": ("10.8 (another measure)", 500),
    }
    rows = []
    for language, (mark, samples) in marks.items():
        lengths = f"geometric:0.3:{2 if language == 'anbmcnm' else 1}-25"  # its shortest string has k = m = 1, size 2
        for cell in ("rnn", "lstm", "gru"):
            config = replace(
                PLAIN, cell=cell, units=4, learning_rate=0.001, steps=1000, batch_size=0, samples=samples,
                lengths=lengths,
            )  # fmt: skip
            rows.append(Experiment(f"{language}, {cell}", language, config, 1000, mark))
        config = LabConfig(samples=samples, lengths=lengths, units=3 if language == "anbn" else 4)
        rows.append(Experiment(f"ours, {language}, lstm", language, config, 1000, "not part of the source"))
    return rows


def _deletang() -> list[Experiment]:
    rows = []
    for task in ("even-pairs", "modular-arithmetic", "parity", "cycle-navigation"):
        for cell, mark in DELETANG.items():
            config = replace(
                PLAIN, cell=cell, units=256, seeds=3, batch_size=128, samples=10_000, steps=1_000_000,
                learning_rate=0.001, clip_norm=1.0, lengths="uniform:1-40",
            )  # fmt: skip
            rows.append(Experiment(f"{task}, {cell}", task, config, 500, mark, task=True))
    return rows


def _elis() -> list[Experiment]:
    ranges = ((1, 30), (31, 80), (81, 400), (401, 1000))
    rows = []
    for cell in ("rnn", "lstm", "gru"):
        config = LabConfig(cell=cell, units=4, lengths="uniform:1-30", loss="sets")
        rows.append(Experiment(f"ours, {cell}", "anbncn", config, 1000, "none that could be checked", ranges=ranges))
    return rows


def _defaults() -> list[Experiment]:
    """The defaults with one change at a time, on seeds not used to choose the defaults."""
    base = LabConfig(first_seed=50_000)
    changes: dict[str, dict[str, Any]] = {
        "defaults": {},
        "gain 1 (none)": {"gain": 1.0},
        "gain 3": {"gain": 3.0},
        "gain 100": {"gain": 100.0},
        "1 unit": {"units": 1},
        "2 units": {"units": 2},
        "8 units": {"units": 8},
        "3,000 steps": {"steps": 3000},
        "batches of 4": {"batch_size": 4},
        "batches of 16": {"batch_size": 16},
        "learning rate 0.01": {"learning_rate": 0.01},
        "learning rate 0.1": {"learning_rate": 0.1},
        "constant rate": {"schedule": "constant"},
        "rmsprop": {"optimiser": "rmsprop"},
        "forget bias 0": {"forget_bias": 0.0},
        "forget bias 5": {"forget_bias": 5.0},
        "first weights x 3": {"initial_scale": 3.0},
        "mostly short": {"lengths": "short:1-50"},
        "mostly long": {"lengths": "long:1-50"},
        "sets of symbols": {"loss": "sets"},
        "sets, squared error": {"loss": "squared"},
        "no gain, noise 0.03": {"gain": 1.0, "weight_noise": 0.03},
        "no gain, decay 0.1": {"gain": 1.0, "weight_decay": 0.1},
        "no gain, curriculum": {"gain": 1.0, "curriculum": 0.5},
        "no gain, mean of the last quarter": {"gain": 1.0, "average": 0.25},
        "no gain, cell noise 0.03": {"gain": 1.0, "cell_noise": 0.03},
        "no gain, cell noise 0.3": {"gain": 1.0, "cell_noise": 0.3},
        "no gain, best checkpoint at n to 100": {"gain": 1.0, "choose_up_to": 100},
        "curriculum": {"curriculum": 0.5},
        "mean of the last tenth": {"average": 0.1},
        "cell noise 0.03": {"cell_noise": 0.03},
        "best checkpoint at n to 100": {"choose_up_to": 100},
        "no gain, sets": {"gain": 1.0, "loss": "sets"},
        "no gain, squared error": {"gain": 1.0, "loss": "squared"},
        "no gain, batches of 16": {"gain": 1.0, "batch_size": 16},
        "elman": {"cell": "rnn"},
        "elman, 8 units": {"cell": "rnn", "units": 8},
        "gru": {"cell": "gru"},
        "gru, 8 units": {"cell": "gru", "units": 8},
        "gru, 8 units, no gain": {"cell": "gru", "units": 8, "gain": 1.0},
    }
    return [Experiment(name, "anbn", replace(base, **change), 1000, published="") for name, change in changes.items()]


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "suzgun2019",
            "Suzgun et al. 2019, On Evaluating the Generalization of LSTM Models in Formal Languages",
            "a^n b^n c^n, n up to 50 drawn in four ways, LSTM with 3 units, sets of legal symbols by squared error",
            _suzgun,
            quick=0.1,
            quick_limit=300,
            notes=(
                "The published sizes are taken from the result files of the authors' repository, after the last epoch.",
            ),
        ),
        Protocol(
            "weiss2018",
            "Weiss et al. 2018, On the Practical Computational Power of Finite Precision RNNs for Language Recognition",
            "train on a^n b^n with n < 100; a string is accepted if each of its symbols has a probability above 0.01",
            _weiss,
            quick=0.1,
            notes=(
                "The published results are from the authors' notebooks, one model each; the steps are not given.",
                "Accepted does not say which other strings the model would accept; the rows called exact do.",
            ),
        ),
        Protocol(
            "gers2001",
            "Gers & Schmidhuber 2001, LSTM Recurrent Networks Learn Simple Context-Free and Context-Sensitive "
            "Languages",
            "learn from short strings alone: n up to 10, or up to 40",
            _gers,
            notes=(
                "The source's LSTM has peepholes, its strings a start mark; ours have neither. The training is ours.",
                "The published results are of the best model, quoted from memory and not checked against the paper.",
            ),
        ),
        Protocol(
            "lan2022",
            "Lan et al. 2022, Minimum Description Length Recurrent Neural Networks",
            "100 or 500 strings with n geometric (p = 0.3), all in every step, Adam 0.001, 1,000 steps, 4 units",
            _lan,
            notes=(
                "The published accuracy counts symbols; at 99.8 %, every one of such long strings has a wrong symbol.",
                "n is cut at 25, which leaves out 1 string in 7,000.",
            ),
        ),
        Protocol(
            "deletang2022",
            "Deletang et al. 2022, Neural Networks and the Chomsky Hierarchy",
            "four regular tasks, lengths up to 40; score: mean share of answers right at lengths from 41 to 500",
            _deletang,
            quick=0.001,
            quick_limit=500,
            quick_changes={"units": 64, "batch_size": 32, "learning_rate": 0.003},
            notes=(
                "Published: the best of 10 seeds and 3 learning rates; 1,000,000 steps of 128 new strings, 256 units.",
                "Ours: 3 seeds, 10,000 strings per model, drawn once; the answer is read after the last symbol.",
            ),
        ),
        Protocol(
            "elis",
            "ELIS, benchmark 285: organic a^n b^n c^n",
            "train on n up to 30; a string counts only if exactly the legal symbols are predicted everywhere",
            _elis,
            notes=("Training sizes begin at 1: a model that predicts the next symbol cannot read the empty string.",),
        ),
        Protocol(
            "defaults",
            "docs/laboratory.md",
            "a^n b^n, n up to 50: the defaults of the laboratory, and the effect of one change at a time",
            _defaults,
        ),
    )
}


def protocol(name: str) -> Protocol:
    """Return a protocol by its name.

    Raises: ValueError naming those with similar names.

    >>> protocol("suzgun").name
    Traceback (most recent call last):
        ...
    ValueError: no protocol is named 'suzgun'; similar names: suzgun2019
    """
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]
