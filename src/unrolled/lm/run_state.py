"""What a checkpoint of a run holds, and how the run is resumed from it."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import torch

from unrolled.config.model import ModelConfig
from unrolled.config.options import listed, option
from unrolled.config.training import ENDS, LIMITS, TrainingConfig
from unrolled.corpus.sharing import Alone
from unrolled.lm.metrics_log import MetricsLog, length_up_to
from unrolled.lm.run import Run
from unrolled.lm.training_state import Position, TrainingState, check_arrays, check_state
from unrolled.saved.atomic_files import CheckpointError, Tensors
from unrolled.saved.checkpoints import clear_folder, latest, load_checkpoint, new_folder, save_checkpoint
from unrolled.saved.model import write_model

#: Options that change no bit of the weights.
HARMLESS = LIMITS | {"checkpoint_steps"}


class ResumeError(ValueError):
    """A run cannot be resumed: its data or configuration are not those it began with."""


def begin(run: Run) -> None:
    """Take the weights of the first process, and write the first checkpoint; leave the folder empty if that fails."""
    run.ranks.copy_first(run.optimiser.flat.values.data)
    for w in run.frozen.values():
        run.ranks.copy_first(w.data)
    if run.folder is None:
        return
    if run.writes:
        new_folder(run.folder)
        run.metrics = MetricsLog(run.folder)
    try:
        save(run)
    except BaseException:
        if run.writes:
            clear_folder(run.folder)
        raise


def save(run: Run) -> None:
    """Write a checkpoint, all that the next step depends on, and the model with its best weights.

    Raises: TrainingDiverged if a weight is not finite: loading would refuse the folder.
    """
    if not run.optimiser.flat.values.isfinite().all():
        raise run.divergence(run.clock.step, "a weight is not finite")
    if run.folder is None:
        return
    run.ranks.align(run.optimiser.flat.values.data, *run.optimiser.rule.state().values())
    carried = run.ranks.of_all(run.carried, run.config.batch_size)
    if not run.writes:
        return
    tensors = {"values": run.optimiser.flat.values.data, "rng": torch.get_rng_state()}
    tensors |= {f"optimiser.{name}": t for name, t in run.optimiser.rule.state().items()}
    tensors |= {f"carried.{k}": t for k, t in enumerate(carried or ())}
    tensors |= {f"frozen.{name}": w.data for name, w in run.frozen.items()}
    if run.best is not None:
        tensors["best"] = run.best
    state = TrainingState(
        config=run.saved_config(),
        corpus=run.corpus.fingerprint,
        feed=Position(**run.loader.state()),
        schedule=run.schedule.state(),
        progress=run.progress,
        clock=run.clock,
        meter=run.meter,
        metrics=run.metrics.length if run.metrics else 0,
        vocabulary=run.model.vocabulary.to_json().decode() if _needs_vocabulary(run.origin) else None,
        frozen=[*run.frozen] or None,
    )
    arrays = {name: t.detach().numpy() for name, t in tensors.items()}
    with run.timed("save"):
        save_checkpoint(run.folder, run.clock.step, arrays, msgspec.to_builtins(state))
        with run.best_weights():
            write_model(run.folder, run.saved_config(), run.model.vocabulary, run.model.tensors())


def _needs_vocabulary(origin: dict[str, Any]) -> bool:
    """Return whether the data alone does not tell the vocabulary of a run: another model or file has a part in it."""
    return "started_from" in origin or bool((origin.get("data") or {}).get("tokenizer"))


def resume(run: Run) -> None:
    """Restore a run from the latest checkpoint in its folder.

    Raises: ResumeError if the run began with other data or options; CheckpointError if the checkpoint is damaged.
    """
    if run.folder is None:
        raise ResumeError("resume needs the folder of the run; give out")
    checkpoint, tensors, values = _read(run.folder, run.ranks)
    state = TrainingState.read(checkpoint / "training.json", values)
    own = run.saved_config().keys() - run.origin.keys()
    run.origin = {key: value for key, value in state.config.items() if key not in own} | run.origin
    if state.corpus != run.corpus.fingerprint:
        raise ResumeError(
            f"{run.folder}: this run began with other data, or the same data split differently; "
            "give the files and data options it began with, or train anew in another folder"
        )
    _compare_configs(state.config, run.saved_config())
    _compare_frozen(state, tensors, run)
    check_state(checkpoint / "training.json", state, run)
    check_arrays(checkpoint / "training.safetensors", tensors, state, run)
    arrays = {name: torch.from_numpy(array) for name, array in tensors.items()}
    try:
        torch.set_rng_state(arrays["rng"])
    except RuntimeError as error:
        raise CheckpointError(f"{checkpoint / 'training.safetensors'}: 'rng' is no state: {error}") from None
    run.optimiser.flat.values.data.copy_(arrays["values"])
    for name in state.frozen or ():
        run.frozen[name].data.copy_(arrays[f"frozen.{name}"])
    run.optimiser.rule.load_state(_under("optimiser", arrays))
    run.best = arrays.get("best")
    run.carried = run.ranks.own(tuple(_under("carried", arrays).values()) or None)
    run.loader.load_state(msgspec.structs.asdict(state.feed))
    run.schedule.load_state(state.schedule)
    run.progress, run.clock, run.meter = state.progress, state.clock, state.meter
    if run.writes:
        length = length_up_to(run.folder, run.clock.step) if state.metrics is None else state.metrics
        run.metrics = MetricsLog(run.folder, length)


def _read(folder: Path, ranks: Alone) -> tuple[Path, Tensors, dict[str, Any]]:
    """Return the folder, the tensors and the state of the latest checkpoint, which the first process reads."""
    tensors: Tensors = {}
    values: dict[str, Any] = {}
    if ranks.first:
        tensors, values = load_checkpoint(folder)
    checkpoint, values = ranks.told((str(latest(folder)) if ranks.first else "", values))
    return Path(checkpoint), ranks.told_arrays(tensors), values


def _under(prefix: str, arrays: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors whose names begin with a prefix and a dot, without it, in the order of their names."""
    names = sorted(name for name in arrays if name.startswith(prefix + "."))
    return {name.removeprefix(prefix + "."): arrays[name] for name in names}


def _compare_frozen(state: TrainingState, tensors: Tensors, run: Run) -> None:
    """Raise ResumeError unless the weights that are frozen are those that were when the run began.

    A checkpoint of version 0.1 does not name them, and neither does one of a run without any: its size tells.
    """
    before, now = state.frozen, [*run.frozen]
    if before is None and tensors.get("values", run.optimiser.flat.values).shape == run.optimiser.flat.values.shape:
        return
    if (before or []) != now:
        raise ResumeError(
            f"{run.folder}: frozen was {listed(before or [])} when this run began and is {listed(now)} now; freeze the "
            "same weights, or train anew in another folder"
        )


def _compare_configs(began: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise ResumeError unless two configurations agree in every option that changes the weights.

    The end of a run may change.  A cosine then falls to the new end from the next step on, which a note says.

    An option that the version which began the run did not know had its default value.
    """
    defaults = {"model": asdict(ModelConfig()), "training": asdict(TrainingConfig())}
    began = {section: own | began[section] for section, own in defaults.items()}
    for section, options in began.items():
        for key, value in options.items():
            if now[section].get(key) != value and key not in HARMLESS:
                raise ResumeError(
                    f"{option(key)} was {value!r} when this run began and is {now[section].get(key)!r} now; "
                    "leave it out to resume the run as it began, or train anew in another folder"
                )
    moved = [name for name in sorted(ENDS) if began["training"][name] != now["training"][name]]
    if moved and now["training"]["schedule"] == "cosine":
        before, after = (", ".join(option(name, each["training"][name]) for name in moved) for each in (began, now))
        warnings.warn(
            f"the run began with {before} and ends by {after}: from here on the learning rate is that of the new end, "
            "so the weights will not be those of a run in one go",
            stacklevel=4,
        )
