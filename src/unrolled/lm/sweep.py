"""A sweep: many short trainings of one corpus, each with other options, that together find good ones.

Optuna chooses the options of a trial by the trials before it, and ends one whose validation loss is above the median
that they had at the same point.  The study is kept in a file or in a database; whoever opens it joins.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from unrolled.config.run import RunConfig
from unrolled.config.sweep import Range, SweepConfig, is_whole
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.sharing import ALONE
from unrolled.lm.calibration import recipe_for
from unrolled.lm.callbacks import Callback
from unrolled.lm.journal import JournalLock, check_journal
from unrolled.lm.memory import Largest, check_memory
from unrolled.lm.model import SequenceModel
from unrolled.lm.run import Result, Run, TrainingDiverged
from unrolled.lm.training import train

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as Asked

#: Points of a trial at which its validation loss is compared with that of others.
POINTS = 20
#: Trials that end before any is compared with them, and points that each may pass first.
UNCOMPARED, WARMUP = 5, 3
#: Trials that are told from the others, at least, to find what mattered.
BEST = 5
#: What a study keeps of a trial and of itself, by name.
_CONFIG, _SWEEP, _NOTE, _SECONDS = "config", "sweep", "note", "seconds"


class SweepError(RuntimeError):
    """A study cannot be reached, or is of another sweep."""


class Trial(NamedTuple):
    """A trial that has ended.

    Attributes:
        number: In the study, from 0.
        bits: Lowest validation loss in bits per symbol; None if it ended before one was measured.
        options: Those that were searched.
        note: Why it ended early; "" if it did not.
        seconds: Time spent training.
    """

    number: int
    bits: float | None
    options: dict[str, Any]
    note: str
    seconds: float


class Pruned(Exception):
    """A trial ends early; the message says why."""


class Sweep:
    """A study of one corpus.

    Args:
        corpus: the data, with a validation split.
        config: what is searched.
        storage: the file of the study, or the URL of a database.
        name: of the study in it.

    Raises: SweepError if the study cannot be reached, or was begun with other data or options; ValueError if the corpus
        has no validation split; ModuleNotFoundError naming the extra without optuna.
    """

    def __init__(self, corpus: Corpus, config: SweepConfig, storage: str | Path, name: str = "sweep"):
        if not len(corpus.validation):
            raise ValueError("a sweep compares validation losses, but nothing is held out for validation")
        self.corpus, self.config, self.storage = corpus, config, str(storage)
        self._study = _reached(self.storage, name)
        self._join({"fingerprint": corpus.fingerprint} | config.to_dict())

    def run(self, trials: int, told: Callable[[Trial], None] = lambda trial: None) -> bool:
        """Make trials until the study has so many; return False if a signal asked to stop before.

        Args: trials, with those of earlier calls and of other machines; what is told of each that ends.
        """
        while len(self.trials()) < trials:
            asked = self._ask()
            try:
                bits, note = self._bits(asked), ""
            except Pruned as reason:
                bits, note = None, str(reason)
            except BaseException:
                self._tell(asked, failed=True)
                raise
            if bits is None and not note:
                self._tell(asked, failed=True)
                return False
            self._tell(asked, bits, note=note)
            told(next(each for each in self.trials() if each.number == asked.number))
        return True

    def trials(self) -> list[Trial]:
        """Return the trials that have ended, in the order of their numbers."""
        return [_ended(each) for each in self._frozen()]

    def best(self) -> Trial | None:
        """Return the trial with the lowest validation loss of those that ran to their end; None if there is none."""
        whole = [trial for trial in self.trials() if not trial.note]
        return min(whole, key=lambda trial: math.inf if trial.bits is None else trial.bits, default=None)

    def best_config(self) -> RunConfig | None:
        """Return all options of the best trial, chosen ones included; None if there is none."""
        best = self.best()
        if best is None:
            return None
        of_trial = next(each for each in self._frozen() if each.number == best.number)
        return RunConfig.from_dict(json.loads(of_trial.user_attrs[_CONFIG]) | {"data": asdict(self.config.data)})

    def importance(self) -> dict[str, float]:
        """Return how much each searched option mattered, the shares of 1 in falling order.

        It decides whether a trial is among the best tenth, or the best five of fewer than fifty.  Empty for fewer than
        four trials, and where the best are as good as the worst.

        Source: PED-ANOVA: Watanabe, Bansal and Hutter 2023, IJCAI.
        """
        import optuna

        bits = sorted(trial.bits for trial in self.trials() if not trial.note and trial.bits is not None)
        if len(bits) < 4:
            return {}
        among = min(0.5, max(0.1, BEST / len(bits)))
        if bits[math.ceil(among * len(bits)) - 1] == bits[-1]:
            return {}
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=among)
        found = optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        return {name: float(share) for name, share in found.items()}

    def _join(self, sweep: dict[str, Any]) -> None:
        """Begin the study, or refuse one that searches something else."""
        own = json.loads(json.dumps(sweep))
        with reaching(self.storage):
            if (began := self._study.user_attrs.get(_SWEEP)) is None:
                self._study.set_user_attr(_SWEEP, own)
        if began not in (None, own):
            other = next(key for key in own if began.get(key) != own[key])
            what = {"fingerprint": "other data", "data": "other options in [data]", "search": "another [search]"}
            said = what.get(other, "other options in [model] or [training]")
            raise SweepError(f"{shown(self.storage)}: this study began with {said}; give it another place or name")

    def _ask(self) -> Asked:
        with reaching(self.storage):
            asked = self._study.ask()
            for name, space in self.config.search.items():
                if not isinstance(space, Range):
                    asked.suggest_categorical(name, space)
                elif is_whole(name):
                    asked.suggest_int(name, int(space.low), int(space.high), log=space.log)
                else:
                    asked.suggest_float(name, space.low, space.high, log=space.log)
            return asked

    def _bits(self, asked: Asked) -> float | None:
        """Train with the options of a trial; return its validation loss, None if a signal asked to stop."""
        try:
            plan = recipe_for(self.corpus, **self.config.given | asked.params)
            every = max(1, int(plan.steps / POINTS))
            often = {"log_every": every, "validate_every": self.config.given.get("validate_every", every)}
            training = replace(plan.training, **often)
            largest = Largest.of(self.corpus.train, self.corpus.stream, training)
            check_memory(plan.model, len(self.corpus.vocabulary), training, largest)
        except (ValueError, MemoryError) as error:
            raise Pruned(f"cannot be trained: {error}") from None
        with reaching(self.storage):
            asked.set_user_attr(_CONFIG, json.dumps({"model": asdict(plan.model), "training": asdict(training)}))
        torch.manual_seed(training.seed)
        model = SequenceModel(plan.model, self.corpus.vocabulary, framed=not self.corpus.stream)
        compared = Compared(asked, self.storage)
        try:
            with warnings.catch_warnings(action="ignore"):  # its advice is for a run of its own
                result = train(model, self.corpus, training, callbacks=[compared], ranks=ALONE)
        except TrainingDiverged as error:
            raise Pruned(f"diverged: {error}".partition("; nothing was saved")[0]) from None
        finally:
            with reaching(self.storage):
                asked.set_user_attr(_SECONDS, compared.seconds)
        if result.ended == "signal" or result.validation is None:
            return None
        return result.validation / math.log(2)

    def _tell(self, asked: Asked, bits: float | None = None, *, note: str = "", failed: bool = False) -> None:
        from optuna.trial import TrialState

        state = TrialState.FAIL if failed else TrialState.PRUNED if bits is None else TrialState.COMPLETE
        with reaching(self.storage):
            asked.set_user_attr(_NOTE, note)
            self._study.tell(asked, bits, state)

    def _frozen(self) -> list[FrozenTrial]:
        from optuna.trial import TrialState

        with reaching(self.storage):
            return self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


class Compared(Callback):
    """Reports the validation losses of a trial, and ends it where others were better at the same point."""

    def __init__(self, asked: Asked, storage: str):
        self.asked, self.storage, self.seconds = asked, storage, 0.0

    def on_validation_end(self, run: Run, line: dict[str, Any] | None) -> None:
        """Compare the validation loss; raises Pruned if it is above the median of others."""
        assert line is not None
        self.seconds, point = run.clock.seconds, round(POINTS * done(run))
        if run.ended(False) is not None:
            return
        with reaching(self.storage):
            self.asked.report(line["validation_bits"], point)
            above = self.asked.should_prune()
        if above:
            raise Pruned(f"above the median after {100 * point // POINTS} % of its run")

    def on_train_end(self, run: Run, result: Result) -> None:
        """Keep the time of the whole run."""
        self.seconds = result.seconds


def done(run: Run) -> float:
    """Return the share of a run that is done, in [0, 1]: of the end that is nearest."""
    config, clock, loader = run.config, run.clock, run.loader
    epochs = loader.epoch - 1 + loader.index / loader.batches_per_epoch
    shares = [
        clock.step / config.max_steps if config.max_steps else 0.0,
        epochs / config.max_epochs if config.max_epochs else 0.0,
        clock.seconds / (60 * config.max_minutes) if config.max_minutes else 0.0,
    ]
    return min(1.0, max(shares))


def shown(storage: str) -> str:
    """Return the place of a study, or what is said of it, without what may be a password.

    >>> shown("postgresql://ann:sec/r@t@host/studies"), shown("sweeps/a/study.journal")
    ('postgresql://***@host/studies', 'sweeps/a/study.journal')
    >>> shown("postgresql://host/studies?user=ann&password=secret")
    'postgresql://host/studies?***'
    """
    return re.sub(r"(://[^\s?]*\?)\S+", r"\1***", re.sub(r"//(?:[^/:@]*:.*|[^/]*)@", "//***@", storage))


@contextmanager
def reaching(storage: str) -> Iterator[None]:
    """Say in one sentence that a study cannot be reached, whatever its file or the driver of a database raises."""
    try:
        yield
    except Exception as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        why = shown(said.strip().partition("\n")[0]) or type(error).__name__
        raise SweepError(f"{shown(storage)}: cannot reach the study: {why}") from None


def _reached(storage: str, name: str) -> Study:
    """Return a study, begun if it is not there."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=UNCOMPARED, n_warmup_steps=WARMUP)
    with reaching(storage):
        kept: Any = storage
        if "://" not in storage:
            storage = str(Path(storage).absolute())  # the program may go to another folder meanwhile
            Path(storage).parent.mkdir(parents=True, exist_ok=True)
            check_journal(storage)
            lock: Any = JournalLock(storage)
            kept = optuna.storages.JournalStorage(JournalFileBackend(storage, lock))
        return optuna.create_study(storage=kept, study_name=name, load_if_exists=True, pruner=pruner)


def _ended(trial: FrozenTrial) -> Trial:
    kept, bits = trial.user_attrs, trial.value
    if bits is None and trial.intermediate_values:
        bits = min(trial.intermediate_values.values())
    return Trial(trial.number, bits, trial.params, kept.get(_NOTE, ""), kept.get(_SECONDS, 0.0))
