"""Whether training many models fits into memory."""

from __future__ import annotations

from unrolled.lm.memory import available


def check_memory(needed: int, seeds: int) -> None:
    """Check that models with this many seeds fit into memory.

    Raises: MemoryError with the bytes needed, the bytes free and the number of seeds that would fit.

    >>> check_memory(10**18, 10**6)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    MemoryError: 1000000 seeds need about 1000000000.0 GB of memory, ... are free; at most 0 seeds fit; ...
    """
    free = available()
    if needed > free:
        fit = int(seeds * free / needed)
        raise MemoryError(
            f"{seeds} seeds need about {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} are free; at most {fit} seeds "
            "fit; use fewer seeds or smaller batches, and run the other seeds with --first-seed"
        )
