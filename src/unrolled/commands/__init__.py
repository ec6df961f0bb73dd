"""The commands of `unrolled`, one file each: signature, text of `--help` and body in one function.

A new command is a file here with an `app`, and its name in cli.py.  `unrolled --help` imports every command, so none
imports numpy or torch at its top; functions import what does.  What commands share is in arguments.py (numbers, errors
of use), configuration.py (TOML and resumed options), inputs.py (data) and console.py (printing); pictures.py draws for
`view`, lecture.py for `picture`.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

#: The first argument of most commands.
Model = Annotated[Path, Parameter(help="Folder of a trained model.")]
#: An option without a --no-option.
Flag = Annotated[bool, Parameter(negative="")]


class WrongUse(ValueError):
    """The arguments of a command do not go together; the message says which, and what to give instead."""


def command(*words: object) -> str:
    """Return a command of this package as it can be pasted into a shell.

    >>> command("generate", Path("my runs/a"))
    "unrolled generate 'my runs/a'"
    """
    return shlex.join(["unrolled", *map(str, words)])


def examples(*commands: str) -> str:
    """Return the end of a command's help.

    >>> print(examples("unrolled info"))
    Examples:
      unrolled info
    """
    return "\n  ".join(("Examples:", *commands))
