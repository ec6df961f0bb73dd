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


class TensorBoard(Observer):
    """Writes the lines of metrics to a TensorBoard log in the folder of the run.

    Raises: RuntimeError if tensorboard is not installed.
    """

    def __init__(self, folder: str) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise RuntimeError("tensorboard is not installed; pip install 'unrolled[track]'") from None
        self.writer = SummaryWriter(folder)

    def stepped(self, run: Run, line: dict[str, Any]) -> None:
        """Write each number under its name."""
        for name in ("nats", "bits", "gradient_norm", "learning_rate", "symbols_per_second"):
            self.writer.add_scalar(f"training/{name}", line[name], line["step"])

    def validated(self, run: Run, line: dict[str, Any] | None) -> None:
        """Write the validation loss."""
        if line:
            self.writer.add_scalar("validation/bits", line["validation_bits"], line["step"])

    def ended(self, run: Run, result: Result) -> None:
        """Close the log."""
        self.writer.close()
