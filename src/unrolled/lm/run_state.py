"""What a checkpoint of a run holds, and how the run is resumed from it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from unrolled.config.model import ModelConfig
from unrolled.config.training import LIMITS, TrainingConfig
from unrolled.lm.metrics_log import MetricsLog, length_up_to
from unrolled.lm.run import Clock, Meter, Run
from unrolled.lm.schedule import Progress
from unrolled.saved.checkpoints import clear_folder, load_checkpoint, new_folder, save_checkpoint
from unrolled.saved.model import write_model

#: Options that change no bit of the weights.
HARMLESS = LIMITS | {"checkpoint_steps"}


class ResumeError(ValueError):
    """A run cannot be resumed: its data or configuration are not those it began with."""


def begin(run: Run) -> None:
    """Write the first checkpoint of a new run; leave its folder empty if that fails, as on a full disk."""
    if run.folder is None:
        return
    new_folder(run.folder)
    run.metrics = MetricsLog(run.folder)
    try:
        save(run)
    except BaseException:
        clear_folder(run.folder)
        raise


def save(run: Run) -> None:
    """Write a checkpoint, all that the next step depends on, and the model with its best weights."""
    if run.folder is None:
        return
    tensors = {"values": run.optimiser.flat.values.data, "rng": torch.get_rng_state()}
    tensors |= {f"optimiser.{name}": t for name, t in run.optimiser.rule.state().items()}
    tensors |= {f"carried.{k}": t for k, t in enumerate(run.carried or ())}
    if run.best is not None:
        tensors["best"] = run.best
    state = {
        "config": run.saved_config(),
        "corpus": run.corpus.fingerprint,
        "feed": run.loader.state(),  # named as in the files of version 0.1
        "schedule": run.schedule.state(),
        "progress": asdict(run.progress),
        "clock": asdict(run.clock),
        "meter": asdict(run.meter),
        "metrics": run.metrics.length if run.metrics else 0,
    }
    arrays = {name: t.detach().numpy() for name, t in tensors.items()}
    with run.timed("save"):
        save_checkpoint(run.folder, run.clock.step, arrays, state)
        with run.best_weights():
            write_model(run.folder, run.saved_config(), run.model.vocabulary, run.model.tensors())


def resume(run: Run) -> None:
    """Restore a run from the latest checkpoint in its folder.

    Raises: ResumeError if the run began with other data or options; CheckpointError if the checkpoint is damaged.
    """
    if run.folder is None:
        raise ResumeError("resume needs the folder of the run; give out")
    tensors, state = load_checkpoint(run.folder)
    run.origin = {key: state["config"][key] for key in state["config"] if key not in run.saved_config()} | run.origin
    _refuse_other_config(state["config"], run.saved_config())
    if state["corpus"] != run.corpus.fingerprint:
        raise ResumeError(
            f"{run.folder}: this run began with other data, or the same data split otherwise; "
            "give the files and data options it began with, or train anew in another folder"
        )
    arrays = {name: torch.from_numpy(array) for name, array in tensors.items()}
    torch.set_rng_state(arrays["rng"])
    run.optimiser.flat.values.data.copy_(arrays["values"])
    run.optimiser.rule.load_state(_under("optimiser", arrays))
    run.best = arrays.get("best")
    run.carried = tuple(_under("carried", arrays).values()) or None
    run.loader.load_state(state["feed"])
    run.schedule.load_state(state["schedule"])
    run.progress = Progress(**state["progress"])
    run.clock, run.meter = Clock(**state["clock"]), Meter(**state["meter"])
    length = state["metrics"] if "metrics" in state else length_up_to(run.folder, run.clock.step)
    run.metrics = MetricsLog(run.folder, length)


def _under(prefix: str, arrays: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors whose names begin with a prefix and a dot, without it, in the order of their names."""
    names = sorted(name for name in arrays if name.startswith(prefix + "."))
    return {name.removeprefix(prefix + "."): arrays[name] for name in names}


def _refuse_other_config(began: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise ResumeError unless two configurations agree in every option that changes the weights.

    An option that the version which began the run did not know had its default value.
    """
    may_change = HARMLESS - {"max_steps", "max_epochs"} if began["training"]["schedule"] == "cosine" else HARMLESS
    for section, defaults in (("model", ModelConfig()), ("training", TrainingConfig())):
        for key, value in (asdict(defaults) | began[section]).items():
            if now[section].get(key) != value and key not in may_change:
                raise ResumeError(
                    f"{key} was {value!r} when this run began and is {now[section].get(key)!r} now; "
                    "leave it out to resume the run as it began, or train anew in another folder"
                )
