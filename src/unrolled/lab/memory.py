"""Whether training many models fits into memory."""

from __future__ import annotations

from unrolled.config.options import option
from unrolled.core.free_memory import available
from unrolled.words import counted, sized


def check_memory(needed: int, seeds: int) -> None:
    """Check that models with this many seeds fit into memory.

    Raises: MemoryError with the bytes needed, the bytes free and the number of seeds that would fit.

    >>> check_memory(10**18, 10**6)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    MemoryError: training 1,000,000 seeds takes about 1,000,000,000.0 GB, and ... are free; lower units, ...
    """
    free = available()
    if needed > free:
        remedy = f"lower {option('units')}, {option('batch_size')} or the sizes in {option('lengths')}"
        if fit := int(seeds * free / needed):
            remedy += f", or take {option('seeds', fit)} and train the others afterwards with {option('first_seed')}"
        raise MemoryError(
            f"training {counted(seeds, 'seed')} takes about {sized(needed)}, and {sized(free)} are free; {remedy}"
        )
