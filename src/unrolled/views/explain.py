"""A whole forward and backward pass on paper: every number of a few symbols, with its shape and its equation.

Gates, states, logits, weight gradients and the gradients da of the pre-activations are those of the kernels.  dh and dc
follow from da by the chain rule; the pre-activations, which the kernels overwrite, are recomputed from x and h.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.corpus.batching import IGNORED
from unrolled.notation import GATES
from unrolled.saved.vocabulary import Text
from unrolled.views import equations
from unrolled.views.equations import HEAD, OTHER_WEIGHTS, TIED
from unrolled.views.gradients import LayerGradients, following, gradients
from unrolled.views.paper import Explanation, Line, Table
from unrolled.views.symbols import visible
from unrolled.views.traces import LayerTrace, TextTrace, encoded, trace

if TYPE_CHECKING:
    from unrolled.lm.model import SequenceModel

Array = NDArray[Any]

#: The longest text, in symbols, unless told otherwise.
AT_MOST = 20


def explain(model: SequenceModel, text: Text, *, at_most: int = AT_MOST) -> Explanation:
    """Write down every number of a forward and a backward pass.

    Args:
        model: read without dropout, even in training mode.
        text: a few symbols, as a text or a list.
        at_most: the longest text, in symbols; each fills a page.

    Returns: tables of the forward pass, of the backward pass from the last symbol to the first, and of the weight
        gradients.
    Raises: ValueError if the text is empty, too long, or predicts nothing, or equations.py lacks the kind of cell.

    >>> from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
    >>> paper = explain(SequenceModel(ModelConfig(cell="gru", hidden_size=3), Vocabulary("ab")), ["a", "a", "b"])
    >>> [line.name for line in paper.tables[1].lines]
    ['a_r', 'a_z', 'hn', 'r', 'z', 'a_n', 'n', 'h']
    """
    equations.of(model.config.kind)
    ids = encoded(model, text)
    if len(ids) > at_most:
        raise ValueError(f"the text has {len(ids)} symbols; an explanation takes at most {at_most}")
    read, back = trace(model, text), gradients(model, text)
    targets = following(model, ids).numpy()
    N = int(np.count_nonzero(targets != IGNORED))
    tables = [table for t in range(len(ids)) for table in _forward(model, read, t, int(targets[t]))]
    for t in reversed(range(len(ids))):
        tables += _backward(model, read, back.layers, t, int(targets[t]), N)
    tables += _weights(model, ids, targets)
    known = ", ".join(f"{visible(name)} {k}" for k, name in enumerate(read.names)) if len(read.names) <= 30 else ""
    words = (
        f"{model!r}. It reads {len(ids)} symbols and predicts {N}; the loss is the mean of -ln p(target), "
        f"{back.nats:.6f} nats, {back.nats / np.log(2):.6f} bits.",
        f"Symbols and their numbers: {known}." if known else f"The vocabulary has {len(read.names)} symbols.",
        "A prime marks the step before: h' is h of the last symbol. A d in front marks the gradient of the loss. "
        "* multiplies element by element.",
    )
    return Explanation(f"“{' '.join(map(visible, read.symbols))}” on paper", words, tuple(tables), back.nats)


def _step(t: int, read: TextTrace) -> str:
    return f"Step {t + 1} of {read.T}, “{visible(read.symbols[t])}”"


def _forward(model: SequenceModel, read: TextTrace, t: int, target: int) -> Iterator[Table]:
    """Yield the input, every layer and the head of one step."""
    names, k = tuple(map(visible, read.names)), read.ids[t]
    if model.embedding is None:
        x, words, columns = np.eye(len(names), dtype=int)[k], f"1 at symbol {k}, else 0", names
    else:
        x, words = model.E.detach()[k].numpy(), f"row {k} of the embedding matrix E"
        columns = _numbers(len(x))
    yield Table(f"{_step(t, read)}: the input", {"x": words}, columns, (Line("x", x),))
    for number, layer in enumerate(read.layers):
        formulas = equations.of(layer.kind).forward
        lines = tuple(Line(name, _quantity(layer, name)[t]) for name in formulas)
        yield Table(f"{_step(t, read)}: {_place(number, read)}", formulas, _numbers(layer.h.shape[1]), lines)
    formulas = {name: HEAD[name] for name in ("logits", "p")}
    if target != IGNORED:
        p = read.probabilities[t, target]
        formulas["loss"] = f"-ln p({names[target]}) = {-np.log(p):.6f} nats, for “{names[target]}” comes next"
    lines = (Line("logits", read.logits[t]), Line("p", read.probabilities[t]))
    yield Table(f"{_step(t, read)}: the head", formulas, names, lines)


def _backward(
    model: SequenceModel, read: TextTrace, back: tuple[LayerGradients, ...], t: int, target: int, N: int
) -> Iterator[Table]:
    """Yield the head and every layer of one step, from the loss down."""
    names = tuple(map(visible, read.names))
    if target == IGNORED:
        dlogits, words = np.zeros_like(read.logits[t]), "0, for nothing is predicted here"
    else:
        dlogits = (read.probabilities[t] - np.eye(len(names), dtype=read.logits.dtype)[target]) / N
        words = f"{HEAD['dlogits']}; the target is “{names[target]}” and N is {N}"
    yield Table(f"Back at step {t + 1}: the head", {"dlogits": words}, names, (Line("dlogits", dlogits),))
    for number in reversed(range(len(read.layers))):
        layer, d = read.layers[number], back[number]
        H = layer.h.shape[1]
        formulas = equations.of(layer.kind).backward
        values = {"dh": d.dh} | ({} if d.dc is None else {"dc": d.dc})
        values |= {f"da_{gate}": d.da[:, k * H : (k + 1) * H] for k, gate in enumerate(GATES[layer.kind])}
        lines = tuple(Line(name, values[name][t]) for name in formulas)
        yield Table(f"Back at step {t + 1}: {_place(number, read)}", formulas, _numbers(H), lines)


def _weights(model: SequenceModel, ids: Array, targets: Array) -> Iterator[Table]:
    """Yield the gradient of every weight, as the backward pass of a training step finds it."""
    named = dict(model.named_parameters())
    with torch.enable_grad(), model.evaluating():
        loss, _ = model.loss(torch.from_numpy(ids)[:, None], torch.from_numpy(targets)[:, None])
        found = torch.autograd.grad(loss, list(named.values()))
    for (name, weight), gradient in zip(named.items(), found, strict=True):
        shape = f"({', '.join(map(str, weight.shape))})"
        if name.startswith("rnn."):
            yield from _cell_weight(model, name, shape, gradient.numpy())
        else:
            yield _other_weight(model, name, shape, gradient.numpy())


def _cell_weight(model: SequenceModel, name: str, shape: str, gradient: Array) -> Iterator[Table]:
    """Yield a weight matrix of a cell gate by gate, a bias with a line for each gate."""
    kind, H = model.config.kind, model.config.hidden_size
    words = equations.of(kind).weights[name.removeprefix("rnn.").partition("_l")[0]]
    blocks = zip(GATES[kind], np.split(gradient, len(GATES[kind])), strict=True)
    if gradient.ndim == 1:
        lines = tuple(Line(f"d{gate}", block) for gate, block in blocks)
        yield Table(f"Gradient of {name} {shape}", {f"d {name}": words}, _numbers(H), lines)
        return
    names = tuple(map(visible, model.vocabulary.names))
    columns = names if name == "rnn.weight_ih_l0" and model.embedding is None else _numbers(gradient.shape[1])
    for gate, block in blocks:
        title = f"Gradient of {name} {shape}" + (f", rows of gate {gate}" if len(GATES[kind]) > 1 else "")
        lines = tuple(Line(f"{gate}[{unit}]", row) for unit, row in enumerate(block))
        yield Table(title, {f"d {name}": words}, columns, lines, matrix=True)


def _other_weight(model: SequenceModel, name: str, shape: str, gradient: Array) -> Table:
    """Return the table of a weight of head, embedding or initial state."""
    stem = "initial" if name.startswith("initial.") else name
    words = TIED if model.config.tied and name == "embedding.weight" else OTHER_WEIGHTS[stem]
    title, symbols = f"Gradient of {name} {shape}", tuple(map(visible, model.vocabulary.names))
    if gradient.ndim == 1:
        return Table(title, {f"d {name}": words}, symbols, (Line(name, gradient),))
    rows = gradient.reshape(-1, gradient.shape[-1])
    labels = [f"layer {k}" for k in range(len(rows))] if stem == "initial" else symbols
    lines = tuple(Line(label, row) for label, row in zip(labels, rows, strict=True))
    return Table(title, {f"d {name}": words}, _numbers(rows.shape[1]), lines, matrix=True)


def _quantity(layer: LayerTrace, name: str) -> Array:
    """Return what an equation names, (T, H)."""
    if name.startswith("a_"):
        return layer.pre_activations[name[2:]]
    return layer.gates["hn"] if name == "hn" else layer.signals[name]


def _numbers(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def _place(number: int, read: TextTrace) -> str:
    return "the cell" if len(read.layers) == 1 else f"the cell of layer {number}"
