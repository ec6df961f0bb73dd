"""What the page shows of one text, made from the arrays of :mod:`unrolled.views`."""

from __future__ import annotations

import time
from base64 import b64encode
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unrolled.saved.vocabulary import Ids
from unrolled.views import traces
from unrolled.views.gradients import gradients, saliency
from unrolled.views.jacobians import LAGS, jacobians
from unrolled.views.page.messages import (
    ArrayCard,
    Gradient,
    GradientRequest,
    Gradients,
    Heat,
    Line,
    Next,
    View,
    ViewRequest,
)
from unrolled.views.page.refusals import Refusal
from unrolled.views.page.served import Served

#: Likeliest next symbols that are shown.
SHOWN = 10

#: The share of values that the colours of an array without bounds tell apart; what lies beyond has the last colour.
MOST = 0.99

#: Multiplications H^3 that one request may spend on Jacobians: about a second.
JACOBIAN_WORK = 3e8


def view(served: Served, request: ViewRequest, ids: Ids) -> View:
    """Return what a model does while it reads symbols ids (T,).

    Raises: Refusal 400 if the model has no such layer, array or unit; 422 if its state overflows.
    """
    begin = time.perf_counter()
    card, model = served.card, served.seen
    check_layer(card.L, request.layer)
    array = next((each for each in card.arrays if each.name == request.array), None)
    if array is None:
        have = ", ".join(each.name for each in card.arrays)
        raise Refusal(400, f"a {card.kind} has no array {request.array!r}; it has {have}")
    for unit in request.units:
        if unit >= card.H:
            raise Refusal(400, f"unit is {unit}; {card.name} has units 0 to {card.H - 1}")
    start = np.exp(model.start.numpy().astype(np.float64))[None]  # (1, V)
    values, p, bits = np.empty((0, card.H)), start, np.empty(0)
    if len(ids):
        read = traces.trace(model, request.text)
        values, bits = read.values(array.name, request.layer), read.bits
        p = np.concatenate([start, read.probabilities])  # (T + 1, V)
    check_finite(served, p, values)
    return View(
        symbols=model.vocabulary.tokenizer.aligned(model.vocabulary.split(request.text)),
        unknown=np.flatnonzero(ids == model.vocabulary.unk_id).tolist(),
        bits=rounded(bits),
        next=likeliest(p, model.vocabulary.names),
        heat=heat(values, array),
        lines=[Line(unit, rounded(values[:, unit])) for unit in request.units],
        seconds=time.perf_counter() - begin,
    )


def reach(served: Served, request: GradientRequest, ids: Ids) -> Gradients:
    """Return how far back the end of symbols ids (T,) depends on its past.

    Raises: Refusal 400 if the model has no such layer; 422 if its state overflows.
    """
    begin = time.perf_counter()
    model, text, T = served.seen, request.text, len(ids)
    check_layer(served.card.L, request.layer)
    found: dict[Literal["x", "h", "c"], NDArray[Any] | None] = {}
    singular: dict[str, float] = {}
    if T and request.of == "symbols":
        found = {"x": saliency(model, text, at_most=T)[::-1]}
    elif T and request.of == "loss":
        layer = gradients(model, text, position=-1, at_most=T).layers[request.layer]
        found = {"h": layer.h_norms[::-1], "c": None if layer.c_norms is None else layer.c_norms[::-1]}
    elif T:
        most = min(LAGS, max(5, int(JACOBIAN_WORK / served.card.H**3)))
        exact = jacobians(model, text, layer=request.layer, lags=most)
        found, singular = {"h": exact.h, "c": exact.c}, exact.singular
    kept = {by: norms for by, norms in found.items() if norms is not None}
    check_finite(served, *kept.values())
    return Gradients(
        gradients=[Gradient(by, norms.astype(float).tolist()) for by, norms in kept.items()],
        cut=any(len(norms) < T for norms in kept.values()),
        singular=singular,
        seconds=time.perf_counter() - begin,
    )


def check_layer(L: int, layer: int) -> None:
    """Refuse a layer that is not there."""
    if layer >= L:
        raise Refusal(400, f"layer is {layer}; the model has layers 0 to {L - 1}")


def check_finite(served: Served, *rows: NDArray[Any]) -> None:
    """Refuse arrays with NaN or inf, which neither JSON nor a picture can hold."""
    for values in rows:
        wrong = np.flatnonzero(~np.isfinite(values).all(axis=tuple(range(1, values.ndim))))
        if wrong.size:
            where = f"after {wrong[0]} symbols the state of {served.card.name} is no longer finite"
            raise Refusal(422, f"{where}, so there is nothing to show; shorten the text")


def likeliest(p: NDArray[Any], names: tuple[str, ...]) -> Next:
    """Return the likeliest symbols of each row of p (T + 1, V), the likeliest first."""
    best = np.argsort(-p, axis=1, kind="stable")[:, :SHOWN]
    symbols = [[names[k] for k in row] for row in best.tolist()]
    return Next(symbols, rounded(np.take_along_axis(p, best, axis=1)))


def heat(values: NDArray[Any], array: ArrayCard) -> Heat:
    """Return values (T, H) in 256 steps between the bounds of their array; without bounds, where most of them lie."""
    reach = max(1.0, float(np.quantile(np.abs(values), MOST))) if values.size else 1.0
    low, high = (-reach if array.low is None else array.low), (reach if array.high is None else array.high)
    steps = np.rint((values - low) * (255 / (high - low))).clip(0, 255).astype(np.uint8)
    return Heat(len(values), values.shape[1], low, high, b64encode(steps.tobytes()).decode("ascii"))


def rounded(values: NDArray[Any]) -> Any:
    """Return nested lists to five decimals, more than a picture shows."""
    return np.round(values.astype(np.float64), 5).tolist()
