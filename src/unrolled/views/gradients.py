"""How far a loss reaches back: gradients of every state, and which past symbol mattered.

All gradients come from the backward pass of the layers themselves.  Those of the pre-activations, da, are obtained
through a zero input wired to each gate with weight one (a probe); adding zeros changes no bit of the forward pass.

T symbols read, V vocabulary, I input size, H hidden, G gates of a cell, L the loss in nats.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, embedding, linear, one_hot

from unrolled.config.checks import Index, PositiveInt, check_value
from unrolled.core.fields import Weights
from unrolled.core.free_memory import available
from unrolled.corpus.batching import IGNORED
from unrolled.nn import dispatch
from unrolled.nn.layout import savable
from unrolled.nn.reference import LayerResult
from unrolled.nn.stack import run_stack
from unrolled.notation import cell_name, gate_slice
from unrolled.saved.vocabulary import Ids, Text
from unrolled.views.traces import CHUNK, encoded
from unrolled.words import counted, sized

if TYPE_CHECKING:
    from unrolled.lm.model import SequenceModel, State

Array = NDArray[Any]

#: Where the axis of every picture of norms ends: what is smaller leaves it below, and the picture says so.
FLOOR = 1e-12
#: Symbols that gradients are propagated back through, unless told otherwise.
AT_MOST = 2_000


@dataclass(frozen=True)
class LayerGradients:
    """Gradients of the loss with respect to what one layer computed, in nats per unit.

    Attributes:
        dh: Of each hidden state, along all paths to the loss, (T, H).
        dc: Of each cell state, likewise, (T, H); None if the cell has none.
        da: Of the pre-activations, gates in the order of notation.py, (T, G*H).
    """

    dh: Array
    dc: Array | None
    da: Array

    @property
    def h_norms(self) -> Array:
        """|dL/dh_t|, (T,)."""
        return _norms(self.dh)

    @property
    def c_norms(self) -> Array | None:
        """|dL/dc_t|, (T,); None if the cell has no cell state."""
        return None if self.dc is None else _norms(self.dc)


@dataclass(frozen=True)
class TextGradients:
    """Gradients of a loss with respect to every state on the way to it.

    Attributes:
        symbols: The names of the T symbols that gradients were propagated through.
        first: The position of the first of them in the text.
        nats: The loss.
        layers: Gradients in each stacked layer, the first layer first.
        dx: Gradient with respect to what the first layer read: (T, V) one-hot, or (T, E) embedded.
    """

    symbols: tuple[str, ...]
    first: int
    nats: float
    layers: tuple[LayerGradients, ...]
    dx: Array

    @property
    def x_norms(self) -> Array:
        """|dL/dx_t|, (T,)."""
        return _norms(self.dx)


@torch.inference_mode(False)
def gradients(
    model: SequenceModel, text: Text, *, position: int | None = None, symbol: str | None = None, at_most: int = AT_MOST
) -> TextGradients:
    """Return the gradient of a loss with respect to every state while a text was read.

    Args:
        model: read without dropout, even in training mode.
        text: a text, or a list of symbols.
        position: take the loss of the symbol after text[position] alone; if None, the mean over the whole text.
        symbol: with `position`, the symbol to predict there; if None, the one that follows in the text, or the
            likeliest where the text ends.
        at_most: symbols to propagate back through.  Earlier ones only set the state, and a warning says so.

    Raises: ValueError if the text is empty or predicts nothing, the position lies outside it or back too far, or the
        vocabulary lacks the symbol.

    >>> from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
    >>> model = SequenceModel(ModelConfig(cell="lstm", hidden_size=5), Vocabulary("ab"))
    >>> found = gradients(model, ["a", "b", "b"])
    >>> found.layers[0].h_norms.shape, found.layers[0].dc.shape, found.dx.shape
    ((3,), (3, 5), (3, 4))
    """
    ids = encoded(model, text)
    first, state = _reach(model, ids, at_most)
    here = torch.from_numpy(ids[first:])
    with torch.enable_grad():
        unrolled = _unroll(model, _vectors(model, here[:, None]).requires_grad_(), state)
        logits = unrolled.logits[:, 0]  # (T, V)
        if position is None:
            targets = following(model, ids)[first:]
        else:
            targets = torch.full_like(here, IGNORED)
            row = check_position(position, first, len(ids)) - first
            targets[row] = _aim(model, ids, position % len(ids), symbol, logits[row])
        counted = int((targets != IGNORED).sum())
        if not counted:
            raise ValueError("a text of one symbol predicts nothing; give two")
        loss = cross_entropy(logits, targets, reduction="sum", ignore_index=IGNORED) / counted
        dx, *flowing = torch.autograd.grad(loss, [unrolled.x, *unrolled.probes, *unrolled.outputs])
    L = len(unrolled.probes)
    rows = [d[:, 0].numpy() for d in flowing]
    layers = [
        _through_time(model.config.kind, dy, da, gates, model.layer_weights()[k].W_hh.detach().numpy())
        for k, (da, dy, gates) in enumerate(zip(rows[:L], rows[L:], unrolled.gates, strict=True))
    ]
    names = model.vocabulary.names
    return TextGradients(tuple(names[k] for k in ids[first:]), first, loss.item(), tuple(layers), dx[:, 0].numpy())


@torch.inference_mode(False)
def saliency(
    model: SequenceModel, text: Text, position: int = -1, *, symbol: str | None = None, at_most: int = AT_MOST
) -> Array:
    """Return how much each symbol up to a position matters for what is predicted there, |d logit / d x_s|.

    Args: as :func:`gradients`; the logit is that of `symbol`, predicted after text[position].
    Returns: (position + 1,), zero for symbols further back than `at_most`.
    Raises: as :func:`gradients`.
    Source: A. Madsen, "Visualizing memorization in RNNs", Distill, 2019.

    >>> from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
    >>> saliency(SequenceModel(ModelConfig(hidden_size=5), Vocabulary("ab")), ["a", "b", "b"]).shape
    (3,)
    """
    ids = encoded(model, text)
    end = check_position(position, 0, len(ids)) + 1
    first, state = _reach(model, ids[:end], at_most)
    here = torch.from_numpy(ids[first:end])
    with torch.enable_grad():
        unrolled = _unroll(model, _vectors(model, here[:, None]).requires_grad_(), state, probe=False)
        last = unrolled.logits[-1, 0]
        (dx,) = torch.autograd.grad(last[_aim(model, ids, end - 1, symbol, last)], [unrolled.x])
    norms = np.zeros(end)
    norms[first:] = _norms(dx[:, 0].numpy())
    return norms


@torch.inference_mode(False)
def connectivity(model: SequenceModel, text: Text) -> Array:
    """Return the saliency at every position at once, (T, T): row t is how much each symbol mattered after text[t].

    The rows are one batch of T texts, so time and memory grow with T squared.

    Args: as :func:`saliency`; the logit is that of the symbol that follows, and of the likeliest at the end.
    Raises: ValueError if the text is empty; MemoryError if it is too long for this machine.

    >>> from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
    >>> mattered = connectivity(SequenceModel(ModelConfig(hidden_size=5), Vocabulary("ab")), ["a", "b", "b"])
    >>> bool((mattered[0, 1:] == 0).all())  # what comes later cannot have mattered
    True
    """
    ids = encoded(model, text)
    T, I = len(ids), model.config.embedding_size or len(model.vocabulary)
    layers = sum(W_hh.shape[0] + 3 * W_hh.shape[1] for W_hh in (each.W_hh for each in model.layer_weights()))
    needed, free = T * T * (3 * I + layers) * model.b_y.element_size(), available()
    if needed > free:
        said = f"the text has {counted(T, 'symbol')}, whose connectivity takes about {sized(needed)}"
        raise MemoryError(f"{said}, and {sized(free)} are free; take a shorter text")
    state = tuple(map(_constant, model.initial_state(T)))
    with torch.enable_grad():
        x = _vectors(model, torch.from_numpy(ids)[:, None]).expand(T, T, -1).clone().requires_grad_()  # (T, B, I)
        unrolled = _unroll(model, x, state, probe=False, lengths=torch.arange(1, T + 1, device=x.device))
        last = torch.arange(T, device=x.device)
        logits = unrolled.logits[last, last]  # (B, V)
        aims = torch.tensor([*ids[1:].tolist(), int(logits[-1].argmax())], device=x.device)
        (dx,) = torch.autograd.grad(logits[last, aims].sum(), [x])
    return _norms(dx.transpose(0, 1).numpy())


def check_position(position: int, first: int, T: int) -> int:
    """Return a position in a text counted from its start, for one that may be counted from its end.

    Raises: ValueError if it lies outside first ... T - 1.

    >>> check_position(-1, 0, 5)
    4
    """
    check_value("position", position, Index)
    if not -T <= position < T or position % T < first:
        raise ValueError(
            f"position is {position}, expected {first} to {T - 1}, or -1 for the last of {counted(T, 'symbol')}"
        )
    return position % T


def state_after(model: SequenceModel, ids: Ids) -> State:
    """Return the state after these symbols (T,), each (L, 1, H) and constant; the initial one if there are none."""
    if not len(ids):
        return tuple(map(_constant, model.initial_state(1)))
    state: State | None = None
    with torch.no_grad(), model.evaluating():
        for symbols in torch.split(torch.from_numpy(ids)[:, None], CHUNK):  # what each gives is not kept
            _, state = model.outputs(symbols, state)
    assert state is not None
    return state


class _Unrolled(NamedTuple):
    """A forward pass that gradients can be asked of: x (T, B, I), probes (T, B, G*H), outputs and gates (T, B, H)."""

    x: Tensor
    probes: list[Tensor]
    outputs: list[Tensor]
    gates: list[dict[str, Tensor]]
    logits: Tensor


def _unroll(
    model: SequenceModel, x: Tensor, state: State, *, probe: bool = True, lengths: Tensor | None = None
) -> _Unrolled:
    """Run vectors (T, B, I) through all layers, each with a probe beside its input."""
    kind, first = model.config.kind, x
    probes: list[Tensor] = []

    def run_layer(k: int, x: Tensor, h_0: Tensor | None, c_0: Tensor | None) -> LayerResult:
        weights = Weights._make(None if w is None else _constant(w) for w in model.layer_weights()[k])
        if probe:
            GH = len(weights.W_ih)
            probes.append(x.new_zeros(*x.shape[:2], GH, requires_grad=True))
            identity = torch.eye(GH, dtype=x.dtype, device=x.device)
            x = torch.cat([x, probes[-1]], 2)
            weights = weights._replace(W_ih=torch.cat([weights.W_ih, identity], 1))
        return dispatch.layer(kind, x, h_0, c_0, [weights], lengths=lengths, trace=True)

    outputs, _, recorded = run_stack(run_layer, x, state, model.config.num_layers)
    gates = [{name: gate[0] for name, gate in of_layer.items()} for of_layer in recorded]
    logits = linear(outputs[-1], _constant(model.W_hy), _constant(model.b_y))
    return _Unrolled(first, probes, outputs, gates, logits)


def _through_time(kind: str, dy: Array, da: Array, gates: dict[str, Tensor], W_hh: Array) -> LayerGradients:
    """Return the gradients of every state (T, H), from those of the outputs dy (T, H) and the pre-activations da.

    A state h_t reaches the loss as an output, through W_hh in the gates of step t + 1, and in a GRU past them by z.
    """
    if kind not in THROUGH_TIME:
        known = ", ".join(map(cell_name, THROUGH_TIME))
        raise ValueError(f"gradients of the states of a {cell_name(kind)} are not implemented; there are {known}")
    named = {name: gate[:, 0].numpy() for name, gate in gates.items()}  # each (T, H)
    return THROUGH_TIME[kind](dy, da, named, W_hh)


def _rnn(dy: Array, da: Array, gates: dict[str, Array], W_hh: Array) -> LayerGradients:
    dh = dy.copy()
    dh[:-1] += da[1:] @ W_hh
    return LayerGradients(dh, None, da)


def _lstm(dy: Array, da: Array, gates: dict[str, Array], W_hh: Array) -> LayerGradients:
    dh = _rnn(dy, da, gates, W_hh).dh
    dc = dh * gates["o"] * (1 - np.tanh(gates["c"]) ** 2)
    for t in range(len(dc) - 2, -1, -1):
        dc[t] += gates["f"][t + 1] * dc[t + 1]
    return LayerGradients(dh, dc, da)


def _gru(dy: Array, da: Array, gates: dict[str, Array], W_hh: Array) -> LayerGradients:
    reaching = da.copy()
    reaching[:, gate_slice("GRU", "n", dy.shape[1])] *= gates["r"]  # W_hn h passes the reset gate
    dh = _rnn(dy, reaching, gates, W_hh).dh
    for t in range(len(dh) - 2, -1, -1):
        dh[t] += gates["z"][t + 1] * dh[t + 1]
    return LayerGradients(dh, None, da)


#: How gradients of states follow from those of outputs and pre-activations; a new cell adds one entry.
THROUGH_TIME: dict[str, Callable[[Array, Array, dict[str, Array], Array], LayerGradients]] = {
    "RNN_TANH": _rnn,
    "RNN_RELU": _rnn,
    "LSTM": _lstm,
    "GRU": _gru,
}


def _reach(model: SequenceModel, ids: Ids, at_most: int) -> tuple[int, State]:
    """Return the first position that gradients reach, and the state before it; warn if it is not the start."""
    check_value("at_most", at_most, PositiveInt)
    first = max(0, len(ids) - at_most)
    if first:
        said = f"the text has {counted(len(ids), 'symbol')}; gradients are propagated back through the last {at_most:,}"
        warnings.warn(said, RuntimeWarning, stacklevel=3)
    return first, state_after(model, ids[:first])


def _vectors(model: SequenceModel, ids: Tensor) -> Tensor:
    """Return what the first layer reads as vectors, (T, B, I): one-hot or embedded."""
    if model.embedding is not None:
        return embedding(ids, _constant(model.E))
    return one_hot(ids, len(model.vocabulary)).to(model.head.weight.dtype)


def _constant(t: Tensor) -> Tensor:
    """Return a weight or state without a gradient, such that gradients can pass it wherever it was made."""
    return savable(t.detach())


def following(model: SequenceModel, ids: Ids) -> Tensor:
    """Return what follows each symbol (T,): the next; at the end EOS if the model learned sequences, else IGNORED."""
    end = model.vocabulary.eos_id if model.framed else IGNORED
    return torch.tensor([*ids[1:].tolist(), end], device="cpu")


def _aim(model: SequenceModel, ids: Ids, position: int, symbol: str | None, logits: Tensor) -> int:
    """Return the id whose logit is looked at, after text[position]; logits are those there, (V,)."""
    names = model.vocabulary.names
    if symbol is None:
        return int(ids[position + 1]) if position + 1 < len(ids) else int(logits.argmax())
    if symbol not in names:
        raise ValueError(f"the vocabulary has no symbol {symbol!r}; it is {model.vocabulary}")
    return names.index(symbol)


def _norms(rows: Array) -> Array:
    """Return the norm along the last axis, in float64: squares of float32 overflow where gradients explode."""
    norms: Array = np.linalg.norm(rows.astype(np.float64), axis=-1)
    return norms
