"""`unrolled generate`: needs no torch."""

from __future__ import annotations

import secrets
import sys
from typing import Annotated

import msgspec
from cyclopts import App, ArgumentCollection, Parameter, Token

from unrolled.commands import Flag, Model, WrongUse, examples, inputs
from unrolled.commands.arguments import check_numbers
from unrolled.commands.console import printable
from unrolled.config.checks import PositiveInt
from unrolled.config.generation import GenerationConfig

#: Seeds that a call without one draws from.
SEEDS = 1 << 31


def _own_seed(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Give a call without --seed a seed of its own, so that each writes another text."""
    seed = next(argument for argument in arguments if argument.name == "--seed")
    if not seed.tokens:
        seed.append(Token(keyword=seed.name, value=str(secrets.randbelow(SEEDS)), source="chance"))


app = App(
    name="generate",
    usage="Usage: unrolled generate MODEL [PROMPT] [OPTIONS]",
    help_epilogue=examples(
        "unrolled generate runs/sonnets 'Shall I compare ' --temperature 0.7",
        "unrolled generate runs/tunes --count 5",
        "unrolled generate runs/sonnets --max-length 40 -- '- a text with a hyphen'",
    ),
    config=(check_numbers, _own_seed),
)


@app.default
def generate(
    model: Model,
    prompt: str = "",
    /,
    *,
    count: PositiveInt = 1,
    json: Flag = False,
    options: Annotated[GenerationConfig, Parameter(name="*", group="Generation")] = GenerationConfig(),
) -> None:
    r"""Write new text, symbol by symbol; without --seed, a different one each time.

    Args:
        prompt: Text to continue; symbols are separated by spaces, and \n is a line end.  Put -- before one that
            begins with a hyphen, after all options.
        count: Number of texts, each sampled independently; a blank line stands between texts of several lines.
        json: Write each text as a line of JSON, with the prompt and the seed.
    """
    if count > 1 and options.strategy != "sample":
        raise WrongUse(f"--count is {count}, but {options.strategy} finds the same text each time; use sample")
    from unrolled import runtime

    loaded = runtime.load(model)
    prompt = inputs.typed(prompt)
    inputs.note_unknown(loaded.vocabulary, [prompt])
    apart = prompt and not prompt[-1].isspace()
    shown = prompt + loaded.vocabulary.tokenizer.separator if apart else prompt
    if count == 1 and options.strategy != "beam" and not json:
        sys.stdout.write(printable(shown))
        for piece in loaded.stream(prompt, options):
            sys.stdout.write(printable(piece))
            sys.stdout.flush()
        sys.stdout.write("\n")
        return
    for number, text in enumerate(loaded.generate(prompt, options, count=count)):
        if json:
            line = {"prompt": prompt, "text": text, "seed": options.seed, "number": number}
            print(printable(msgspec.json.encode(line).decode()))
        else:
            print("\n" * (number > 0 and not loaded.framed) + printable(shown + text))
