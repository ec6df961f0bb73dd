"""The options of `unrolled lab`; no torch and no numpy here, because `--help` imports it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.types import PositiveInt

from unrolled.config.lab import LabConfig

app = App(
    name="lab",
    help="Train many small models on a formal language, and count the strings they get right.",
    help_epilogue="\n  ".join(
        (
            "Examples:",
            "unrolled lab anbn",
            "unrolled lab dyck-1 --cell gru --units 4 --lengths short:1-25 --out runs/dyck",
            "unrolled lab reproduce suzgun2019 --out runs/suzgun",
            "unrolled lab list",
        )
    ),
)


@app.default
def lab(
    language: str,
    /,
    *,
    limit: PositiveInt = 1000,
    out: Path | None = None,
    from_golden: Annotated[bool, Parameter(negative="")] = False,
    config: Annotated[LabConfig, Parameter(name="*", group="Training")] = LabConfig(),
) -> None:
    """Train models on one language, all seeds together, and measure each.

    Args:
        language: One of `unrolled lab list`.
        limit: Largest size to try; every size up to the first failing one is tried.
        out: Folder for tables, plots and models; the same command again shows the results there.
        from_golden: Start from exact weights set by hand, and show how training leaves them.
    """
    from unrolled.commands.lab import run

    run(language, config, limit, out, from_golden)


@app.command
def reproduce(
    name: str,
    /,
    *,
    full: Annotated[bool, Parameter(negative="")] = False,
    seeds: int = 0,
    out: Path | None = None,
) -> None:
    """Run a published experiment and show its results beside ours; an interrupted run is resumed.

    Args:
        name: suzgun2019, weiss2018, gers2001, lan2022, deletang2022, elis, or defaults.
        full: As many steps as were published, instead of as many as a few minutes allow.
        seeds: Models of each row; 0 takes the experiment's own number.
        out: Folder for results, tables and plots; lab/NAME by default.
    """
    from unrolled.commands.lab import reproduce as command

    command(name, full, seeds, out)


@app.command(name="list")
def listing() -> None:
    """List the languages and the published experiments."""
    from unrolled.commands.lab import listing as command

    command()
