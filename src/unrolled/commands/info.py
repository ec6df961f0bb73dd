"""`unrolled info`."""

from __future__ import annotations

import platform
from importlib import metadata, util

from cyclopts import App
from rich.table import Table
from rich.text import Text

from unrolled import __version__
from unrolled.commands import Flag
from unrolled.commands.console import PlainConsole, as_json
from unrolled.extras import EXTRAS

app = App(name="info", help_epilogue="")


@app.default
def info(*, json: Flag = False) -> None:
    """Show the version, the instruction set, threads, torch, and which extras are installed.

    Args:
        json: Print one line of JSON.
    """
    found = {"unrolled": __version__, "python": f"{platform.python_version()} on {platform.machine()}"} | _core()
    for extra, (module, *_) in EXTRAS.items():
        there = util.find_spec(module) is not None
        found[f"[{extra}]"] = f"{module} {metadata.version(module)}" if there else f"{module} is not installed"
    if json:
        print(as_json(found))
        return
    grid = Table.grid(padding=(0, 2))
    for name, value in found.items():
        grid.add_row(name, Text(value))
    PlainConsole().print(grid)


def _core() -> dict[str, str]:
    """Return what the compiled core says of itself and of this machine."""
    try:
        from unrolled import core
        from unrolled.core.threads import limits
    except ImportError as error:
        return {"core": str(error)}
    others = ", ".join(core.instruction_sets())
    return {
        "instruction set": f"{core.active_instruction_set()} (this machine can run {others})",
        "threads": limits(core.default_threads()),
    }
