"""The model that `train --from` starts from: its options, its vocabulary and its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.commands import WrongUse, inputs
from unrolled.commands.console import PlainConsole
from unrolled.config.data import DataConfig, ReadingConfig
from unrolled.config.model import ModelConfig
from unrolled.config.options import listed, option
from unrolled.words import counted

if TYPE_CHECKING:
    from unrolled.corpus.corpus import Corpus
    from unrolled.lm.model import SequenceModel
    from unrolled.saved.vocabulary import Vocabulary

#: Options of a model that may change, because its weights are the same with any value.
FREE = ("dropout", "weight_dropout", "checkpoint_steps")
#: Options that say how files become symbols.
READING = ("kind", "nfc", *(field.name for field in fields(ReadingConfig)))


@dataclass(frozen=True)
class StartingPoint:
    """A trained model that another run starts from.

    Attributes:
        folder: Where it is.
        model: Options of the model to be made.
        vocabulary: Its symbols.
        framed: Whether it learned sequences.
        sha256: Of its weights.
    """

    folder: Path
    model: ModelConfig
    vocabulary: Vocabulary
    framed: bool
    sha256: str

    def network(self, console: PlainConsole, corpus: Corpus, data: Sequence[str]) -> SequenceModel:
        """Return the model with the symbols of a corpus, and say how many it did not have.

        Raises: CorpusError if the model learned sequences and the corpus is a stream, or the reverse.
        """
        from unrolled.lm.model import SequenceModel

        inputs.refuse_other_shape(corpus, data, self.framed)
        free = {name: getattr(self.model, name) for name in FREE}
        network = SequenceModel.from_pretrained(self.folder, **free).extended(corpus.vocabulary)
        added = self.added(corpus)
        said = f"{counted(len(added), 'new symbol')} added to its vocabulary" + (f": {listed(added)}" if added else "")
        console.print(f"starting from {self.folder}, {said}", soft_wrap=True)
        return network

    def added(self, corpus: Corpus) -> tuple[str, ...]:
        """Return the symbols of a corpus that the model did not have."""
        return corpus.vocabulary.symbols[len(self.vocabulary.symbols) :]

    def origin(self, corpus: Corpus) -> dict[str, Any]:
        """Return what config.json records of the start of a run."""
        from unrolled.saved.atomic_files import recorded

        return {
            "started_from": {
                "folder": recorded(self.folder),
                "sha256": self.sha256,
                "symbols_added": len(self.added(corpus)),
            }
        }


def load(folder: Path, model: ModelConfig, dataset: DataConfig) -> StartingPoint:
    """Return the model in a folder as the start of a run with these options.

    Raises: WrongUse naming an option that the model cannot have; CheckpointError if there is no model.
    """
    from unrolled.saved.model import SavedModel, read_config

    saved = SavedModel.load(folder)
    own, kind = asdict(saved.model), saved.vocabulary.kind
    wanted = {name: value for name, value in asdict(model).items() if name not in FREE}
    if dataset.kind != "auto":
        own, wanted = own | {"kind": kind}, wanted | {"kind": dataset.kind}
    own, wanted = own | {"nfc": saved.vocabulary.nfc}, wanted | {"nfc": dataset.nfc}
    if dataset.tokenizer:
        raise WrongUse(f"{option('tokenizer', dataset.tokenizer)}: {folder} has its own symbols; leave it out")
    for name, value in wanted.items():
        if value != own[name]:
            raise WrongUse(f"{option(name)} is {value!r}, but {folder} has {own[name]!r}; leave it out, or train anew")
    return StartingPoint(folder, model, saved.vocabulary, saved.framed, read_config(folder)[1]["model.safetensors"])


def sections_of(folder: Path, given: Mapping[str, str]) -> dict[str, Any]:
    """Return the options that a run takes from the model it starts from: those of the model, and how data is read.

    Args: folder of the model; the flags that are given, by name.
    """
    from unrolled.saved.model import SavedModel, section

    saved = SavedModel.load(folder)
    own = section(DataConfig, "data", saved.origin.get("data") or {})
    names = [field.name for field in fields(ReadingConfig)]
    said: dict[str, Any] = {name: given[f"--{name}"] for name in names if f"--{name}" in given}
    said |= {name: said[name] == "true" for name in ("lines", "header") if name in said}
    reading = asdict(ReadingConfig(**said).over(own, saved.framed))
    return {"model": asdict(saved.model), "data": {name: reading[name] for name in READING}}


def vocabulary_of(run: Path) -> Vocabulary | None:
    """Return the vocabulary of a run whose data alone does not tell it: it began with another model, or a tokenizer.

    Raises: CheckpointError if its checkpoint is damaged.
    """
    from unrolled.saved.atomic_files import CheckpointError
    from unrolled.saved.checkpoints import load_state
    from unrolled.saved.model import load_model
    from unrolled.saved.vocabulary import Vocabulary

    state = load_state(run)
    if state.get("vocabulary") is None:
        return load_model(run)[1] if "started_from" in state["config"] else None  # of version 0.1
    try:
        return Vocabulary.from_json(state["vocabulary"])
    except ValueError as error:
        raise CheckpointError(f"{run}: the vocabulary of its checkpoint is damaged: {error}") from None
