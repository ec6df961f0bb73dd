"""What checkpoint_steps="auto" costs in time: forward and backward beside the same layer that saves all gates.

    python bench/segments.py            about half a minute

One thread, T = 1000, I = H; the two take turns, and the median of their ratios is printed.
"""

from __future__ import annotations

import statistics
import time

import torch

import unrolled.nn

T, SECONDS = 1000, 6.0


def seconds(layer: unrolled.nn.RecurrentLayer, x: torch.Tensor, steps: str | None) -> float:
    """Time of one forward and backward pass."""
    layer.checkpoint_steps = steps
    begun = time.perf_counter()
    layer(x)[0].sum().backward()
    return time.perf_counter() - begun


def main() -> None:
    """Print one line for each cell and batch."""
    torch.set_num_threads(1)
    for cell in ("LSTM", "GRU"):
        for B, H in ((1, 128), (32, 128)):
            layer, x = getattr(unrolled.nn, cell)(H, H), torch.randn(T, B, H)
            seconds(layer, x, None), seconds(layer, x, "auto")
            ratios, end = [], time.perf_counter() + SECONDS
            while time.perf_counter() < end:
                whole = seconds(layer, x, None)
                ratios.append(seconds(layer, x, "auto") / whole)
            ratio = statistics.median(ratios)
            print(f"{cell} B {B} H {H} T {T}: {ratio:.2f} times as long, median of {len(ratios)} rounds")


if __name__ == "__main__":
    main()
