"""Run a saved or imported network with numpy and the compiled core, never torch."""

from __future__ import annotations

from pathlib import Path

from unrolled.config.checks import RuntimeWeights, check_value
from unrolled.runtime.model import RuntimeModel
from unrolled.runtime.state import State
from unrolled.runtime.streams import Streams
from unrolled.runtime.text import TextModel, writes_text
from unrolled.saved.network import Network
from unrolled.saved.network_folder import load_network

__all__ = ["RuntimeModel", "State", "Streams", "TextModel", "load"]


def load(source: str | Path | Network, *, weights: RuntimeWeights = "stored") -> RuntimeModel:
    """Load what training, ``save_pretrained`` or ``unrolled.nn.save`` saved; no code in the folder is run.

    Args:
        source: the folder, or a network that is in memory, as ``unrolled.imports`` returns it.
        weights: "stored" computes with the weights as they are in the folder; "float32" widens them first.
            "bfloat16" rounds them, and h in each step, to bfloat16, which a processor with units for it multiplies
            faster; c, the sums and the logits stay float32.  "int8" multiplies whole numbers, with one scale for each
            row of a matrix and one for what it multiplies at each step: a step of 256 units or more is twice as fast or
            faster.

    Returns: a `TextModel`, which generates and scores, where the network predicts the next symbol of a text.
    Raises: CheckpointError naming the file and what is wrong with it; ValueError for another name of `weights`.

    >>> from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
    >>> SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab", "characters")).save_pretrained("model")
    >>> wide, narrow = load("model"), load("model", weights="bfloat16")
    >>> abs(wide.score("abba").mean - narrow.score("abba").mean) < 0.01
    True
    """
    check_value("weights", weights, RuntimeWeights)
    network = source if isinstance(source, Network) else load_network(source)
    return (TextModel if writes_text(network) else RuntimeModel)(network, weights)
