"""What a run is made of: model, data and training, each a frozen dataclass whose ranges are checked on creation.

The command line, a TOML file and the Python interface all pass through these classes, so a rule stands here once.
No torch here: `unrolled --help` reads this module.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import msgspec

from unrolled.notation import Kind
from unrolled.ranges import check_choice, check_integer, check_number
from unrolled.runtime.config import GenerationConfig

__all__ = ["DataConfig", "GenerationConfig", "ModelConfig", "RunConfig", "TrainingConfig"]


@dataclass(frozen=True)
class ModelConfig:
    """The network: its cell, sizes and options.

    >>> ModelConfig(cell="gru", hidden_size=10).kind
    'GRU'

    Attributes:
        cell: Recurrent cell.
        hidden_size: Units H of each layer.
        num_layers: Layers L, one above the other.
        embedding_size: Width E of the learned embedding; 0 reads symbols one-hot.
        dropout: Share of each layer's outputs set to zero while training, also before the head.
        nonlinearity: Of the rnn cell only.
        tied: Share one matrix between embedding and head; needs embedding_size equal to hidden_size.
        learned_initial_state: Learn the state before the first symbol instead of starting from zero.
    """

    cell: Literal["rnn", "lstm", "gru"] = "lstm"
    hidden_size: int = 256
    num_layers: int = 1
    embedding_size: int = 0
    dropout: float = 0.0
    nonlinearity: Literal["tanh", "relu"] = "tanh"
    tied: bool = False
    learned_initial_state: bool = False

    def __post_init__(self) -> None:
        check_choice(self, "cell", ("rnn", "lstm", "gru"))
        check_choice(self, "nonlinearity", ("tanh", "relu"))
        check_integer(self, "hidden_size", 1)
        check_integer(self, "num_layers", 1)
        check_integer(self, "embedding_size", 0)
        check_number(self, "dropout", 0, 1, open_ends="high")
        if self.nonlinearity != "tanh" and self.cell != "rnn":
            raise ValueError(f"nonlinearity is {self.nonlinearity!r}; only cell = 'rnn' has one, not {self.cell}")
        if self.tied and self.embedding_size != self.hidden_size:
            raise ValueError(
                f"tied shares the embedding with the head, so embedding_size must equal hidden_size = "
                f"{self.hidden_size}; it is {self.embedding_size}"
            )

    @property
    def kind(self) -> Kind:
        """The cell under its name in :mod:`unrolled.notation`."""
        kinds: dict[str, Kind] = {"lstm": "LSTM", "gru": "GRU"}
        return kinds.get(self.cell) or ("RNN_TANH" if self.nonlinearity == "tanh" else "RNN_RELU")


@dataclass(frozen=True)
class DataConfig:
    """Where the symbols come from, how they are cut into symbols and how they are split.

    Attributes:
        kind: What one symbol is; auto is characters, or symbols where the data is lists of them.
        lines: Read each line as a sequence of its own, ended by EOS; else the text is one long stream.
        format: Of the files: plain text, JSON lines, a JSON array or one column of CSV; auto goes by their names.
        column: Name of the CSV column that holds the sequences.
        min_count: Symbols seen less often than this in training become UNK.
        nfc: Bring text to Unicode normal form C first.
        validation: Share held out to steer training.
        test: Share held out for the last word.
        split_by: Draw whole sequences or files at random, or cut the data in its order; auto cuts a stream and draws
            sequences.
        split_seed: Of that draw.
    """

    kind: Literal["auto", "characters", "symbols", "bytes", "words"] = "auto"
    lines: bool = False
    format: Literal["auto", "text", "jsonl", "json", "csv"] = "auto"
    column: str = ""
    min_count: int = 1
    nfc: bool = False
    validation: float = 0.05
    test: float = 0.05
    split_by: Literal["auto", "sequence", "block", "file"] = "auto"
    split_seed: int = 0

    def __post_init__(self) -> None:
        check_choice(self, "kind", ("auto", "characters", "symbols", "bytes", "words"))
        check_choice(self, "format", ("auto", "text", "jsonl", "json", "csv"))
        check_choice(self, "split_by", ("auto", "sequence", "block", "file"))
        check_integer(self, "min_count", 1)
        check_integer(self, "split_seed", 0)
        check_number(self, "validation", 0, 1, open_ends="high")
        check_number(self, "test", 0, 1, open_ends="high")
        if self.validation + self.test >= 1:
            raise ValueError(f"validation + test is {self.validation + self.test:g}; it must leave a share to train on")
        if self.column and self.format not in ("auto", "csv"):
            raise ValueError(f"column is {self.column!r}; only format = 'csv' has columns, not {self.format}")


@dataclass(frozen=True)
class TrainingConfig:
    """How the weights are found.

    Attributes:
        optimiser: Rule that turns gradients into steps.
        learning_rate: Step size at the top of the schedule.
        momentum: Of sgd and rmsprop.
        weight_decay: Pull of every weight towards zero (decoupled in adamw).
        clip_norm: Largest norm a gradient may have; 0 lets it be any size.
        schedule: Course of the learning rate after warm-up.
        warmup_steps: Steps over which the learning rate rises from zero.
        plateau_patience: Validations without progress before the plateau schedule cuts the rate.
        plateau_factor: What the plateau schedule multiplies the rate by.
        batch_size: Sequences a batch, or lanes of the stream.
        bptt: Time steps a chunk of the stream; gradients stop at its start, the state does not.
        accumulate: Batches whose gradients are added up for one step.
        max_steps: End after so many steps; 0 is no limit.
        max_epochs: End after so many passes over the training data; 0 is no limit.
        max_minutes: End after so many minutes; 0 is no limit.
        patience: Validations without progress before training ends early; 0 never does.
        validate_every: Steps between two validations.
        checkpoint_every: Steps between two checkpoints that a crash can fall back to.
        log_every: Steps that one line of metrics.jsonl sums up.
        seed: Of the initial weights, the order of the data and dropout.
        tensorboard: Write a TensorBoard log too; needs the extra [track].
    """

    optimiser: Literal["adamw", "sgd", "rmsprop"] = "adamw"
    learning_rate: float = 2e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    schedule: Literal["cosine", "plateau", "constant"] = "constant"
    warmup_steps: int = 0
    plateau_patience: int = 3
    plateau_factor: float = 0.5
    batch_size: int = 64
    bptt: int = 64
    accumulate: int = 1
    max_steps: int = 0
    max_epochs: int = 20
    max_minutes: float = 0.0
    patience: int = 0
    validate_every: int = 200
    checkpoint_every: int = 1000
    log_every: int = 10
    seed: int = 0
    tensorboard: bool = False

    def __post_init__(self) -> None:
        check_choice(self, "optimiser", ("adamw", "sgd", "rmsprop"))
        check_choice(self, "schedule", ("cosine", "plateau", "constant"))
        check_number(self, "learning_rate", 0, open_ends="low")
        check_number(self, "momentum", 0, 1, open_ends="high")
        check_number(self, "weight_decay", 0)
        check_number(self, "clip_norm", 0)
        check_number(self, "plateau_factor", 0, 1, open_ends="low high")
        check_number(self, "max_minutes", 0)
        for name in ("warmup_steps", "max_steps", "max_epochs", "patience", "seed"):
            check_integer(self, name, 0)
        for name in ("batch_size", "bptt", "accumulate", "plateau_patience"):
            check_integer(self, name, 1)
        for name in ("validate_every", "checkpoint_every", "log_every"):
            check_integer(self, name, 1)
        if not (self.max_steps or self.max_epochs or self.max_minutes):
            raise ValueError("max_steps, max_epochs and max_minutes are all 0; give one, or training never ends")
        if self.schedule == "cosine" and not (self.max_steps or self.max_epochs):
            raise ValueError("schedule is 'cosine'; it needs max_steps or max_epochs to know where to end")


#: Limits that may differ between a run and its continuation; everything else decides what the weights become.
LIMITS = frozenset({"max_steps", "max_epochs", "max_minutes", "patience", "checkpoint_every", "tensorboard"})


@dataclass(frozen=True)
class RunConfig:
    """The three parts together, as a TOML file or a run's config.json holds them.

    >>> RunConfig.from_dict({"model": {"hiden_size": 3}})
    Traceback (most recent call last):
        ...
    ValueError: unknown key 'hiden_size' in [model]; did you mean hidden_size?
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    @classmethod
    def from_dict(cls, sections: Mapping[str, Any]) -> RunConfig:
        """Build the configuration from nested plain values; missing keys take their defaults.

        Raises: ValueError naming the key, its value and what is legal; an unknown key is an error, not a comment.
        """
        _refuse_unknown(sections, [part.name for part in fields(cls)], where="at the top level")
        for part in fields(cls):
            section = sections.get(part.name, {})
            if not isinstance(section, Mapping):
                raise ValueError(f"[{part.name}] must be a table of keys and values, got {section!r}")
            known = [key.name for key in fields(part.default_factory)]  # type: ignore[arg-type]
            _refuse_unknown(section, known, where=f"in [{part.name}]")
        try:
            return msgspec.convert(sections, cls)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return the nested plain values that :meth:`from_dict` reads."""
        return asdict(self)


@dataclass(frozen=True)
class SavedModel:
    """What config.json says of a model itself, however it was trained."""

    model: ModelConfig
    framed: bool

    @classmethod
    def from_dict(cls, config: Mapping[str, Any], folder: str | Path) -> SavedModel:
        """Read a config that came from this folder.

        Raises: ValueError naming the file and what in it is missing or out of range.
        """
        try:
            return msgspec.convert(config, cls)
        except msgspec.ValidationError as error:
            raise ValueError(f"{Path(folder) / 'config.json'}: not the config of a model: {error}") from None


def _refuse_unknown(given: Mapping[str, Any], known: list[str], *, where: str) -> None:
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"legal keys: {', '.join(known)}"
            raise ValueError(f"unknown key {key!r} {where}; {hint}")
