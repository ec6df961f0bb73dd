"""What a run counts: its progress, and sums since the last line of metrics."""

from __future__ import annotations

import msgspec

from unrolled.lm.schedule import Counted, Measured


class Meter(msgspec.Struct, forbid_unknown_fields=True):
    """Sums since the last line of metrics: nats and symbols, gradient norms and steps."""

    nats: Measured
    symbols: Counted
    norm: Measured
    steps: Counted

    @classmethod
    def zero(cls) -> Meter:
        """Return the sums over no steps."""
        return cls(nats=0.0, symbols=0, norm=0.0, steps=0)


class Clock(msgspec.Struct, forbid_unknown_fields=True):
    """Progress of a run in steps, symbols and seconds.

    Attributes:
        step: Optimiser steps done.
        symbols: Symbols predicted in them.
        seconds: Time spent on them.
        nats: Training loss in the last line of metrics, in nats per symbol.
        validated: Step of the last validation.
        validation_symbols: Symbols that each validation reads at most, once the first has found that; 0 before it.
        logged_symbols, logged_seconds: Symbols and seconds at the last line of metrics.
    """

    step: Counted
    symbols: Counted
    seconds: Measured
    nats: Measured | None
    validated: Counted
    logged_symbols: Counted
    logged_seconds: Measured
    validation_symbols: Counted = 0  # which version 0.1 did not write

    @classmethod
    def zero(cls) -> Clock:
        """Return the clock of a run that has not begun."""
        return cls(step=0, symbols=0, seconds=0.0, nats=None, validated=0, logged_symbols=0, logged_seconds=0.0)
