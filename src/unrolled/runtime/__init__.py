"""Load a saved model, step it, score and generate with it: numpy only, never torch."""

from __future__ import annotations

from pathlib import Path

from unrolled.config.checks import Precision, check_value
from unrolled.runtime.model import RuntimeModel

__all__ = ["load"]


def load(folder: str | Path, *, weights: Precision = "float32") -> RuntimeModel:
    """Load a model that was saved by training or by ``save_pretrained``; no code in the folder is run.

    Args:
        folder: of the model.
        weights: "float32" computes with the weights as they were saved.  "bfloat16" rounds them, and h in each step, to
            bfloat16, which a processor with units for it multiplies faster; c, the sums and the logits stay float32.

    Raises: CheckpointError naming the file and what is wrong with it; ValueError for another name of `weights`.

    >>> from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
    >>> SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab", "characters")).save_pretrained("model")
    >>> wide, narrow = load("model"), load("model", weights="bfloat16")
    >>> abs(wide.score("abba").mean - narrow.score("abba").mean) < 0.01
    True
    """
    check_value("weights", weights, Precision)
    return RuntimeModel.load(folder, weights)
