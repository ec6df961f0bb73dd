"""From files to encoded, split and batched symbols, and the baselines a model is compared with; no torch."""

from __future__ import annotations

from unrolled.corpus.corpus import Corpus
from unrolled.corpus.preparing import prepare
from unrolled.corpus.reading import CorpusError, CorpusWarning

__all__ = ["Corpus", "CorpusError", "CorpusWarning", "prepare"]
