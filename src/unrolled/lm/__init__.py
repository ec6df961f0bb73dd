"""Learn symbol sequences, say how well, and write new ones.

>>> from unrolled.lm import Corpus, ModelConfig, SequenceModel, TrainingConfig
>>> corpus = Corpus.from_sequences([["a"] * n + ["b"] * n for n in range(1, 6)], validation=0, test=0)
>>> model = SequenceModel(ModelConfig(cell="lstm", hidden_size=10), corpus.vocabulary)
>>> result = model.fit(corpus, TrainingConfig(learning_rate=0.02, max_steps=20))
>>> result.steps, model.evaluate(corpus, "train").nats < 1.386
(20, True)
"""

from unrolled.config.data import DataConfig
from unrolled.config.generation import GenerationConfig
from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.lm.callbacks import Observer
from unrolled.lm.model import SequenceModel
from unrolled.saved.vocabulary import Vocabulary

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
