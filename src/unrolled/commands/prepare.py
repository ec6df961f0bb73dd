"""`unrolled prepare`."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from unrolled.commands import WrongUse, command, examples, inputs
from unrolled.commands.console import PlainConsole
from unrolled.config.checks import PositiveInt
from unrolled.config.data import DataConfig
from unrolled.saved.visible import is_screen
from unrolled.words import duration, sized

if TYPE_CHECKING:
    from unrolled.corpus.stretches import Progress

#: Seconds between two lines of progress where there is no terminal.
EVERY = 10.0

app = App(
    name="prepare",
    usage="Usage: unrolled prepare DATA... --out FOLDER [OPTIONS]",
    help_epilogue=examples(
        "unrolled prepare wikipedia.txt.zst --out corpora/wikipedia",
        "unrolled prepare books/ --split-by file --out corpora/books",
        "unrolled train corpora/books --minutes 60",
    ),
)


@app.default
def prepare(
    data: list[str],
    /,
    *,
    out: Path,
    processes: PositiveInt | None = None,
    dataset: Annotated[DataConfig, Parameter(name="*", group="Data")] = DataConfig(),
) -> None:
    """Encode data larger than memory into a folder that training can read.

    After an interruption, the same command continues where it stopped.

    Args:
        data: Files, folders, or - for standard input; gzip, bzip2, xz and zstd are unpacked as they are read.
        out: Folder for the prepared corpus; give it to train instead of the data.
        processes: Processes that encode in parallel, by default one for each processor.
    """
    from unrolled.core import default_threads
    from unrolled.corpus import finding
    from unrolled.corpus.corpus import Corpus
    from unrolled.corpus.preparing import prepare as encode

    if any(name in inputs.PACKAGED for name in inputs.named(data)):
        raise WrongUse(f"{' and '.join(inputs.PACKAGED)} are small; train reads them as they are")
    console = PlainConsole()
    with _shown(console) as progress:
        encode(data, out, dataset, processes=processes or default_threads(), progress=progress)
    corpus = Corpus.read(out)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # all was said when they were encoded
        sources = finding.find_sources(data, dataset.include, dataset.encoding)
    inputs.note_unread(dataset, corpus, [*map(str, sources)])
    size = sum(file.stat().st_size for file in out.iterdir() if file.is_file())
    console.print(f"{corpus!r}", soft_wrap=True)
    console.print(f"made {out}, {sized(size)}; train on it with: {command('train', out)}", soft_wrap=True)


@contextmanager
def _shown(console: PlainConsole) -> Iterator[Progress]:
    """Show how far the encoding is: a bar on a terminal, else a line now and then."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    if is_screen(console):
        columns = ("encoding", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("", total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total or None)
        return
    begun = shown = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal shown
        if done and time.monotonic() - shown >= EVERY:
            shown = time.monotonic()
            left = (total - done) * (shown - begun) / done
            console.print(f"{sized(done)} of {sized(total)} encoded, about {duration(left)} left")

    yield tell
