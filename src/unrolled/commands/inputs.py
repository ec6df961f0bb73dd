"""Resolve, record and re-read a run's inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.config.data import DataConfig

if TYPE_CHECKING:
    from unrolled.corpus.corpus import Corpus
    from unrolled.saved.vocabulary import Vocabulary

#: The word for the text that comes with the package, and the sign for standard input.
SHIPPED, STANDARD_INPUT = "sonnets", "-"
#: What to do without the data a model was trained on.
REMEDY = "name other data to measure on, with --no-baselines"


def read(data: Sequence[str], config: DataConfig, vocabulary: Vocabulary | None = None) -> Corpus:
    """Return the corpus of files, folders, standard input or the shipped text.

    Raises: CorpusError naming the file and what is wrong with it.
    """
    from unrolled.corpus.corpus import Corpus
    from unrolled.corpus.sonnets import sonnets

    if list(data) == [SHIPPED] and not Path(SHIPPED).exists():
        return Corpus.from_text(sonnets(), config, vocabulary=vocabulary)
    return Corpus.read(list(data), config, vocabulary=vocabulary)


def origin(data: Sequence[str], config: DataConfig, corpus: Corpus) -> dict[str, Any]:
    """Return what config.json records of a run's data, valid from any working folder.

    >>> from unrolled.corpus.corpus import Corpus
    >>> origin([SHIPPED], DataConfig(), Corpus.from_text("abab" * 30))["sources"]
    ['sonnets']
    """
    named = [name if name == STANDARD_INPUT or not Path(name).exists() else str(Path(name).resolve()) for name in data]
    return {"data": asdict(config), "sources": named, "fingerprint": corpus.fingerprint}


def read_again(folder: Path, saved: dict[str, Any], vocabulary: Vocabulary) -> Corpus:
    """Return the corpus that a model was trained on, from what its config.json records.

    Raises: CorpusError if that data cannot be read, or is no longer what the model was trained on.
    """
    from unrolled.corpus.reading import CorpusError

    sources, config = saved.get("sources"), saved.get("data")
    if not sources or config is None or STANDARD_INPUT in sources:
        raise CorpusError(f"{folder}: the model's config.json records no files that it was trained on; {REMEDY}")
    try:
        corpus = read(sources, DataConfig(**config), vocabulary)
    except CorpusError as error:
        raise CorpusError(f"the model's own data cannot be read again: {error}; or {REMEDY}") from None
    if saved.get("fingerprint", corpus.fingerprint) != corpus.fingerprint:
        raise CorpusError(f"{', '.join(sources)}: changed since the model was trained on it; {REMEDY}")
    return corpus
