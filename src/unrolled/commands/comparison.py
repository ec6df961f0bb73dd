"""What smaller weights of a model cost and gain, as `unrolled export --check` prints it."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from rich.table import Table

from unrolled.commands import inputs
from unrolled.commands.console import PlainConsole
from unrolled.commands.evaluate import COMPARED, held_out
from unrolled.words import counted, rounded, sized

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from unrolled.corpus.corpus import Corpus
    from unrolled.corpus.splitting import Sequences
    from unrolled.runtime.model import RuntimeModel
    from unrolled.runtime.text import TextModel
    from unrolled.saved.network import Network

Pair = tuple["RuntimeModel", "RuntimeModel"]

#: Steps that are timed of each model: the two take turns, some steps each, so that a disturbance meets both.
TURNS, STEPS = 10, 300
#: Seconds of a turn, at most.
LONGEST = 0.3
#: Steps and rows of random input.
T, B = 64, 8


def compared(folder: Path, networks: tuple[Network, Network], sizes: tuple[int, int]) -> None:
    """Print the size, the bits per symbol or the outputs, and the time of a step of a model before and after.

    Args: the folder of the model before; the networks, before and after; bytes of their weights.
    """
    from unrolled import runtime
    from unrolled.corpus.reading import CorpusError
    from unrolled.runtime.text import TextModel

    before, after = models = (runtime.load(networks[0]), runtime.load(networks[1]))
    table = Table("", *(network.stored for network in networks))
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("model.safetensors", *map(sized, sizes))
    if isinstance(before, TextModel) and isinstance(after, TextModel):
        try:
            corpus = inputs.read_again(folder, networks[0].origin or {}, before.vocabulary)
            table.add_row(*_bits(corpus, (before, after)))
        except CorpusError as error:
            warnings.warn(f"{error}; compared without bits per symbol", stacklevel=1)
            table.add_row(*_outputs(models))
    else:
        table.add_row(*_outputs(models))
    if networks[0].is_steppable:
        table.add_row("one step", *(f"{ns:,.0f} ns" for ns in _step_times(models)))
    PlainConsole().print(table)


def _bits(corpus: Corpus, models: tuple[TextModel, TextModel]) -> tuple[str, ...]:
    """Return the bits per symbol of the split that `unrolled evaluate` measures, and what the row is called."""
    from unrolled.corpus.splitting import beginning

    split = held_out(corpus)
    part = beginning(corpus.splits[split], COMPARED)
    bits = [bits_of_symbols(model, part, corpus.stream) for model in models]
    label = f"bits/symbol, {counted(len(bits[0]), 'symbol')} of the {split} split"
    return label, *(rounded(each.mean(), 4) for each in bits)


def bits_of_symbols(model: TextModel, part: Sequences, stream: bool) -> NDArray[Any]:
    """Return the bits of each symbol but the first of each sequence or lane, as `unrolled evaluate` measures them."""
    import numpy as np

    from unrolled.corpus.batching import lanes
    from unrolled.runtime.scoring import bits_of_each

    if stream:
        predicted = np.array_split(np.arange(len(part.ids) - 1), lanes(len(part.ids)))
        texts = [part.ids[lane[0] : lane[-1] + 2] for lane in predicted]
    else:
        texts = [ids[:-1] for ids in part]  # EOS is read to the end of each
    each = bits_of_each(model, [ids.astype(np.int64) for ids in texts])
    return np.concatenate([bits[1:] for bits in each])


def _outputs(models: Pair) -> tuple[str, ...]:
    """Return the largest output on random input, the largest difference from it, and what the row is called."""
    import numpy as np

    network = models[0].network
    rng = np.random.default_rng(0)
    x: Any = rng.integers(network.I, size=(T, B)) if network.reads_symbols else rng.normal(size=(T, B, network.I))
    y, other = (model.feed(x if network.reads_symbols else x.astype(model.network.dtype)) for model in models)
    largest, difference = float(np.abs(y).max()), float(np.abs(y - other).max())
    return "outputs on random input", f"up to {largest:.3g}", f"off by {difference:.2g}"


def _step_times(models: Pair) -> tuple[float, float]:
    """Return the median time of one step of each model, in nanoseconds."""
    import numpy as np

    symbols, streams = models[0].network.reads_symbols, [model.streams(1) for model in models]
    xs = [np.zeros(1, np.int64) if symbols else np.ones((1, model.network.I), model.network.dtype) for model in models]
    times: tuple[list[int], list[int]] = ([], [])
    for _ in range(TURNS):
        for own, x, of_model in zip(streams, xs, times, strict=True):
            own.reset()
            until = time.perf_counter() + LONGEST
            for _ in range(STEPS):
                start = time.perf_counter_ns()
                own.step(x)
                of_model.append(time.perf_counter_ns() - start)
                if time.perf_counter() > until:
                    break
    return median(times[0]), median(times[1])
