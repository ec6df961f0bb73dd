"""Golden models: exact solutions, with weights set by hand, that training should find.

Each is an ordinary :class:`unrolled.lm.SequenceModel`: it can be saved, sampled from, traced and trained further.

The input of a gate that must be 0 or 1 is -40 or 40: in floating point sigmoid(40) is 1, and sigmoid(-40) = 4e-18
vanishes beside any count.  Three parts suffice.

- A counter in an LSTM: f = i = o = 1 and g = tanh(+-40) = +-1, so c_t = c_{t-1} + 1 or - 1, exact up to 2**24 in
  float32.  h = tanh(c) is 0 at zero and at least tanh(1) = 0.76 above, which is all the head needs.
- A counter in an Elman RNN with ReLU: h_t = relu(h_{t-1} + 1) or relu(h_{t-1} - 1).  A second unit is one behind; their
  difference is 0 at zero and 1 above.
- A bit, in every cell: two units, OR and AND of the bit and the symbol; their difference is the next bit.

A unit of a tanh RNN stays below 1, and a GRU's gate forgets as much as it adds (Weiss et al. 2018).  They would have to
squeeze a count into (-1, 1), where a fixed precision distinguishes only so many values: no such model is exact for
every n, so there is none here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from unrolled.config.checks import check_value
from unrolled.config.model import ModelConfig
from unrolled.languages.counting import Blocks
from unrolled.languages.language import Language
from unrolled.languages.registry import get, unknown
from unrolled.lm.model import SequenceModel
from unrolled.saved.vocabulary import EOS, UNK

#: The input of a gate that must be 1, or 0 if negative.
SURE = 40.0
#: tanh(1), the least output of an LSTM's counter above zero.
ONE = float(torch.tensor(1.0, device="cpu").tanh())

#: Languages, and the cells with a golden model for each.
GOLDEN = {
    "anbn": ("lstm", "relu"),
    "anbncn": ("lstm", "relu"),
    "anbncndn": ("lstm", "relu"),
    "dyck-1": ("lstm", "relu"),
    "shuffle-2": ("lstm", "relu"),
    "parity": ("rnn", "relu", "lstm", "gru"),
}

#: A number for each symbol, zero where none is given.
Row = dict[str, float]


def golden(language: str, cell: str = "lstm") -> SequenceModel:
    """Return the exact model for a language.

    Args:
        language: a key of :data:`GOLDEN`.
        cell: "lstm", "gru", "rnn" (tanh) or "relu" (rnn with nonlinearity relu).

    Returns: a float32 model, right by the criteria ``sets`` and ``argmax`` for every count up to 2**24, with or without
        a start mark.
    Raises: ValueError if there is no golden model for the language, or none with this cell.

    >>> model = golden("anbn", "lstm")
    >>> model
    SequenceModel(LSTM, V 4, H 2, L 1, 76 parameters)
    >>> model.generate(["a"] * 4 + ["b"], strategy="greedy")
    ['b b b']
    >>> golden("anbn", "gru")
    Traceback (most recent call last):
        ...
    ValueError: no gru is exact for anbn: its units stay below 1; the cells are lstm, relu
    """
    check_value("language", language, str)
    check_value("cell", cell, str)
    if language not in GOLDEN:
        raise unknown("golden model", language, GOLDEN)
    if cell not in GOLDEN[language]:
        why = ": its units stay below 1" if cell in ("rnn", "gru") else ""
        raise ValueError(f"no {cell} is exact for {language}{why}; the cells are {', '.join(GOLDEN[language])}")
    definition = get(language)
    with torch.no_grad():
        if isinstance(definition, Blocks):
            return _blocks(definition, cell)
        return _parity(definition, cell) if language == "parity" else _brackets(definition, cell)


def _blocks(language: Blocks, cell: str) -> SequenceModel:
    """a^n b^n ...: counter j goes up with symbol j and down with the next; one more unit is on past the first block."""
    first, *others = language.alphabet
    pairs = list(zip(language.alphabet, others, strict=False))
    model, counts = _counting(language, cell, [{up: 1.0, down: -1.0} for up, down in pairs], dict.fromkeys(others, 1.0))
    *counters, past = counts
    head = _Head(model)
    head.score(first, 20, {past: -60})  # scores as high as the second symbol while both are legal
    for j, symbol in enumerate(others):  # due while its counter is up, and the one before has come down
        head.score(symbol, -20, {counters[j]: 40} | ({counters[j - 1]: -60} if j else {}))
    head.score(EOS, -20, {past: 40} | dict.fromkeys(counters, -60))
    return model


def _brackets(language: Language, cell: str) -> SequenceModel:
    """Dyck-1, Shuffle-k: a counter for each kind; opening is always legal, closing above zero, EOS at all zeros."""
    opens, closes = language.alphabet[::2], language.alphabet[1::2]
    model, counters = _counting(language, cell, [{o: 1.0, c: -1.0} for o, c in zip(opens, closes, strict=True)])
    head = _Head(model)
    for opening, closing, counter in zip(opens, closes, counters, strict=True):
        head.score(opening, 10, {})
        head.score(closing, -20, {counter: 40})
    head.score(EOS, 10, dict.fromkeys(counters, -60))
    return model


#: A sum of units, with their weights, that is 0 or in [0.76, 1].
Signal = tuple[tuple[int, float], ...]


def _counting(
    language: Language, cell: str, counters: list[Row], seen: Row | None = None
) -> tuple[SequenceModel, list[Signal]]:
    """Return a model that counts, its head still zero, and the signal of each counter, then of `seen`.

    `seen` is a unit without memory: 1 after the symbols it names, else 0.
    """
    rows = counters + ([seen] if seen else [])
    relu = cell == "relu"
    model = _empty(language, cell, len(rows) + (len(counters) if relu else 0))
    W: Any = model.rnn
    names = list(model.vocabulary.names)
    for unit, row in enumerate(rows):
        keeps = unit < len(counters)
        for symbol, step in row.items():
            (W.W_ih if relu else W.W_ig)[unit, names.index(symbol)] = step if relu else SURE * step
        if relu:
            W.W_hh[unit, unit] = float(keeps)
        else:
            W.b_if[unit] = SURE if keeps else -SURE
    if not relu:
        W.b_ii.fill_(SURE)
        W.b_io.fill_(SURE)
        return model, [((unit, 1.0),) for unit in range(len(rows))]
    behind = range(len(rows), len(rows) + len(counters))
    for unit, late in enumerate(behind):  # the counter minus one, from the same state and symbol
        W.W_ih[late] = W.W_ih[unit]
        W.W_hh[late, unit] = 1.0
        W.b_ih[late] = -1.0
    return model, [
        ((unit, 1.0), *(((behind[unit], -1.0),) if unit < len(counters) else ())) for unit in range(len(rows))
    ]


def _parity(language: Language, cell: str) -> SequenceModel:
    """One bit s from OR and AND of the previous bit and the symbol: s is OR and not AND."""
    model = _empty(language, cell, 2)
    W: Any = model.rnn
    one = model.vocabulary.names.index("1")
    if cell == "relu":  # u = relu(s + x), v = relu(s + x - 1), s = u - 2 v
        W.W_ih[:, one] = 1.0
        W.W_hh.copy_(W.W_hh.new_tensor([[1.0, -2.0], [1.0, -2.0]]))
        W.b_ih[1] = -1.0
        bit: Signal = ((0, 1.0), (1, -2.0))
    else:  # u = tanh(80 (s + x) - 40), v = tanh(80 (s + x) - 120), both +-1; s = (u - v) / 2, of outputs +-one
        one_out = ONE if cell == "lstm" else 1.0
        candidate = {"rnn": "h", "gru": "n", "lstm": "g"}[cell]
        W_i, W_h, b_i = (getattr(W, name + candidate) for name in ("W_i", "W_h", "b_i"))
        W_i[:, one] = 2 * SURE
        W_h.copy_(W_h.new_tensor([[SURE, -SURE], [SURE, -SURE]]) / one_out)
        b_i.copy_(b_i.new_tensor([-SURE, -3 * SURE]))
        if cell == "gru":
            W.b_ir.fill_(SURE)
            W.b_iz.fill_(-SURE)
        if cell == "lstm":
            W.b_ii.fill_(SURE)
            W.b_if.fill_(-SURE)
            W.b_io.fill_(SURE)
        bit = ((0, 0.5 / one_out), (1, -0.5 / one_out))
    head = _Head(model)
    for symbol in language.alphabet:
        head.score(symbol, 10, {})
    head.score(EOS, 10, {bit: -40})
    return model


class _Head:
    """Sets the head of a model, one symbol at a time."""

    def __init__(self, model: SequenceModel) -> None:
        self.head, self.names = model.head, list(model.vocabulary.names)
        self.score(UNK, -40, {})

    def score(self, symbol: str, bias: float, weights: Mapping[Signal, float]) -> None:
        k = self.names.index(symbol)
        self.head.bias[k] = bias
        for signal, weight in weights.items():
            for unit, share in signal:
                self.head.weight[k, unit] += weight * share


def _empty(language: Language, cell: str, H: int) -> SequenceModel:
    """Return a model of zeros whose first symbol is uniform over the legal ones."""
    relu = ModelConfig(cell="rnn", nonlinearity="relu", hidden_size=H)
    config = relu if cell == "relu" else ModelConfig(cell=cell, hidden_size=H)  # type: ignore[arg-type]
    model = SequenceModel(config, language.vocabulary).eval()
    legal = language.legal(language.start())
    for parameter in model.parameters():
        parameter.zero_()
    allowed = torch.tensor([name in legal for name in model.vocabulary.names], device=model.start.device)
    model.start.copy_(torch.where(allowed, 0.0, -SURE).log_softmax(0))
    return model
