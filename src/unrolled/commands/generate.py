"""`unrolled generate`: needs no torch."""

from __future__ import annotations

import secrets
import sys
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, ArgumentCollection, Parameter, Token

from unrolled.commands import Flag, Model, WrongUse, examples, inputs
from unrolled.commands.arguments import WrappedHelp, check_numbers
from unrolled.commands.console import as_json, printable, write_out
from unrolled.config.checks import PositiveInt
from unrolled.config.data import ReadingConfig
from unrolled.config.generation import GenerationConfig
from unrolled.config.options import note_idle

if TYPE_CHECKING:
    from unrolled.runtime.text import TextModel
    from unrolled.saved.vocabulary import Text, Vocabulary

#: Seeds that a call without one draws from.
SEEDS = 1 << 31


def _own_seed(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Give a call that draws, without --seed, a seed of its own, so that each writes another text."""
    seed, strategy = (next(each for each in arguments if each.name == name) for name in ("--seed", "--strategy"))
    draws = all(token.value == "sample" for token in strategy.tokens)
    if draws and not seed.tokens:
        seed.append(Token(keyword=seed.name, value=str(secrets.randbelow(SEEDS)), source="chance"))


app = App(
    name="generate",
    usage="Usage: unrolled generate MODEL [PROMPT] [OPTIONS]",
    help_epilogue=examples(
        "unrolled generate runs/sonnets 'Shall I compare ' --temperature 0.7",
        "unrolled generate runs/tunes --count 5 --stop ' G'",
        "unrolled generate runs/sonnets --max-length 40 -- '- a text with a hyphen'",
    ),
    config=(check_numbers, _own_seed),
    help_formatter=WrappedHelp(["seed"]),
)


@app.default
def generate(
    model: Model,
    prompt: str = "",
    /,
    *,
    count: PositiveInt = 1,
    file: Path | None = None,
    out: Path | None = None,
    repeat: Annotated[bool, Parameter(name="--prompt", negative="--no-prompt")] = True,
    json: Flag = False,
    options: Annotated[GenerationConfig, Parameter(name="*", group="Generation")] = GenerationConfig(),
) -> None:
    r"""Write new text, symbol by symbol; without --seed, a different one each time.

    Args:
        prompt: Text to continue, or - for standard input; symbols are separated by spaces, and \n is a line end.  Put
            a prompt that begins with a hyphen last, after --.
        file: Continue the text of this file; if the model learned sequences, each line of it.
        count: Number of texts, each sampled independently; a blank line separates texts of several lines.
        out: File to write to, instead of standard output.
        repeat: Write the prompt before each text.
        json: Write each text as a line of JSON, with its number and the seed, and with the prompt unless --no-prompt.
    """
    if count > 1 and options.strategy != "sample":
        raise WrongUse(f"--count is {count}, but {options.strategy} finds the same text each time; use sample")
    note_idle(options, options.without_effect())
    from unrolled.runtime.text import TextModel
    from unrolled.runtime.unknown import never_written
    from unrolled.saved.tokenizers.base import ByteTokenizer, exact_bytes

    loaded = TextModel.load(model)
    options = replace(options, stop=inputs.typed_for(loaded.vocabulary, options.stop))
    if file is None and prompt != inputs.STANDARD_INPUT:
        prompts: Sequence[Text] = [inputs.typed_for(loaded.vocabulary, prompt)]
    else:
        prompts = inputs.read_text(model, prompt or None, file, ReadingConfig()) or [""]
    inputs.note_unknown(loaded.vocabulary, prompts)
    if said := never_written(loaded.vocabulary, options.stop):
        warnings.warn(f"--stop ends no text: {said}", stacklevel=2)
    # A terminal and JSON show text; a file and a pipe get the bytes that a model of bytes writes.
    pipe = hasattr(sys.stdout, "buffer") and not sys.stdout.isatty()
    exactly = isinstance(loaded.vocabulary.tokenizer, ByteTokenizer) and not json and (out or pipe)
    write = _write_bytes if exactly else _write
    with exact_bytes() if exactly else nullcontext():
        if count == 1 and len(prompts) == 1 and options.strategy != "beam" and not json and out is None:
            write(_head(prompts[0], loaded.vocabulary) if repeat else "")
            for piece in loaded.stream(prompts[0], options):
                write(piece)
            write("\n")
            return
        whole = _texts(loaded, prompts, count, options, repeat, json)
    if out is not None:
        write_out(out, whole)
    else:
        write(whole)


def _texts(
    loaded: TextModel, prompts: Sequence[Text], count: int, options: GenerationConfig, repeat: bool, json: bool
) -> str:
    """Return all texts that are asked for, or their lines of JSON."""
    if len(prompts) == 1:
        texts = loaded.generate(prompts[0], options, count=count)
    elif count == 1:
        texts = loaded.generate_each(prompts, options)
    else:
        raise WrongUse(f"--count is {count}, but there are {len(prompts):,} prompts, each with a text of its own")
    lines = []
    for number, text in enumerate(texts):
        given = prompts[number % len(prompts)]
        if json:
            line = {"prompt": _text(given)} if repeat else {}
            lines.append(as_json(line | {"text": text, "seed": options.seed, "number": number}))
        else:
            head = _head(given, loaded.vocabulary) if repeat else ""
            lines.append("\n" * (number > 0 and not loaded.framed) + head + text)
    return "".join(line + "\n" for line in lines)


def _write(text: str) -> None:
    sys.stdout.write(printable(text))
    sys.stdout.flush()


def _write_bytes(text: str) -> None:
    """Write a text in UTF-8, and the bytes that are none as they are."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode(errors="surrogateescape"))
    sys.stdout.buffer.flush()


def _head(prompt: Text, vocabulary: Vocabulary) -> str:
    """Return a prompt as it stands before its continuation."""
    head, reader = _text(prompt), vocabulary.tokenizer
    return head + reader.separator if head and not (reader.spaces_first or head[-1].isspace()) else head


def _text(prompt: Text) -> str:
    from unrolled.saved.tokenizers.base import text_of

    text = inputs.joined([prompt])
    return text_of(text) if isinstance(text, bytes) else text
