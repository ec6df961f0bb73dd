"""What a model computed while it read a text: every gate, state, logit and probability, as arrays.

The gates and states are views of those that the compiled core saves for its backward pass.  Only the pre-activations,
which the core overwrites, are recomputed, by the equations of docs/notation.md.

T symbols read, V vocabulary, I input size, H hidden, G gates of a cell.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import linear

from unrolled.config.checks import Index, PositiveInt, check_value
from unrolled.core.fields import Layout
from unrolled.core.sampling import log_softmax
from unrolled.nn import dispatch
from unrolled.nn.stack import first_input, run_stack
from unrolled.notation import GATES, cell_name, gate_slice
from unrolled.saved.vocabulary import Ids, Text, Vocabulary
from unrolled.views.colours import SURPRISING
from unrolled.views.notebook import coloured_html
from unrolled.words import counted, rounded

if TYPE_CHECKING:
    from unrolled.lm.model import SequenceModel, State

Array = NDArray[Any]

#: Steps of a trace at most, unless told otherwise, and their logits; an LSTM of 256 units then takes 120 MB, and the
#: logits of a large vocabulary 500 MB.
AT_MOST, AT_MOST_LOGITS = 20_000, 1 << 27
#: Steps that are computed at once when a trace leaves out steps.
CHUNK = 4_096
#: Logits that are looked at at a time, so that nothing else takes the memory of those of a whole text.
LOGITS = 1 << 18


@dataclass(frozen=True)
class LayerTrace:
    """What one stacked layer computed, one row for each step of the trace.

    Attributes:
        kind: The cell, as notation.py names it.
        x: What the layer read: (T, I), or (T,) int64 one-hot indices.
        h, h_prev: Hidden state after and before each step, (T, H).
        c, c_prev: Cell state after and before each step, (T, H); None if the cell has none.
        gates: "i", "f", "g", "o" of LSTM; "r", "z", "n" of GRU, with "hn" = W_hn h + b_hn; each (T, H).
        weights: W_ih (G*H, I), W_hh (G*H, H), b_ih (G*H), b_hh (G*H), as the layer used them.
    """

    kind: str
    x: Array
    h: Array
    h_prev: Array
    c: Array | None
    c_prev: Array | None
    gates: Mapping[str, Array]
    weights: tuple[Array, ...]

    @cached_property
    def signals(self) -> dict[str, Array]:
        """Everything that has a value for each unit at each step, (T, H) by name: gates, then c, then h."""
        named = {gate: self.gates[gate] for gate in GATES[self.kind] if gate in self.gates}
        return named | ({} if self.c is None else {"c": self.c}) | {"h": self.h}

    @cached_property
    def products(self) -> tuple[Array, Array]:
        """W_ih x and W_hh h', both (T, G*H), recomputed from x and h_prev."""
        W_ih, W_hh, _, _ = self.weights
        return W_ih.T[self.x] if self.x.ndim == 1 else self.x @ W_ih.T, self.h_prev @ W_hh.T

    @cached_property
    def pre_activations(self) -> dict[str, Array]:
        """The argument of each gate's sigmoid or tanh, (T, H) by gate; "h" for RNN.

        Recomputed from x and h_prev, so they agree with the gates to rounding, not bit for bit.
        """
        _, _, b_ih, b_hh = self.weights
        from_x, from_h = self.products[0] + b_ih, self.products[1] + b_hh  # both (T, G*H)
        H = self.h.shape[1]
        if "hn" in self.gates:  # the reset gate acts on W_hn h + b_hn
            from_h[:, gate_slice(self.kind, "n", H)] *= self.gates["r"]
        a = from_x + from_h
        return {gate: a[:, gate_slice(self.kind, gate, H)] for gate in GATES[self.kind]}


@dataclass(frozen=True)
class TextTrace:
    """What a model computed while it read a text, one row for each step of the trace.

    Attributes:
        symbols: The name of each symbol read, T of them; an unseen one is UNK.
        ids: Their ids, (T,) int64.
        steps: The position of each row in the text, (T,) int64; 0, 1, 2 ... unless steps were left out.
        layers: What each stacked layer computed, the first layer first.
        logits: Of the next symbol, after each step, (T, V).
        bits: -log2 p of each symbol given those before it, (T,); of the first, under the start distribution.
        names: The V names of the vocabulary.
        length: Symbols of the whole text; more than T if steps were left out.
        unknown: Symbols of the whole text that were read as UNK.
        pieces: The text that each symbol writes, without surrounding spaces unless it is a space itself, T of them.
        kind: What a symbol is, as of :class:`Vocabulary`.

    >>> from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
    >>> model = SequenceModel(ModelConfig(cell="lstm", hidden_size=5), Vocabulary("ab"))
    >>> read = trace(model, ["a", "b", "b"])
    >>> read.symbols, read.values("f").shape, read.probabilities.shape, read.bits.shape
    (('a', 'b', 'b'), (3, 5), (3, 4), (3,))
    """

    symbols: tuple[str, ...]
    ids: Ids
    steps: Ids
    layers: tuple[LayerTrace, ...]
    logits: Array
    bits: Array
    names: tuple[str, ...]
    length: int
    unknown: int
    pieces: tuple[str, ...]
    kind: str

    def expect_all_steps(self, what: str) -> None:
        """Raise ValueError if steps were left out, which `what` needs."""
        if self.length > self.T:
            raise ValueError(
                f"only one step in {self.steps[1]} was traced, but {what} all; take a shorter text: this one has "
                f"{counted(self.length, 'symbol')}, of which {self.T:,} were kept"
            )

    @property
    def T(self) -> int:
        """Steps in the trace."""
        return len(self.ids)

    @cached_property
    def probabilities(self) -> Array:
        """Of the next symbol, after each step, (T, V)."""
        p: Array = np.exp(log_softmax(self.logits))
        return p

    def values(self, name: str, layer: int = -1) -> Array:
        """Return one gate or state of a layer, (T, H).

        Raises: ValueError if the cell has no such gate or state, or the model no such layer; it lists those there are.
        """
        check_value("name", name, str)
        signals = self.layers[check_layer(layer, len(self.layers))].signals
        if name not in signals:
            kind = cell_name(self.layers[layer].kind)
            raise ValueError(f"{kind} has no gate or state {name!r}; it has {', '.join(signals)}")
        return signals[name]

    def _repr_html_(self) -> str:
        layers = ", ".join(f"layer {k}: {' '.join(layer.signals)}" for k, layer in enumerate(self.layers))
        cost = f"{rounded(self.bits.mean(), 3)} bits per symbol, white 0 to brown {SURPRISING:g} or more"
        title = f"{counted(self.length, 'symbol')}, {cost}; {layers}"
        return coloured_html(self.symbols, self.bits, self.likeliest(3), title=title)

    def likeliest(self, count: int = 5) -> list[list[tuple[str, float]]]:
        """Return, for each step, name and probability of the `count` likeliest next symbols, best first."""
        rows = zip(*self.best(count), strict=True)
        return [[(self.names[k], float(x)) for k, x in zip(*row, strict=True)] for row in rows]

    def best(self, count: int) -> tuple[Ids, Array]:
        """Return ids and probabilities of the `count` likeliest symbols after each step, (T, count), best first."""
        check_value("count", count, PositiveInt)
        shape = self.T, min(count, len(self.names))
        ids, p = np.empty(shape, np.int64), np.empty(shape)
        for some in _slices(self.T, len(self.names)):
            log_p = log_softmax(self.logits[some])
            ids[some] = largest(self.logits[some], count)
            p[some] = np.exp(np.take_along_axis(log_p, ids[some], axis=1))
        return ids, p

    def columns(self, *names: str) -> dict[str, Array]:
        """Return the trace as columns of equal length T: step, symbol, bits, p(...) of each next symbol, then units.

        Args: names: gates and states to include, as in "f" or "c"; all if none is given.  Unit 3 of gate f in the
            first layer is the column "f0[3]".
        """
        table: dict[str, Array] = {"step": self.steps, "symbol": np.array(self.symbols, object), "bits": self.bits}
        table |= {f"p({name})": self.probabilities[:, k] for k, name in enumerate(self.names)}
        for number, layer in enumerate(self.layers):
            for name in names or layer.signals:
                values = self.values(name, number)
                table |= {f"{name}{number}[{unit}]": values[:, unit] for unit in range(values.shape[1])}
        return table

    def table(self, *names: str) -> Any:
        """Return :meth:`columns` as a pandas DataFrame, or without pandas as a list of T dictionaries."""
        columns = self.columns(*names)
        try:
            import pandas as pd
        except ImportError:
            return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return pd.DataFrame(columns)


def trace(model: SequenceModel, text: Text, *, at_most: int | None = None) -> TextTrace:
    """Read a text and return everything that was computed on the way.

    Args:
        model: read without dropout, even in training mode.
        text: a text, or a list of symbols; what the vocabulary lacks is read as UNK.
        at_most: steps of the trace, by default 20,000, or fewer if V is large.  Of a longer text it holds every k-th
            step, and a warning says so.

    Raises: ValueError if the text is empty, or `at_most` below 1.
    """
    check_value("at_most", at_most, PositiveInt | None)
    ids = encoded(model, text)
    largest = max(1, AT_MOST_LOGITS // len(model.vocabulary))  # steps whose logits are held at once
    every = -(-len(ids) // (min(AT_MOST, largest) if at_most is None else at_most))
    if every > 1:
        said = f"the text has {counted(len(ids), 'symbol')}; all are read, but only one step in {every} is kept"
        warnings.warn(said, RuntimeWarning, stacklevel=2)
    chunk = len(ids) if every == 1 else -(-min(CHUNK, largest) // every) * every

    def thinned(rows: Array) -> Array:
        return rows if every == 1 else rows[::every].copy()  # a view would hold on to all rows

    state: State | None = None
    logits = model.start[None]
    parts: list[tuple[list[LayerTrace], Array, Array]] = []
    with torch.no_grad():
        for first in range(0, len(ids), chunk):
            symbols = torch.from_numpy(ids[first : first + chunk])[:, None]  # (T, 1)
            before = logits[-1:]
            layers, logits, state = read(model, symbols, state)
            rows = [before, *(logits[:-1][some] for some in _slices(len(logits) - 1, logits.shape[1]))]
            read_after = torch.split(symbols, [*map(len, rows)])
            log_p = [p.log_softmax(1).gather(1, those)[:, 0] for p, those in zip(rows, read_after, strict=True)]
            bits = -torch.cat(log_p) / math.log(2)
            layers = [_mapped(lambda arrays: thinned(arrays[0]), [layer]) for layer in layers]
            parts.append((layers, thinned(logits.numpy()), thinned(bits.numpy())))
    layers_of, logits_of, bits_of = zip(*parts, strict=True)
    names, kept = model.vocabulary.names, ids[::every]
    return TextTrace(
        symbols=tuple(names[k] for k in kept),
        ids=kept,
        steps=np.arange(0, len(ids), every),
        layers=tuple(_mapped(_joined, each) for each in zip(*layers_of, strict=True)),
        logits=_joined(logits_of),
        bits=_joined(bits_of),
        names=names,
        length=len(ids),
        unknown=int(np.count_nonzero(ids == model.vocabulary.unk_id)),
        pieces=_pieces(model.vocabulary, kept),
        kind=model.vocabulary.kind,
    )


def _pieces(vocabulary: Vocabulary, ids: Ids) -> tuple[str, ...]:
    """Return the text that each symbol writes, without surrounding spaces unless it is a space itself."""
    pieces = vocabulary.aligned_pieces(ids)
    return tuple(piece.strip(" ") or piece for piece in pieces)


def read(
    model: SequenceModel, symbols: torch.Tensor, before: State | None
) -> tuple[list[LayerTrace], torch.Tensor, State]:
    """Run symbols (T, 1) through every layer, without a gradient.

    Returns: what each layer computed, the logits (T, V), and the state afterwards.
    """
    kind, L = model.config.kind, model.config.num_layers
    start = model.initial_state(1) if before is None else before
    weights = model.layer_weights()
    x, weights[:1] = first_input(symbols, weights[:1], None if model.embedding is None else model.E, Layout())

    def run_layer(
        k: int, x: torch.Tensor, h_0: torch.Tensor | None, c_0: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, LayerTrace]:
        y, h_n, c_n, recorded = dispatch.layer(kind, x, h_0, c_0, [weights[k]], trace=True)
        assert recorded is not None
        gates = {name: gate[0, :, 0] for name, gate in recorded.items()}  # each (T, H)
        h_prev, h = _before_and_after(y[:, 0], h_0)
        c_prev, c = _before_and_after(gates.pop("c"), c_0) if "c" in gates else (None, None)
        own = tuple(w.numpy().copy() for w in weights[k] if w is not None)  # the model may go on learning
        named = {name: gate.numpy() for name, gate in gates.items()}
        return y, h_n, c_n, LayerTrace(kind, x[:, 0].numpy(), h, h_prev, c, c_prev, named, own)

    outputs, after, layers = run_stack(run_layer, x, start, L)
    logits = linear(outputs[-1][:, 0], model.W_hy, model.b_y)
    return layers, logits, tuple(after)


def encoded(model: SequenceModel, text: Text) -> Ids:
    """Return the ids of a text, (T,); ValueError if there are none, or for a model of a type that NumPy lacks."""
    check_type(model)
    ids = model.vocabulary.encode(text)
    if not len(ids):
        raise ValueError("the text is empty; give at least one symbol to read")
    model.warn_of_more("views", stacklevel=4)
    return ids


def check_type(model: SequenceModel) -> None:
    """Raise ValueError unless NumPy can hold and multiply what a model computes."""
    dtype = model.head.weight.dtype
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"views read models of float32 and float64, this one is {dtype}; look at copy.deepcopy(model).float()"
        )


def check_layer(layer: int, L: int) -> int:
    """Return the number of a layer counted from the first, for one that may be counted from the last.

    Raises: ValueError if there is no such layer.

    >>> check_layer(-1, 3)
    2
    """
    check_value("layer", layer, Index)
    if not -L <= layer < L:
        raise ValueError(f"layer is {layer}; the model has layers 0 to {L - 1}")
    return layer % L


def largest(rows: Array, count: int) -> Ids:
    """Return the places of the largest numbers of each row (T, V), the largest first; of equals, the first.

    >>> largest(np.array([[1, 3, 2, 3, 1]]), 4).tolist()
    [[1, 3, 2, 0]]
    """
    T, V = rows.shape
    count = min(count, V)
    least = np.partition(rows, V - count, axis=1)[:, V - count, None]
    row, place = np.divmod(np.flatnonzero(rows >= least), V)  # those of each row, and what equals its last
    place = place[np.lexsort((place, -rows[row, place], row))]
    found: Ids = place[np.searchsorted(row, np.arange(T))[:, None] + np.arange(count)]
    return found


def _slices(T: int, V: int) -> Iterator[slice]:
    """Yield slices of T rows of V numbers, of which LOGITS are looked at at a time."""
    rows = max(1, LOGITS // V)
    return (slice(t, t + rows) for t in range(0, T, rows))


def _joined(arrays: Sequence[Array]) -> Array:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _before_and_after(after: torch.Tensor, first: torch.Tensor | None) -> tuple[Array, Array]:
    """Return a state (T, H) before and after each step, from it after each step and before the first, (1, 1, H)."""
    start = after.new_zeros(1, after.shape[1]) if first is None else first[0]
    both = torch.cat([start, after]).numpy()
    return both[:-1], both[1:]


def _mapped(f: Callable[[list[Array]], Array], parts: Sequence[LayerTrace]) -> LayerTrace:
    """Return one layer trace, each of whose arrays is f of those of the parts."""
    first = parts[0]
    names = [name for name in ("x", "h", "h_prev", "c", "c_prev") if getattr(first, name) is not None]
    arrays: dict[str, Any] = {name: f([getattr(part, name) for part in parts]) for name in names}
    gates = {name: f([part.gates[name] for part in parts]) for name in first.gates}
    return replace(first, gates=gates, **arrays)
