"""The recipe of a run: how a model is trained on given data in a given time, unless the user says otherwise.

The rules are one pure function, `choose`, of what is known about the data and the machine and of what the user asked
for.  They follow from the study in docs/lm.md, and each gives its reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from unrolled.config.checks import Precision
from unrolled.config.model import ModelConfig
from unrolled.config.training import ENDS, TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.lm.memory import parameters
from unrolled.lm.run import VALIDATION_SYMBOLS
from unrolled.words import counted

#: Minutes of a run for which no end is given.
MINUTES = 5.0


class Facts(NamedTuple):
    """What the rules know of the training data."""

    symbols: int  # that one pass predicts
    V: int
    stream: bool
    length: float  # mean symbols of a sequence
    validated: int  # symbols that a validation reads
    begun: bool = False  # whether the model is a trained one
    processes: int = 1  # that share the run

    @classmethod
    def of(cls, corpus: Corpus, begun: bool = False, processes: int = 1) -> Facts:
        """Return the facts of a corpus, whether a trained model learns it, and how many processes train that."""
        train = corpus.train
        length, validated = train.predicted / max(1, len(train)), min(corpus.validation.predicted, VALIDATION_SYMBOLS)
        return cls(train.predicted, len(corpus.vocabulary), corpus.stream, length, validated, begun, processes)


class Speed(NamedTuple):
    """What the rules know of the machine: the seconds that training takes, and the faster type.

    A symbol takes ``symbol + parameter * P``, where P are the parameters of layers and head.
    """

    symbol: float
    parameter: float
    precision: Precision = "float32"

    def of_several(self, processes: int) -> Speed:
        """Return the speed of several processes that share every batch."""
        return self._replace(symbol=self.symbol / processes, parameter=self.parameter / processes)

    def symbols_per_second(self, model: ModelConfig, V: int) -> float:
        """Return how many symbols training reads in a second."""
        return 1 / (self.symbol + self.parameter * (parameters(model, V) - V * model.embedding_size))


#: The speed by which a run of given steps or epochs is planned, so that its plan is the same on every machine.
NOMINAL = Speed(symbol=2e-6, parameter=1e-11)


class Choice(NamedTuple):
    """An option that was chosen, and why."""

    name: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Recipe:
    """The configurations of a run, the options in them that were chosen, and the steps that it is expected to take."""

    model: ModelConfig
    training: TrainingConfig
    choices: tuple[Choice, ...]
    steps: int

    def saved_reasons(self) -> dict[str, Any]:
        """Return what config.json says of the choices: each option that was chosen, and why."""
        return {"chosen": {choice.name: choice.reason for choice in self.choices}}


def choose(facts: Facts, speed: Speed, given: Mapping[str, Any]) -> Recipe:
    """Return the recipe for some data.

    Args:
        facts: of the training data.
        speed: of this machine.
        given: options by name, which keep their values; the others are chosen to suit them.

    Raises: TypeError if there is no such option; ValueError if one is out of its range.

    >>> recipe = choose(Facts(1_000_000, 70, True, 1e6, 50_000), NOMINAL, {"max_minutes": 1.0, "cell": "gru"})
    >>> recipe.model.cell, recipe.training.max_minutes, recipe.training.schedule
    ('gru', 1.0, 'cosine')
    """
    if unknown := [name for name in given if not hasattr(ModelConfig, name) and not hasattr(TrainingConfig, name)]:
        raise TypeError(f"no options of a model or its training: {', '.join(unknown)}")
    plan = _Plan(facts, speed, dict(given))
    for rule in RULES:
        rule(plan)
    return Recipe(plan.model(), TrainingConfig(**plan.of(TrainingConfig)), tuple(plan.choices), int(plan.steps))


class _Plan:
    """The options so far."""

    def __init__(self, facts: Facts, speed: Speed, options: dict[str, Any]):
        self.facts, self.speed, self.options = facts, speed, options
        self.choices: list[Choice] = []

    def __getitem__(self, name: str) -> Any:
        if name in self.options:
            return self.options[name]
        return getattr(ModelConfig if hasattr(ModelConfig, name) else TrainingConfig, name)

    def choose(self, name: str, value: Any, reason: str) -> None:
        """Set an option, unless it is given."""
        if name not in self.options:
            self.options[name] = value
            self.choices.append(Choice(name, value, reason))

    def of(self, config: type[ModelConfig | TrainingConfig]) -> dict[str, Any]:
        """Return the options of one configuration."""
        return {key.name: self.options[key.name] for key in fields(config) if key.name in self.options}

    def model(self, **changes: Any) -> ModelConfig:
        """Return the model so far, or with changes."""
        return ModelConfig(**self.of(ModelConfig) | changes)

    @property
    def batch(self) -> float:
        """Symbols of a batch."""
        steps = self["bptt"] if self.facts.stream else self.facts.length
        return min(float(self.facts.symbols), float(self["batch_size"] * steps))

    def budget(self, model: ModelConfig) -> float:
        """Return the symbols that a model reads until the run ends."""
        minutes, per_step = self["max_minutes"], self.batch * self["accumulate"]
        ends = (
            60 * minutes * self.speed.symbols_per_second(model, self.facts.V),
            self["max_steps"] * per_step,
            self["max_epochs"] * self.facts.symbols,
        )
        return float(min(end for end in ends if end))

    @property
    def steps(self) -> float:
        """Steps until the run ends."""
        return self.budget(self.model()) / (self.batch * float(self["accumulate"]))

    @property
    def passes(self) -> float:
        """Passes over the data until the run ends."""
        return self.budget(self.model()) / self.facts.symbols

    @property
    def crowding(self) -> float:
        """Parameters for each training symbol."""
        return parameters(self.model(), self.facts.V) / self.facts.symbols


def _end(plan: _Plan) -> None:
    if not any(plan.options.get(name) for name in ENDS):
        plan.choose("max_minutes", MINUTES, "no other end was asked for")
    for name in ENDS:
        plan.options.setdefault(name, type(getattr(TrainingConfig, name))())


def _precision(plan: _Plan) -> None:
    if plan.speed.precision == "bfloat16":
        plan.choose("precision", "bfloat16", "this processor multiplies it faster, and the loss is the same")


#: V from which a sample of the symbols stands for all, the symbols of it, and the rows of a stream then.
MANY, SAMPLES, MANY_ROWS = 50_000, 4096, 32


def samples_for(V: int) -> int:
    """Return how many symbols each batch draws to compare its targets with; 0 for all V.

    >>> samples_for(70), samples_for(100_000)
    (0, 4096)
    """
    return SAMPLES if V >= MANY else 0


def _softmax(plan: _Plan) -> None:
    if samples := samples_for(plan.facts.V):
        plan.choose("softmax_samples", samples, f"V is {plan.facts.V:,}, and a batch need not see every symbol")


#: Rows of a stream and steps of a chunk; about the symbols of a batch of sequences, and its rows at least and at most.
ROWS, CHUNK, SYMBOLS, LEAST_ROWS, MOST_ROWS = 8, 64, 256, 4, 64


def _batches(plan: _Plan) -> None:
    reason = "small batches take more steps in the same time"
    processes = plan.facts.processes
    if processes > 1:
        reason += ", and each process needs rows of its own"
    if plan.facts.stream and plan.facts.V >= MANY:
        many = "a step changes every row of the embedding and head, however small the batch"
        plan.choose("batch_size", MANY_ROWS * processes, many)
    if plan.facts.stream:
        plan.choose("batch_size", ROWS * processes, reason)
        plan.choose("bptt", CHUNK, "the state is carried over, and longer chunks would mean fewer steps")
    else:
        rows = 2 ** round(math.log2(SYMBOLS / plan.facts.length))
        plan.choose("batch_size", processes * min(MOST_ROWS, max(LEAST_ROWS, rows)), reason)
        plan.choose("weigh", "symbols", "a symbol of a short sequence counts as much as one of a long sequence")


#: The hidden sizes that are chosen from.
SIZES = (64, 96, 128, 192, 256, 384, 512, 768, 1024)
#: The largest is UNITS * N**UNITS_POWER for N training symbols.
UNITS, UNITS_POWER = 2.8, 0.4
#: What the largest must read in its time: the data so often, or so many symbols for each of its parameters.
PASSES, READ = 8, 20
#: Symbols whose rows count among those parameters: those of rarer ones wait for their few occurrences anyway.
FREQUENT = 1000


def _network(plan: _Plan) -> None:
    V = plan.facts.V
    plan.choose("cell", "lstm", "it learns best from the same symbols")
    width = plan["hidden_size"] if plan["tied"] else 32 if V < 50 else 64 if V < 1000 else 128
    plan.choose("embedding_size", width, f"V is {V:,}")
    if "hidden_size" not in plan.options:
        plan.choose("hidden_size", *_hidden_size(plan))


def _hidden_size(plan: _Plan) -> tuple[int, str]:
    """Return the largest size that the data can fill and the budget train, and which of them bounds it."""
    symbols = plan.facts.symbols
    filled = [H for H in SIZES if UNITS * symbols**UNITS_POWER >= H] or [SIZES[0]]
    trained = [H for H in filled if _is_trained(plan, plan.model(hidden_size=H))] or [SIZES[0]]
    if trained[-1] == filled[-1]:
        return filled[-1], f"enough for {counted(symbols, 'training symbol')}"
    return trained[-1], "the largest that can learn enough before the end"


def _is_trained(plan: _Plan, model: ModelConfig) -> bool:
    learnt = parameters(model, min(plan.facts.V, FREQUENT))
    return plan.budget(model) >= min(PASSES * plan.facts.symbols, READ * learnt)


#: Passes over the data after which a run only overfits.
MOST_PASSES = 45
#: Passes times parameters for a training symbol up to which nothing need be dropped; the shares of outputs and of
#: recurrent weights that are dropped for every doubling beyond, and at most.
LEARNT, DROPOUT, WEIGHTS, MOST_DROPPED = 8.0, 0.05, 0.075, 0.5


def _regularisation(plan: _Plan) -> None:
    if not (plan["max_steps"] or plan["max_epochs"]):
        plan.options.pop("max_epochs")
        less = f"the time is too short for one pass: the run {_reads(plan.passes)}"
        why = "more passes would only learn the data by heart" if plan.passes >= 1 else less
        plan.choose("max_epochs", MOST_PASSES, why)
    doublings = math.log2(max(1.0, plan.passes * plan.crowding / LEARNT))
    reason = f"the run {_reads(plan.passes)}, with {plan.crowding:.2g} parameters for each of its symbols"
    for name, share in (("dropout", DROPOUT), ("weight_dropout", WEIGHTS)):
        plan.choose(name, round(20 * min(MOST_DROPPED, share * doublings)) / 20, reason)


#: Learning rates of the cells at H RATED under adamw and rmsprop, and of sgd.
RATED, RATES, SGD_RATE = 256, {"lstm": 0.02, "gru": 0.01, "rnn": 0.002}, 1.0
#: What multiplies the rate where a batch moves the rows of its sample alone, and those the farther.
FEW_ROWS = 0.2
#: Steps beyond which a longer run takes smaller ones, and what multiplies the rate for a trained model.
LONG, BEGUN = 25_000, 0.25
#: Weight decay for each symbol of a batch, which falls with the cubic root of N million training symbols, and at most.
DECAY, MOST_DECAY = 1.6e-4, 0.12


def _steps(plan: _Plan) -> None:
    rate = RATES[plan["cell"]] * _root(RATED, plan["hidden_size"]) * _root(LONG, plan.steps)
    reason = f"small enough for H {plan['hidden_size']} and for {counted(round(plan.steps), 'step')}"
    if plan["optimiser"] == "sgd":
        rate, reason = SGD_RATE, "sgd needs a large one"
    if plan["softmax_samples"]:
        rate, reason = FEW_ROWS * rate, f"{reason}, and for a sampled softmax"
    if plan.facts.begun:
        rate, reason = BEGUN * rate, f"{BEGUN:g} of that of a new model"
    plan.choose("learning_rate", _rounded(rate), reason)
    if plan["optimiser"] == "adamw":
        decay = DECAY * plan.batch / (plan.facts.symbols / 1e6) ** (1 / 3)
        reason = "keeps weights small, smaller if there is little data"
        plan.choose("weight_decay", round(min(MOST_DECAY, decay), 3), reason)
    plan.choose("schedule", "cosine", "it falls to zero at the end of the run")
    if warmup := min(100, int(plan.steps / 20)):
        plan.choose("warmup_steps", warmup, "large steps at the start upset the gates")


def _rounded(rate: float) -> float:
    """Return a rate with four decimals, and with two digits that count at least.

    >>> _rounded(0.012345), _rounded(0.0000012345)
    (0.0123, 1.2e-06)
    """
    return round(rate, max(4, 1 - math.floor(math.log10(rate))))


def _root(most: float, size: float) -> float:
    """Return 1 up to the most, and for larger sizes the root of their share."""
    return min(1.0, math.sqrt(most / max(1.0, size)))


#: Validations in a run, at most and at least, and the steps between two at least.
VALIDATIONS, LEAST_VALIDATIONS, LEAST_STEPS = 25, 5, 20
#: Seconds that it takes to save a model after a validation, about, and the share of a run that both may take together.
SAVING, REPORTING = 0.2, 0.025
#: Lines of metrics in a run, at most.
LINES = 1000


def _reports(plan: _Plan) -> None:
    step = plan.batch * plan["accumulate"] / plan.speed.symbols_per_second(plan.model(), plan.facts.V)
    validation = plan.facts.validated * step / plan.batch / 3 + SAVING  # without gradients a symbol takes a third
    count = min(VALIDATIONS, max(LEAST_VALIDATIONS, int(REPORTING * plan.steps * step / validation)))
    every = max(LEAST_STEPS, int(plan.steps / count))
    if plan.facts.validated:
        times = counted(max(1, round(plan.steps / every)), "validation")
        plan.choose("validate_every", every, f"{times} in about {counted(round(plan.steps), 'step')}")
        every = plan["validate_every"]
    plan.choose("checkpoint_every", every, "a resumed run repeats little")
    plan.choose("log_every", max(TrainingConfig.log_every, int(plan.steps / LINES)), f"at most {LINES:,} lines")


def _reads(passes: float) -> str:
    """Return how much of the data is read.

    >>> _reads(12.2), _reads(0.31), _reads(0.001)
    ('reads the data 12 times', 'reads 31% of the data', 'reads less than 1% of the data')
    """
    if passes >= 1:
        return f"reads the data {counted(round(passes), 'time')}"
    return f"reads {f'{passes:.0%}' if passes >= 0.01 else 'less than 1%'} of the data"


#: The rules in the order in which they need each other.
RULES = (_end, _precision, _softmax, _batches, _network, _regularisation, _steps, _reports)
