"""Training progress in a terminal: a live panel, or plain lines if the output is not a terminal."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from unrolled.lm.callbacks import Callback
from unrolled.lm.run import Result, Run
from unrolled.saved.visible import shown
from unrolled.words import counted, rounded

#: Symbols in the sample.
SAMPLE = 60
#: Seconds between plain lines.
PLAIN_EVERY = 10.0


def duration(seconds: float) -> str:
    """Return a time span in words.

    >>> duration(7.4), duration(200), duration(7300)
    ('7 s', '3 min 20 s', '2 h 1 min')
    """
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class Display(Callback):
    """Shows loss, speed, time left, gradient norm and a sample of generated text.

    Args: console: where to print; default is standard output.
    """

    def __init__(self, console: Console | None = None):
        self.console = console or Console()
        self.live: Live | None = None
        self.line: dict[str, Any] = {}
        self.validation = ""
        self.sample = ""
        self.printed = time.monotonic()

    def on_train_begin(self, run: Run) -> None:
        """Print the model and the corpus."""
        self.console.print(f"{run.model!r}\n{run.corpus!r}", highlight=False, markup=False, soft_wrap=True)
        if self.console.is_terminal:
            self.live = Live(console=self.console, refresh_per_second=8, transient=True)
            self.live.start()

    def on_log(self, run: Run, line: dict[str, Any]) -> None:
        """Update the panel, or print a line every few seconds."""
        self.line = line
        if self.live:
            self.live.update(self._panel(run))
        elif time.monotonic() - self.printed >= PLAIN_EVERY:
            self.printed = time.monotonic()
            self._print(run)

    def on_validation_end(self, run: Run, line: dict[str, Any] | None) -> None:
        """Show the validation loss and a new sample."""
        prompt = "" if run.model.framed else "\n"
        pieces = run.model.generate(prompt, max_length=SAMPLE, temperature=0.8, seed=run.clock.step)
        self.sample = shown(pieces[0])
        if line:
            best = " (best so far)" if run.progress.best == line["validation_nats"] else ""
            self.validation = f"{_loss(line['validation_nats'], line['validation_bits'])}{best}"
            if "validation_symbols" in line:
                whole = run.corpus.validation.predicted
                self.validation += f", on {line['validation_symbols']:,} of {counted(whole, 'symbol')}"
        if self.live and self.line:
            self.live.update(self._panel(run))

    def on_train_end(self, run: Run, result: Result) -> None:
        """Print what ended the run, how long it took and its losses."""
        self.close()
        loss = "" if result.nats is None else f", training loss {rounded(result.nats, 4)} nats"
        if result.validation is not None:
            loss += f", best validation loss {rounded(result.validation, 4)} nats"
        why = {"signal": "on request", "patience": "by early stopping"}.get(result.ended, f"by {result.ended}")
        self.console.print(
            f"ended {why} after {counted(result.steps, 'step')} and {duration(result.seconds)}{loss}", highlight=False
        )

    def close(self) -> None:
        """Remove the live panel, also after an error."""
        if self.live:
            self.live.stop()
            self.live = None

    def _fields(self, run: Run) -> dict[str, str]:
        line = self.line
        left = time_left(run)
        return {
            "step": f"{line['step']:,}" + (f" of {run.total_steps:,}" if run.total_steps else ""),
            "epoch": f"{line['epoch']}",
            "loss": _loss(line["nats"], line["bits"]),
            "validation": self.validation,
            "gradient norm": rounded(line["gradient_norm"], 3),
            "speed": f"{line['symbols_per_second']:,.0f} symbols/s",
            "time": duration(line["seconds"]) + (f", {duration(left)} left" if left is not None else ""),
            "sample": self.sample,
        }

    def _print(self, run: Run) -> None:
        fields = self._fields(run)
        line = "; ".join(f"{name} {value}" for name, value in fields.items() if value and name != "sample")
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _panel(self, run: Run) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        done = fraction_done(run)
        if done is not None:
            table.add_row("", ProgressBar(total=1.0, completed=done, width=50))
        for name, value in self._fields(run).items():
            table.add_row(name, Text(value, overflow="ellipsis", no_wrap=True))
        return table


def _loss(nats: float, bits: float) -> str:
    return f"{rounded(nats, 4)} nats, {rounded(bits, 3)} bits/symbol"


def fraction_done(run: Run) -> float | None:
    """Return the fraction of the run that is done, by its nearest limit, in [0, 1]; None if it has no limit."""
    shares = []
    if run.total_steps:
        shares.append(run.clock.step / run.total_steps)
    if run.config.max_minutes:
        shares.append(run.clock.seconds / (60 * run.config.max_minutes))
    return min(1.0, max(shares)) if shares else None


def time_left(run: Run) -> float | None:
    """Return the seconds to the nearest limit at the speed so far; None if unknown."""
    done = fraction_done(run)
    return run.clock.seconds * (1 - done) / done if done else None
