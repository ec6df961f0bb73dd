"""Load a saved model, step it, score and generate with it: numpy only, never torch."""

from __future__ import annotations

from pathlib import Path

from unrolled.runtime.model import RuntimeModel

__all__ = ["load"]


def load(folder: str | Path) -> RuntimeModel:
    """Load a model that was saved by training or by ``save_pretrained``; no code in the folder is run.

    Raises: CheckpointError naming the file and what is wrong with it.
    """
    return RuntimeModel.load(folder)
