"""`unrolled generate`: needs no torch."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import App, Parameter

from unrolled.commands import Model, WrongUse, examples, inputs
from unrolled.config.checks import PositiveInt
from unrolled.config.generation import GenerationConfig

app = App(
    name="generate",
    usage="Usage: unrolled generate MODEL [PROMPT] [OPTIONS]",
    help_epilogue=examples(
        "unrolled generate runs/sonnets 'Shall I compare ' --temperature 0.7",
        "unrolled generate runs/tunes --count 5",
    ),
)


@app.default
def generate(
    model: Model,
    prompt: str = "",
    /,
    *,
    count: PositiveInt = 1,
    options: Annotated[GenerationConfig, Parameter(name="*", group="Generation")] = GenerationConfig(),
) -> None:
    r"""Write new text, symbol by symbol.

    Args:
        prompt: Text to continue; symbols are separated by spaces, and \n is a line end.
        count: Number of texts, each sampled independently.
    """
    if count > 1 and options.strategy != "sample":
        raise WrongUse(f"--count is {count}, but {options.strategy} finds the same text each time; use sample")
    from unrolled import runtime

    loaded = runtime.load(model)
    prompt = inputs.typed(prompt)
    inputs.note_unknown(loaded.vocabulary, [prompt])
    apart = prompt and not prompt[-1].isspace()
    shown = prompt + loaded.vocabulary.tokenizer.separator if apart else prompt
    if count == 1 and options.strategy != "beam":
        sys.stdout.write(shown)
        for piece in loaded.stream(prompt, options):
            sys.stdout.write(piece)
            sys.stdout.flush()
        sys.stdout.write("\n")
        return
    for text in loaded.generate(prompt, options, count=count):
        print(shown + text)
