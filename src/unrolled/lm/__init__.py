"""The language model: train it on symbol sequences, evaluate it, generate new ones.

>>> from unrolled.lm import Corpus, ModelConfig, SequenceModel, TrainingConfig, evaluate, train
>>> corpus = Corpus.from_sequences([["a"] * n + ["b"] * n for n in range(1, 6)], validation=0, test=0)
>>> model = SequenceModel(ModelConfig(cell="lstm", hidden_size=10), corpus.vocabulary)
>>> result = train(model, corpus, TrainingConfig(learning_rate=0.02, max_steps=20))
>>> result.steps, evaluate(model, corpus, "train").nats < 1.386
(20, True)
"""

from unrolled.config.data import DataConfig
from unrolled.config.generation import GenerationConfig
from unrolled.config.model import ModelConfig
from unrolled.config.training import TrainingConfig
from unrolled.corpus.corpus import Corpus
from unrolled.lm.calibration import recipe_for
from unrolled.lm.callbacks import Callback
from unrolled.lm.display import Display
from unrolled.lm.evaluation import evaluate
from unrolled.lm.model import SequenceModel
from unrolled.lm.training import train
from unrolled.saved.vocabulary import Vocabulary

__all__ = [
    "Callback",
    "Corpus",
    "DataConfig",
    "Display",
    "GenerationConfig",
    "ModelConfig",
    "SequenceModel",
    "TrainingConfig",
    "Vocabulary",
    "evaluate",
    "recipe_for",
    "train",
]
