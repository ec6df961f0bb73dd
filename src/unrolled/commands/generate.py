"""`unrolled generate`: needs no torch."""

from __future__ import annotations

import sys
from pathlib import Path

from unrolled import runtime
from unrolled.runtime.config import GenerationConfig


def generate(folder: Path, prompt: str, count: int, options: GenerationConfig) -> None:
    """Load a model and print its texts: one as it is written, several one after another."""
    if count < 1:
        raise ValueError(f"count is {count}; it must be a whole number of at least 1")
    model = runtime.load(folder)
    prompt = prompt.replace("\\n", "\n")
    if count == 1 and options.strategy != "beam":
        sys.stdout.write(prompt)
        for piece in model.stream(prompt, options):
            sys.stdout.write(piece)
            sys.stdout.flush()
        sys.stdout.write("\n")
        return
    for text in model.generate(prompt, options, count=count):
        print(prompt + text)
