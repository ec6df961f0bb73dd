"""What a training run tells about itself, to whoever listens: a display, TensorBoard, or nobody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unrolled.lm.run import Result, Run


class Observer:
    """Hears of a run and does nothing with it; subclasses say what they are interested in."""

    def started(self, run: Run) -> None:
        """Hear that a run begins, or goes on."""

    def stepped(self, run: Run, line: dict[str, Any]) -> None:
        """Hear of a line of metrics: see `Run.log` for its fields and units."""

    def validated(self, run: Run, line: dict[str, Any] | None) -> None:
        """Hear of a validation; the line is None if there is no validation data."""

    def ended(self, run: Run, result: Result) -> None:
        """Hear that the run has ended and been saved."""

    def close(self) -> None:
        """Let go of terminals and files; may come more than once, and also after an error."""


class Observers(Observer):
    """Several observers as one."""

    def __init__(self, observers: Sequence[Observer]):
        self.observers = observers

    def started(self, run: Run) -> None:
        """Tell every observer."""
        for observer in self.observers:
            observer.started(run)

    def stepped(self, run: Run, line: dict[str, Any]) -> None:
        """Tell every observer."""
        for observer in self.observers:
            observer.stepped(run, line)

    def validated(self, run: Run, line: dict[str, Any] | None) -> None:
        """Tell every observer."""
        for observer in self.observers:
            observer.validated(run, line)

    def ended(self, run: Run, result: Result) -> None:
        """Tell every observer."""
        for observer in self.observers:
            observer.ended(run, result)

    def close(self) -> None:
        """Close every observer."""
        for observer in self.observers:
            observer.close()


class TensorBoard(Observer):
    """Writes the lines of metrics to a TensorBoard log in the folder of the run.

    Raises: RuntimeError if tensorboard is not installed.
    """

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise RuntimeError("tensorboard is not installed; pip install 'unrolled[track]'") from None
        self._open = SummaryWriter
        self.writer: SummaryWriter | None = None

    def started(self, run: Run) -> None:
        """Open the log; what an earlier part of the run wrote beyond its checkpoint no longer counts."""
        assert run.folder is not None
        self.writer = self._open(str(run.folder), purge_step=run.clock.step + 1)

    def stepped(self, run: Run, line: dict[str, Any]) -> None:
        """Write each number under its name."""
        for name in ("nats", "bits", "gradient_norm", "learning_rate", "symbols_per_second"):
            self._write(f"training/{name}", line[name], line["step"])

    def validated(self, run: Run, line: dict[str, Any] | None) -> None:
        """Write the validation loss."""
        if line:
            self._write("validation/nats", line["validation_nats"], line["step"])
            self._write("validation/bits", line["validation_bits"], line["step"])

    def close(self) -> None:
        """Write what is still held and close the log."""
        if self.writer:
            self.writer.close()
            self.writer = None

    def _write(self, name: str, value: float, step: int) -> None:
        assert self.writer is not None
        self.writer.add_scalar(name, value, step)
