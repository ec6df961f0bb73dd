"""What `train` says at the end of a run: where the model is, one text by it, and commands to try."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.commands import command, inputs
from unrolled.commands.console import PlainConsole
from unrolled.config.options import typed

if TYPE_CHECKING:
    from unrolled.corpus.corpus import Corpus
    from unrolled.lm.model import SequenceModel
    from unrolled.lm.run import Result

#: Characters of a text that a command repeats, at most and at least, and what share of them is the prompt.
LONGEST, SHORTEST, PROMPT = 48, 12, 0.4
#: Symbols of a held-out stream, and sequences, in which a text for the commands is looked for.
SEARCHED, SEQUENCES = 4000, 200
#: Symbols of the text by the model: smaller ones than words, and words.
LENGTH, WORDS = 200, 40
#: The temperature of that text.
TEMPERATURE = 0.8


def show_outcome(console: PlainConsole, model: SequenceModel, corpus: Corpus, out: Path) -> None:
    """Print a text by a model, where the model is, and commands that can be tried as they stand."""
    text, reader = quotable(corpus), model.vocabulary.tokenizer
    prompt = beginning_of(text)
    apart = "" if reader.spaces_first or not prompt or prompt[-1].isspace() else reader.separator
    if reader.spaces_first:
        prompt = prompt.rstrip()
    [written] = model.generate(
        prompt, max_length=WORDS if reader.separator else LENGTH, temperature=TEMPERATURE, seed=1
    )
    console.print(f"one text by the model, at temperature {TEMPERATURE:g}:\n\n{prompt}{apart}{written}\n")
    console.print(f"wrote {out}; try:")
    for each in commands(out, text, prompt):
        console.print(f"  {each}", soft_wrap=True)


def show_interrupted(console: PlainConsole, result: Result, out: Path) -> None:
    """Print which model a run that was ended on request has kept, and a command to try."""
    kept = "its last weights" if result.validation is None else "the best so far"
    console.print(f"kept {kept} in {out}; try: {command('generate', out)}", soft_wrap=True)


def commands(out: Path, text: str, prompt: str) -> list[str]:
    """Return three commands for a model in a folder.

    Args:
        out: the folder.
        text: of held-out data; "" for none.
        prompt: its beginning.

    >>> commands(Path("runs/a"), "- so long", "- so")[0]
    "unrolled generate runs/a --temperature 0.8 -- '- so'"
    """

    def given(words: str) -> list[str]:
        return ["--", words] if words.startswith("-") else [words]

    warm = ["--temperature", TEMPERATURE]
    if not text:
        return [command("generate", out, *warm), command("generate", out, "--count", 3), command("evaluate", out)]
    return [
        command("generate", out, *warm, *given(prompt)),
        command("score", out, *given(text)),
        command("view", out, *given(prompt)),
    ]


def quotable(corpus: Corpus) -> str:
    """Return a line of held-out data that can be typed in a shell, of a size that can be read; "" if there is none."""
    vocabulary = corpus.vocabulary

    def typable(line: str) -> bool:
        ids = vocabulary.encode(line)
        return (
            line.isprintable()
            and line not in ("", inputs.STANDARD_INPUT)
            and typed(line) == line
            and vocabulary.unk_id not in ids
            and vocabulary.text(ids) == line
        )

    found = [line for line in _lines(corpus) if typable(line)]
    long = [line for line in found if len(line) >= SHORTEST]
    return next(iter(long or found), "")


def beginning_of(text: str) -> str:
    """Return the beginning of a text: whole words where it has several.

    >>> beginning_of("Shall I compare thee to a summer"), beginning_of("Anna"), beginning_of("")
    ('Shall I compare ', 'A', '')
    """
    words = text.split(" ")
    if len(words) > 1:
        return " ".join([*words[: max(1, round(PROMPT * len(words)))], ""])
    return text[: max(1, int(PROMPT * len(text)))]


def _lines(corpus: Corpus) -> Iterator[str]:
    """Yield lines of a split that is held out, else of the training data, each cut to what a command repeats."""
    part = next(part for part in (corpus.test, corpus.validation, corpus.train) if len(part))
    eos = corpus.vocabulary.eos_id
    for ids in islice(part, SEQUENCES):
        head = ids[:SEARCHED]
        text = corpus.vocabulary.text(head[head != eos])
        for line in map(str.rstrip, text.split("\n")[corpus.stream :]):  # a stream begins within a line
            end = len(line) if len(line) <= LONGEST else line.rfind(" ", SHORTEST, LONGEST)
            yield line[:end] if end > 0 else line[:LONGEST]
