"""Which data a command reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unrolled.lm.config import DataConfig
from unrolled.lm.corpus import Corpus, sonnets
from unrolled.lm.vocabulary import Vocabulary

#: The word that stands for the text that comes with the package.
SHIPPED = "sonnets"


def read(data: Sequence[str], config: DataConfig, vocabulary: Vocabulary | None = None) -> Corpus:
    """Return the corpus of files, folders, standard input or the shipped text.

    Raises: CorpusError naming the file and what is wrong with it.
    """
    if list(data) == [SHIPPED] and not Path(SHIPPED).exists():
        return Corpus.from_text(sonnets(), config, vocabulary=vocabulary)
    return Corpus.read(list(data), config, vocabulary=vocabulary)


def read_again(saved: dict[str, Any], vocabulary: Vocabulary) -> Corpus:
    """Return the corpus a model was trained on, from what its config.json remembers.

    Raises: ValueError if it remembers no data that can be read again.
    """
    sources, config = saved.get("sources"), saved.get("data")
    if not sources or config is None or "-" in sources:
        raise ValueError("the model does not remember files it was trained on; name other data and give --no-baselines")
    return read(sources, DataConfig(**config), vocabulary)
