"""A whole forward and backward pass on paper: every number of a few symbols, with its shape and its equation.

Gates, states, logits, weight gradients and the gradients da of the pre-activations are those of the kernels.  dh and dc
follow from da by the chain rule; the products and pre-activations, which the kernels overwrite, are recomputed from x
and h.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.config.checks import PositiveInt, check_value
from unrolled.core.sampling import log_softmax
from unrolled.corpus.batching import IGNORED
from unrolled.notation import GATES
from unrolled.saved.vocabulary import Text
from unrolled.views import equations
from unrolled.views.equations import HEAD, OTHER_WEIGHTS, TIED, block, gradient, products
from unrolled.views.gradients import LayerGradients, following, gradients
from unrolled.views.paper import Explanation, Line, Table
from unrolled.views.symbols import visible
from unrolled.views.traces import LayerTrace, TextTrace, encoded, trace
from unrolled.words import counted

if TYPE_CHECKING:
    from unrolled.lm.model import SequenceModel

Array = NDArray[Any]

#: The longest text, in symbols, unless told otherwise.
AT_MOST = 20


@torch.inference_mode(False)
def explain(model: SequenceModel, text: Text, *, at_most: int = AT_MOST) -> Explanation:
    """Write down every number of a forward and a backward pass.

    Args:
        model: read without dropout, even in training mode.
        text: a few symbols, as a text or a list.
        at_most: the longest text, in symbols; each fills a page.

    Returns: tables of the weights, of the forward pass, of the backward pass from the last symbol to the first, and of
        the weights' gradients.
    Raises: ValueError if the text is empty, too long, or predicts nothing, or equations.py lacks the kind of cell.

    >>> from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
    >>> paper = explain(SequenceModel(ModelConfig(cell="gru", hidden_size=3), Vocabulary("ab")), ["a", "a", "b"])
    >>> [line.name for table in paper.tables if table.title.endswith("the cell") for line in table.lines][:7]
    ['W_ir x', 'W_iz x', 'W_in x', "W_hr h'", "W_hz h'", "W_hn h'", 'a_r']
    """
    equations.of(model.config.kind)
    check_value("at_most", at_most, PositiveInt)
    ids = encoded(model, text)
    if len(ids) > at_most:
        raise ValueError(f"the text has {counted(len(ids), 'symbol')}; an explanation takes at most {at_most}")
    read, back = trace(model, text), gradients(model, text)
    targets = following(model, ids).numpy()
    N = int(np.count_nonzero(targets != IGNORED))
    named = {name: weight.detach().numpy() for name, weight in model.named_parameters()}
    tables = [
        *_weights(model, named),
        *(each for t in range(len(ids)) for each in _forward(model, read, t, targets[t])),
    ]
    for t in reversed(range(len(ids))):
        tables += _backward(read, back.layers, t, int(targets[t]), N)
    tables += _weights(model, _weight_gradients(model, ids, targets), of_gradients=True)
    V = counted(len(read.names), "symbol")
    known = ", ".join(f"{visible(name)} {k}" for k, name in enumerate(read.names)) if len(read.names) <= 30 else ""
    words = (
        f"{model!r}. It reads {counted(len(ids), 'symbol')} and predicts {N}.",
        f"Symbols and their numbers: {known}." if known else f"The vocabulary has {V}.",
        "A prime marks the previous step: h' is h of the previous symbol, and 0 at the first unless it is learned. "
        "A d in front marks the gradient of the loss. * multiplies element by element; W_hh h' is a matrix times a "
        "vector, and ^T transposes the matrix.",
        f"The loss is the mean of -ln p(target) over the {counted(N, 'predicted symbol')}",
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
    yield Table(f"{_step(t, read)}: the input", {"x": words}, columns, (Line("x", x),), given=True)
    for number, layer in enumerate(read.layers):
        one_hot = layer.x.ndim == 1
        multiplied = products(layer.kind, "i") + products(layer.kind, "h")
        formulas = {} if not one_hot else dict.fromkeys(products(layer.kind, "i"), f"its column “{names[k]}”")
        values = dict(
            zip(multiplied, np.concatenate(layer.products, axis=1)[t].reshape(len(multiplied), -1), strict=True)
        )
        formulas |= equations.of(layer.kind).forward
        values |= {name: _quantity(layer, name)[t] for name in equations.of(layer.kind).forward}
        lines = tuple(Line(name, each) for name, each in values.items())
        yield Table(f"{_step(t, read)}: {_place(number, read)}", formulas, _numbers(layer.h.shape[1]), lines)
    formulas = {name: HEAD[name] for name in ("y", "p")}
    lines = (Line("y", read.logits[t]), Line("p", read.probabilities[t]))
    if target != IGNORED:
        formulas["loss"] = f"-ln p({names[target]}) in nats, because “{names[target]}” comes next"
        lines = (*lines, Line("loss", -log_softmax(read.logits[t : t + 1])[0, target : target + 1]))
    yield Table(f"{_step(t, read)}: the head", formulas, names, lines)


def _backward(read: TextTrace, back: tuple[LayerGradients, ...], t: int, target: int, N: int) -> Iterator[Table]:
    """Yield the head and every layer of one step, from the loss down."""
    names = tuple(map(visible, read.names))
    if target == IGNORED:
        dy, words = np.zeros_like(read.logits[t]), "0, because nothing is predicted here"
    else:
        dy = (read.probabilities[t] - np.eye(len(names), dtype=read.logits.dtype)[target]) / N
        words = f"{HEAD['dy']}; the target is “{names[target]}” and N is {N}"
    yield Table(f"Back at step {t + 1}: the head", {"dy": words}, names, (Line("dy", dy),))
    for number in reversed(range(len(read.layers))):
        layer, d = read.layers[number], back[number]
        H = layer.h.shape[1]
        top = number == len(read.layers) - 1
        above = "W_hy^T dy" if top else f"{equations.backwards(layer.kind, 'i')} of layer {number + 1}"
        formulas = equations.of(layer.kind).backward
        formulas = formulas | {"dh": f"{above}, + {formulas['dh']}" if t < read.T - 1 else above}
        values = {"dh": d.dh} | ({} if d.dc is None else {"dc": d.dc})
        values |= {f"da_{gate}": d.da[:, k * H : (k + 1) * H] for k, gate in enumerate(GATES[layer.kind])}
        lines = tuple(Line(name, values[name][t]) for name in formulas)
        yield Table(f"Back at step {t + 1}: {_place(number, read)}", formulas, _numbers(H), lines)


def _weight_gradients(model: SequenceModel, ids: Array, targets: Array) -> dict[str, Array]:
    """Return the gradient of every weight, as the backward pass of a training step finds it."""
    if not all(p.requires_grad and not p.is_inference() for p in model.parameters()):
        model = deepcopy(model).requires_grad_()
    named = dict(model.named_parameters())
    with torch.enable_grad(), model.evaluating():
        loss, _ = model.loss(torch.from_numpy(ids)[:, None], torch.from_numpy(targets)[:, None])
        found = torch.autograd.grad(loss, list(named.values()))
    return {name: each.numpy() for name, each in zip(named, found, strict=True)}


def _weights(model: SequenceModel, named: Mapping[str, Array], *, of_gradients: bool = False) -> Iterator[Table]:
    """Yield every weight by its name in the equations, or its gradient; those of a cell gate by gate."""
    heading = "The gradients" if of_gradients else "The weights"
    symbols = tuple(map(visible, model.vocabulary.names))
    for layer in range(model.config.num_layers):
        stored = {stem: named[f"rnn.{stem}_l{layer}"] for stem in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        of = f"{heading} of layer {layer}" if model.config.num_layers > 1 else heading
        yield from _of_cell(model, of, layer, stored, symbols, of_gradients)
    for stored_name, values in named.items():
        if stored_name.startswith("rnn."):
            continue
        other = TIED if model.config.tied and stored_name == "embedding.weight" else OTHER_WEIGHTS[stored_name]
        name = gradient(other.name) if of_gradients else other.name
        title = f"{heading}: {name} {_shape(values)}, {stored_name}"
        rows = values.reshape(-1, values.shape[-1])
        labels = [name] if values.ndim == 1 else _numbers(len(rows)) if stored_name.startswith("initial") else symbols
        columns = symbols if values.ndim == 1 else _numbers(rows.shape[1])
        lines = tuple(Line(label, row) for label, row in zip(labels, rows, strict=True))
        formulas = {name: other.gradient} if of_gradients else {}
        yield Table(title, formulas, columns, lines, matrix=values.ndim > 1, given=not of_gradients)


def _of_cell(
    model: SequenceModel, heading: str, layer: int, stored: Mapping[str, Array], symbols: tuple[str, ...], d: bool
) -> Iterator[Table]:
    """Yield the weight matrices of a cell gate by gate, then its biases with a line for each gate."""
    kind, H = model.config.kind, model.config.hidden_size
    biases: list[Line] = []
    formulas: equations.Equations = {}
    for letter, stem in (("W", "weight"), ("b", "bias")):
        for side in "ih":
            blocks = np.split(stored[f"{stem}_{side}h"], len(GATES[kind]))
            for k, (gate, values) in enumerate(zip(GATES[kind], blocks, strict=True)):
                name = block(letter, side, gate)
                shown, words = (gradient(name), equations.of_weight(kind, letter, side, gate)) if d else (name, "")
                if letter == "b":
                    biases.append(Line(shown, values))
                    formulas |= {shown: words} if words else {}
                    continue
                one_hot = side == "i" and not layer and model.embedding is None
                columns = symbols if one_hot else _numbers(values.shape[1])
                title = (
                    f"{heading}: {shown} {_shape(values)}, rows {k * H} to {(k + 1) * H - 1} of {stem}_{side}h_l{layer}"
                )
                lines = tuple(Line(str(unit), row) for unit, row in enumerate(values))
                yield Table(title, {shown: words} if words else {}, columns, lines, matrix=True, given=not d)
    yield Table(f"{heading}: the biases", formulas, _numbers(H), tuple(biases), given=not d)


def _quantity(layer: LayerTrace, name: str) -> Array:
    """Return what an equation names, (T, H)."""
    if name.startswith("a_"):
        return layer.pre_activations[name[2:]]
    return layer.gates["hn"] if name == "hn" else layer.signals[name]


def _numbers(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def _shape(values: Array) -> str:
    return f"({', '.join(map(str, values.shape))})"


def _place(number: int, read: TextTrace) -> str:
    return "the cell" if len(read.layers) == 1 else f"the cell of layer {number}"
