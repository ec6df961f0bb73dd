"""The roofline of a call: the time that no implementation can go below on this machine.

Arithmetic: 2 T B G H (I + H) operations forward, three times that with backward, at the measured multiply-add rate.
Traffic: every step waits for the one before it, so each of T steps reads all of W_hh, 4 G H^2 bytes, at the bandwidth
of the level of memory that holds a core's part of it; backward reads it once more.  The floor is the larger one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from unrolled.notation import gate_count

#: Levels of memory, and the largest part of W_hh per core, in bytes, that each holds; limits.cpp measures inside these.
LEVELS = (("L1", 16 << 10), ("L2", 1 << 20), ("L3", 16 << 20), ("memory", 1 << 62))


class Floor(NamedTuple):
    """Milliseconds a call, and which of the two limits it is."""

    arithmetic_ms: float
    traffic_ms: float
    level: str

    @property
    def ms(self) -> float:
        """The larger of both."""
        return max(self.arithmetic_ms, self.traffic_ms)

    @property
    def reason(self) -> str:
        """The limit in words."""
        return "arithmetic" if self.arithmetic_ms >= self.traffic_ms else f"reading from {self.level}"


def floor(row: dict[str, Any], phase: str, limits: dict[str, Any], threads: int) -> Floor:
    """Return the floor of one layer, float32.

    >>> limits = {"multiply_add_gflops": {"1": 100.0}, "read_gb_s": {"L2": {"1": 50.0}}}
    >>> floor({"cell": "RNN", "B": 1, "T": 1000, "I": 0, "H": 100}, "inference", limits, 1)
    Floor(arithmetic_ms=0.2, traffic_ms=0.8, level='L2')
    """
    G = gate_count("RNN_TANH" if row["cell"] == "RNN" else row["cell"])
    T, B, I, H = (row[letter] for letter in "TBIH")
    passes, reads = (3, 2) if phase == "training" else (1, 1)
    arithmetic = passes * 2 * T * B * G * H * (I + H) / limits["multiply_add_gflops"][str(threads)] * 1e-6
    weights = 4 * G * H * H
    level = next(name for name, most in LEVELS if weights / threads <= most)
    traffic = reads * T * weights / limits["read_gb_s"][level][str(threads)] * 1e-6
    return Floor(arithmetic, traffic, level)
