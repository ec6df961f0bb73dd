"""`unrolled generate`: needs no torch."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from unrolled import runtime
from unrolled.commands import WrongUse
from unrolled.config.generation import GenerationConfig


def generate(folder: Path, prompt: str, count: int, options: GenerationConfig) -> None:
    """Load a model and print its texts: one as it is written, several one after another."""
    if count > 1 and options.strategy != "sample":
        raise WrongUse(f"--count is {count}, but {options.strategy} finds the same text each time; use sample")
    model = runtime.load(folder)
    prompt = prompt.replace("\\n", "\n")
    unknown = int((model.vocabulary.encode(prompt) == model.vocabulary.unk_id).sum())
    if unknown:
        warnings.warn(f"symbols of the prompt that the model does not know, read as UNK: {unknown:,}", stacklevel=1)
    apart = prompt and not prompt[-1].isspace()
    shown = prompt + model.vocabulary.tokenizer.separator if apart else prompt
    if count == 1 and options.strategy != "beam":
        sys.stdout.write(shown)
        for piece in model.stream(prompt, options):
            sys.stdout.write(piece)
            sys.stdout.flush()
        sys.stdout.write("\n")
        return
    for text in model.generate(prompt, options, count=count):
        print(shown + text)
