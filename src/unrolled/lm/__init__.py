"""Learn symbol sequences, say how well, and write new ones.

>>> from unrolled.lm import Corpus, ModelConfig, SequenceModel, TrainingConfig
>>> corpus = Corpus.from_sequences([["a"] * n + ["b"] * n for n in range(1, 6)], validation=0, test=0)
>>> model = SequenceModel(ModelConfig(cell="lstm", hidden_size=10), corpus.vocabulary)
>>> result = model.fit(corpus, TrainingConfig(learning_rate=0.02, max_steps=20))
>>> result.steps, model.evaluate(corpus, "train").nats < 1.386
(20, True)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.lazy import attributes

if TYPE_CHECKING:
    from unrolled.lm.config import DataConfig, GenerationConfig, ModelConfig, TrainingConfig
    from unrolled.lm.corpus import Corpus
    from unrolled.lm.model import SequenceModel
    from unrolled.lm.observer import Observer
    from unrolled.lm.vocabulary import Vocabulary

__all__ = [
    "Corpus",
    "DataConfig",
    "GenerationConfig",
    "ModelConfig",
    "Observer",
    "SequenceModel",
    "TrainingConfig",
    "Vocabulary",
]

#: Where each public name lives.
_HOMES = {
    "Corpus": "corpus",
    "DataConfig": "config",
    "GenerationConfig": "config",
    "ModelConfig": "config",
    "Observer": "observer",
    "SequenceModel": "model",
    "TrainingConfig": "config",
    "Vocabulary": "vocabulary",
}

__getattr__ = attributes(__name__, _HOMES)
