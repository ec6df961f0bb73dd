"""Which tests a run skipped because something was missing, in one line, with the command that installs it."""

from collections import Counter
from collections.abc import Iterable

#: What a reason mentions, what is then missing, and how it comes on a Debian system; no command brings the last ones.
REMEDIES = (
    ("aarch64-linux-gnu-g++", "an ARM compiler", "apt install g++-aarch64-linux-gnu"),
    ("qemu-aarch64", "an ARM emulator", "apt install qemu-user-static"),
    ("browser", "a browser", "apt install chromium chromium-driver"),
    ("selenium", "a browser's driver", "pip install -e '.[dev]'"),
    ("g++", "a compiler", "apt install g++ binutils"),
    ("no compiler", "a compiler", "apt install g++ binutils"),
    ("extra [", "an extra", "pip install -e '.[dev,docs]'"),
    ("needs [", "an extra", "pip install -e '.[dev,docs]'"),
    ("No module named", "an extra", "pip install -e '.[dev,docs]'"),
    ("network namespaces", "network namespaces", "apt install iproute2, and run as root"),
    ("CUDA", "a GPU", ""),
    ("this processor has no", "an instruction set of this processor", ""),
)


def line(reasons: Iterable[str]) -> str:
    """Return the line for the reasons of all tests that were skipped; empty if none were.

    >>> line(["no CUDA device", "no CUDA device", "no browser to drive", "only on Mondays"])
    'skipped for want of a GPU (2), a browser (1: apt install chromium chromium-driver), other reasons (1)'
    """
    wants: Counter[tuple[str, str]] = Counter()
    for reason in reasons:
        found = ((what, command) for mark, what, command in REMEDIES if mark in reason)
        wants[next(found, ("other reasons", ""))] += 1
    told = [f"{what} ({count}{f': {command}' if command else ''})" for (what, command), count in wants.items()]
    return f"skipped for want of {', '.join(told)}" if told else ""
