"""What holds for the arguments of every command: how numbers are read, and what is said of what does not fit."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from cyclopts import App, ArgumentCollection, CycloptsError
from cyclopts.exceptions import CoercionError, MissingArgumentError, UnknownOptionError, UnusedCliTokensError
from cyclopts.help import DefaultFormatter, HelpPanel, InlineText
from rich.text import Text

from unrolled.commands import WrongUse
from unrolled.config.checks import PLAIN, Number, number_in
from unrolled.config.options import brief, named_as_flags, option


def check_numbers(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse text that is not the number its option takes: the parser would round 1.5 to a whole number.

    Raises: ValueError naming the flag, its value and what is legal.
    """
    for argument in arguments:
        number = number_in(argument.field_info.annotation)
        if number is None:
            if _is_path(argument.hint) and any(not token.value for token in argument.tokens):
                raise ValueError(f"{argument.name} is empty; give a path, or . for the folder that you are in")
            continue
        words = _words(argument.hint)
        for token in argument.tokens:
            value = _read(number, token.value)
            # the configuration that an option is a field of checks its range
            fits = number.allows(value) or (argument.keys and isinstance(value, number.kind)) or token.value in words
            if not fits:
                legal = " or ".join([str(number), *words])
                came = brief(token.value if value is None else value)
                raise ValueError(f"{argument.name} is {came}; it must be {legal}")


def _is_path(hint: Any) -> bool:
    return hint is Path or any(map(_is_path, get_args(hint)))


def _words(hint: Any) -> list[str]:
    """Return the words that an option takes in the place of a number."""
    return [word for part in get_args(hint) if get_origin(part) is Literal for word in get_args(part)]


def _read(number: Number, text: str) -> float | None:
    """Return the number that a text is, None if it is none."""
    for kind in (int, float) if number.kind is int else (float,):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


class WrappedHelp(DefaultFormatter):
    """Shows help whose descriptions wrap where the terminal ends, not where a line of a docstring does."""

    def __init__(self, chosen: Collection[str] = ()):
        """`chosen` names the options that the command chooses if they are not given: their defaults are not used."""
        super().__init__()
        with named_as_flags():
            self._chosen = {*map(option, chosen)}

    def __call__(self, console: Any, options: Any, panel: HelpPanel) -> None:
        """Print one panel."""
        for number, entry in enumerate(panel.entries):
            if self._chosen.intersection(entry.positive_names):
                panel.entries[number] = entry.copy(default="chosen")
            elif entry.default == '""':  # the description says what no text means
                panel.entries[number] = entry.copy(default=None)
            described = entry.description
            if isinstance(described, InlineText):
                described.primary_renderable = Text(" ".join(str(described.primary_renderable).split()))
        super().__call__(console, options, panel)


def refuse_unused(given: Collection[str], chosen: str, obeyed: Mapping[str, str], by: str = "") -> None:
    """Refuse options that a choice does not obey.

    Args:
        given: names of the options that were given.
        chosen: the choice, a key of `obeyed`.
        obeyed: names of the options of each choice, with spaces between.
        by: the option that makes the choice, if it is no argument.

    Raises: WrongUse naming the option, and the choices that obey it.
    """
    for name in given:
        if name not in obeyed[chosen].split():
            takers = ", ".join(each for each, names in obeyed.items() if name in names.split())
            raise WrongUse(
                f"{option(name)} does nothing for {option(by, chosen) if by else chosen}; it is for {takers}"
            )


def plainly(error: CycloptsError, arguments: Sequence[str]) -> str:
    """Return what is wrong with the arguments, in words for whoever typed them."""
    command = " ".join(error.command_chain or ())
    help_of = f"see unrolled {command} --help"
    if isinstance(error, UnusedCliTokensError):
        unused = error.unused_tokens or []
        return f"{shlex.join(unused)} is more than {command} takes; put quotes around a text with spaces, or {help_of}"
    if isinstance(error, UnknownOptionError) and "--" in arguments:
        known = [name for each in error.argument_collection for name in each.names]
        came = error.token.keyword or error.token.value
        if came in known:
            return f"{came} stands after --, where everything is text; put the options before it"
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        if error.keyword:
            return f"{error.keyword} needs a value"
        return f"{command} needs {error.argument.name}; {help_of}"
    if isinstance(error, CoercionError) and error.target_type in PLAIN and error.token and error.argument:
        return f"{error.argument.name} is {brief(error.token.value)}; it must be {PLAIN[error.target_type]}"
    return str(error)
