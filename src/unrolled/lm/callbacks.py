"""Callbacks of a training run: a display, TensorBoard, or your own."""

from __future__ import annotations

from typing import Any

from unrolled.extras import remedy
from unrolled.lm.metrics_log import read_metrics
from unrolled.lm.run import Result, Run


class Callback:
    """Base class of training callbacks; every hook is a no-op.

    >>> class Losses(Callback):
    ...     nats = []
    ...
    ...     def on_log(self, run, line):
    ...         self.nats.append(line["nats"])
    """

    def on_train_begin(self, run: Run) -> None:
        """Called before the first step, also of a resumed run."""

    def on_log(self, run: Run, line: dict[str, Any]) -> None:
        """Called with each line of metrics; :meth:`Run.log` has its fields and units."""

    def on_validation_end(self, run: Run, line: dict[str, Any] | None) -> None:
        """Called after each validation with its line of metrics; None without validation data."""

    def on_train_end(self, run: Run, result: Result) -> None:
        """Called when the run has ended and been saved."""

    def close(self) -> None:
        """Release terminal and files; called last, also after an error."""


class TensorBoard(Callback):
    """Writes the metrics to a TensorBoard log in the folder of the run.

    Raises: RuntimeError if tensorboard is not installed.
    """

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise RuntimeError(remedy("tensorboard")) from None
        self._open = SummaryWriter
        self.writer: SummaryWriter | None = None

    def on_train_begin(self, run: Run) -> None:
        """Open the log; hide what was written after the checkpoint from which the run resumes.

        Only whole steps can be hidden, so the lines that the checkpoint's own step has are written again.
        """
        assert run.folder is not None
        self.writer = self._open(str(run.folder), purge_step=run.clock.step)
        for line in read_metrics(run.folder):
            if line["step"] == run.clock.step:
                (self.on_validation_end if "validation_nats" in line else self.on_log)(run, line)

    def on_log(self, run: Run, line: dict[str, Any]) -> None:
        """Write each number under its name."""
        for name in ("nats", "bits", "gradient_norm", "learning_rate", "symbols_per_second"):
            self._write(f"training/{name}", line[name], line["step"])

    def on_validation_end(self, run: Run, line: dict[str, Any] | None) -> None:
        """Write the validation loss."""
        if line:
            self._write("validation/nats", line["validation_nats"], line["step"])
            self._write("validation/bits", line["validation_bits"], line["step"])

    def close(self) -> None:
        """Flush and close the log."""
        if self.writer:
            self.writer.close()
            self.writer = None

    def _write(self, name: str, value: float, step: int) -> None:
        assert self.writer is not None
        self.writer.add_scalar(name, value, step)
