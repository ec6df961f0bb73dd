"""How strongly a state depends on earlier ones: products of exact Jacobians against the lag.

Gradients vanish where these products shrink and explode where they grow.

T the last step, K largest lag, H hidden, G gates of a cell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.config.checks import Lags, check_value
from unrolled.nn import dispatch
from unrolled.notation import GATES
from unrolled.saved.vocabulary import Text
from unrolled.views.gradients import check_position, state_after
from unrolled.views.traces import LayerTrace, check_layer, check_type, encoded, read

if TYPE_CHECKING:
    from unrolled.lm.model import SequenceModel

#: The largest lag, unless told otherwise.
LAGS = 100


@dataclass(frozen=True)
class Jacobians:
    """Norms of the exact Jacobians of one layer's state by its earlier ones: their largest singular values.

    Attributes:
        kind: The cell, as notation.py names it.
        h: |dh_T / dh_(T-k)| for k = 0, 1 ..., (K + 1,).
        c: |dh_T / dc_(T-k)|, including the path through h_(T-k); None if the cell has no cell state.
        singular: The largest singular value of each gate's block of W_hh, by gate; "h" for RNN.
        W_hh: The largest singular value of W_hh as a whole, (G*H, H): what cells of different kinds can be compared by.
    """

    kind: str
    h: NDArray[np.float64]
    c: NDArray[np.float64] | None
    singular: dict[str, float]
    W_hh: float


@torch.inference_mode(False)
def jacobians(model: SequenceModel, text: Text, *, layer: int = -1, position: int = -1, lags: int = LAGS) -> Jacobians:
    """Return how strongly a layer's state depends on its own earlier states, against the lag.

    The H unit vectors are propagated back through the layer step by step, by its own backward pass.  After each step
    they are scaled to norm one and the scale is stored as a logarithm, so that no norm underflows or overflows.

    Args:
        model: read without dropout, even in training mode.
        text: a text, or a list of symbols.
        layer: of the model; the last if left out.
        position: the step T, as a position in the text.
        lags: the largest lag K, in steps, 10,000 at most; less if the text is shorter.

    Raises: ValueError if the text is empty, lags out of its range, or there is no such layer or position.
    Source: R. Pascanu et al., "On the difficulty of training recurrent neural networks", 2013, equation (5).

    >>> from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
    >>> found = jacobians(SequenceModel(ModelConfig(cell="gru", hidden_size=5), Vocabulary("ab")), ["a", "b", "b"])
    >>> found.h.shape, float(found.h[0]), sorted(found.singular)
    ((3,), 1.0, ['n', 'r', 'z'])
    """
    check_value("lags", lags, Lags)
    layer = check_layer(layer, model.config.num_layers)
    ids = encoded(model, text)
    T = check_position(position, 0, len(ids))
    first = max(0, T - lags)
    with torch.no_grad():
        layers, _, _ = read(model, torch.from_numpy(ids[first : T + 1])[:, None], state_after(model, ids[:first]))
    seen = layers[layer]
    weights = tuple(torch.from_numpy(w) for w in seen.weights)
    before = [torch.from_numpy(s) for s in (seen.h_prev, seen.c_prev) if s is not None]  # each (K + 1, H)
    H = seen.h.shape[1]
    eye = torch.eye(H, dtype=before[0].dtype, device=before[0].device)
    rows = [eye, torch.zeros_like(eye)][: len(before)]  # of dh_T by the h and c that enter the next step, (H, H)
    h_by_c = _h_by_c(seen)
    norms, scale = [], 0.0
    for t in range(T - first, -1, -1):
        whole = rows[:1] + [rows[1] + rows[0] * torch.from_numpy(each[t]) for each in h_by_c]
        sizes = [_largest_singular(row) for row in whole]
        norms.append([size * math.exp(min(scale, 700.0)) for size in sizes])
        largest = max([*sizes, torch.finfo(eye.dtype).tiny])
        rows, scale = [row / largest for row in rows], scale + math.log(largest)
        if t:
            x = torch.from_numpy(seen.x[t : t + 1, None]).expand(1, H, *seen.x.shape[1:])
            rows = _step_back(seen.kind, x, [s[t].expand(1, H, H) for s in before], weights, rows)
    h, *c = np.array(norms).T
    return Jacobians(
        seen.kind, h, c[0] if c else None, singular_values(model, layer), largest_singular_value(model, layer)
    )


def singular_values(model: SequenceModel, layer: int = -1) -> dict[str, float]:
    """Return the largest singular value of each gate's block of W_hh, by gate; "h" for RNN.

    In a tanh RNN gradients must vanish if it is below 1, and can explode only if it is above.

    >>> from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
    >>> sorted(singular_values(SequenceModel(ModelConfig(cell="lstm", hidden_size=5), Vocabulary("ab"))))
    ['f', 'g', 'i', 'o']
    """
    W_hh = _weights(model, layer)
    gates = GATES[model.config.kind]
    blocks = zip(gates, W_hh.chunk(len(gates)), strict=True)
    return {gate: _largest_singular(block) for gate, block in blocks}


def largest_singular_value(model: SequenceModel, layer: int = -1) -> float:
    """Return the largest singular value of a layer's W_hh as a whole, (G*H, H).

    >>> from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
    >>> model = SequenceModel(ModelConfig(cell="rnn", hidden_size=5), Vocabulary("ab"))
    >>> abs(largest_singular_value(model) - singular_values(model)["h"]) < 1e-6
    True
    """
    return _largest_singular(_weights(model, layer).mT)


def _weights(model: SequenceModel, layer: int) -> Tensor:
    check_type(model)
    W_hh: Tensor = model.layer_weights()[check_layer(layer, model.config.num_layers)].W_hh
    return W_hh.detach()


def _largest_singular(A: Tensor) -> float:
    """Return |A| as the root of the largest eigenvalue of A A^T, in two thirds of the time of an SVD."""
    return float(torch.linalg.eigvalsh(A @ A.mT)[-1].clamp(min=0).sqrt())


def _h_by_c(seen: LayerTrace) -> list[NDArray[Any]]:
    """Return dh_t / dc_t = o_t (1 - tanh(c_t)^2), (K + 1, H); nothing without a cell state."""
    return [] if seen.c is None else [seen.gates["o"] * (1 - np.tanh(seen.c) ** 2)]


def _step_back(
    kind: str, x: Tensor, before: list[Tensor], weights: tuple[Tensor, ...], rows: list[Tensor]
) -> list[Tensor]:
    """Return rows (H, H) of dh, and of dc if there is one, times the Jacobian of one step.

    Args: x (1, B, I) or (1, B) and the states before (1, B, H): the same for each of B = H sequences.
    """
    W_ih, W_hh, b_ih, b_hh = weights
    with torch.enable_grad():
        leaves = [s.clone().requires_grad_() for s in before]
        h_0, c_0, *_ = (*leaves, None)
        _, h_n, c_n, _ = dispatch.layer(kind, x, h_0, c_0, [(W_ih, W_hh, b_ih, b_hh, None)])
        after = [h_n] if c_n is None else [h_n, c_n]
        found = torch.autograd.grad(after, leaves, [row[None] for row in rows])
    return [d[0] for d in found]
