"""What each command of the command line does."""

from __future__ import annotations


class WrongUse(ValueError):
    """The arguments of a command do not go together; the message says which, and what to give instead."""
