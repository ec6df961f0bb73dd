"""Which data a command reads, what a run remembers of it, and how it is read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unrolled.config.data import DataConfig
from unrolled.corpus.corpus import Corpus
from unrolled.corpus.reading import CorpusError
from unrolled.corpus.sonnets import sonnets
from unrolled.saved.vocabulary import Vocabulary

#: The word that stands for the text that comes with the package, and for standard input.
SHIPPED, STANDARD_INPUT = "sonnets", "-"
#: What to do without the data a model was trained on.
REMEDY = "name other data to measure on, with --no-baselines"


def read(data: Sequence[str], config: DataConfig, vocabulary: Vocabulary | None = None) -> Corpus:
    """Return the corpus of files, folders, standard input or the shipped text.

    Raises: CorpusError naming the file and what is wrong with it.
    """
    if list(data) == [SHIPPED] and not Path(SHIPPED).exists():
        return Corpus.from_text(sonnets(), config, vocabulary=vocabulary)
    return Corpus.read(list(data), config, vocabulary=vocabulary)


def origin(data: Sequence[str], config: DataConfig, corpus: Corpus) -> dict[str, Any]:
    """Return what a model's config.json remembers of its data, good from any working folder.

    >>> origin([SHIPPED], DataConfig(), Corpus.from_text("abab" * 30))["sources"]
    ['sonnets']
    """
    named = [name if name == STANDARD_INPUT or not Path(name).exists() else str(Path(name).resolve()) for name in data]
    return {"data": asdict(config), "sources": named, "fingerprint": corpus.fingerprint}


def read_again(folder: Path, saved: dict[str, Any], vocabulary: Vocabulary) -> Corpus:
    """Return the corpus a model was trained on, from what its config.json remembers.

    Raises: CorpusError if that data is not to be had, or is no longer what the model was trained on.
    """
    sources, config = saved.get("sources"), saved.get("data")
    if not sources or config is None or STANDARD_INPUT in sources:
        raise CorpusError(f"{folder}: the model remembers no files it was trained on; {REMEDY}")
    try:
        corpus = read(sources, DataConfig(**config), vocabulary)
    except CorpusError as error:
        raise CorpusError(f"the model's own data cannot be read again: {error}; or {REMEDY}") from None
    if saved.get("fingerprint", corpus.fingerprint) != corpus.fingerprint:
        raise CorpusError(f"{', '.join(sources)}: changed since the model was trained on it; {REMEDY}")
    return corpus
