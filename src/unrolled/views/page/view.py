"""POST /api/models/{model}/view: what a model does while it reads a text."""

from __future__ import annotations

import time
from base64 import b64encode
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from unrolled.config.checks import Count
from unrolled.runtime.unknown import unknown_note
from unrolled.views import traces
from unrolled.views.page.errors import RequestError
from unrolled.views.page.models import ServedModel, Service
from unrolled.webpage.cards import MOST, SHOWN, UNITS, ArrayCard


class ViewRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A text to look at, and what to show of it."""

    text: str
    layer: Annotated[Count, Meta(description="From 0.")] = 0
    array: Annotated[str, Meta(description="The gate or state to show, one of the model's arrays.")] = "h"
    units: Annotated[list[Count], Meta(description="Units to give the values of, from 0.", max_length=UNITS)] = []


class Heat(Struct, frozen=True):
    """An array (T, H) in 256 steps."""

    T: Annotated[int, Meta(description="Symbols read.", ge=0)]
    H: Annotated[int, Meta(description="Units.", ge=1)]
    low: Annotated[float, Meta(description="What byte 0 stands for; of an array without bounds, or anything below.")]
    high: Annotated[float, Meta(description="What byte 255 stands for; of an array without bounds, or anything above.")]
    data: Annotated[str, Meta(description="Base64 of T * H bytes; the H units of the first symbol come first.")]


class UnitLine(Struct, frozen=True):
    """One unit over time."""

    unit: Count
    values: Annotated[list[float], Meta(description="After each symbol, T of them.")]


class Next(Struct, frozen=True):
    """What may come next before the first symbol and after each: T + 1 rows, the likeliest symbol first."""

    symbols: list[list[str]]
    probabilities: list[list[float]]


class View(Struct, frozen=True):
    """What a model does while it reads a text of T symbols."""

    symbols: Annotated[list[str], Meta(description="As they are shown; joined, the text.")]
    unknown: Annotated[list[int], Meta(description="Which of them were read as UNK, from 0.")]
    note: Annotated[str, Meta(description="What to say of those, with a hint; empty if there are none.")]
    bits: Annotated[list[float], Meta(description="-log2 p of each symbol given those before it.")]
    next: Next
    heat: Heat
    lines: list[UnitLine]
    seconds: Annotated[float, Meta(description="Time spent in the model.", ge=0)]


def view(service: Service, served: ServedModel, request: ViewRequest) -> View:
    """Return what a model does while it reads a text.

    Raises: RequestError 400 if the model has no such layer, array or unit; 413 if the text is too long; 422 if the
        state overflows.
    """
    ids = served.encode(request.text, service.limits)
    begin = time.perf_counter()
    card, model = served.card, served.model
    served.check_layer(request.layer)
    array = next((each for each in card.arrays if each.name == request.array), None)
    if array is None:
        have = ", ".join(each.name for each in card.arrays)
        raise RequestError(400, f"{card.kind} has no array {request.array!r}; it has {have}")
    for unit in request.units:
        if unit >= card.H:
            raise RequestError(400, f"unit is {unit}; {card.name} has units 0 to {card.H - 1}")
    start = model.start.numpy()[None]  # (1, V)
    best = traces.largest(start, SHOWN)
    p = np.exp(np.take_along_axis(start, best, axis=1).astype(np.float64))
    values, bits = np.empty((0, card.H)), np.empty(0)
    if len(ids):
        read = traces.trace(model, request.text)
        values, bits = read.values(array.name, request.layer), read.bits
        served.check_finite(read.logits)
        best, p = map(np.concatenate, zip((best, p), read.best(SHOWN), strict=True))  # (T + 1, SHOWN)
    served.check_finite(values)
    return View(
        symbols=model.vocabulary.tokenizer.aligned(model.vocabulary.split(request.text)),
        unknown=np.flatnonzero(ids == model.vocabulary.unk_id).tolist(),
        note=unknown_note(model.vocabulary, request.text),
        bits=rounded(bits),
        next=Next([[model.vocabulary.names[k] for k in row] for row in best.tolist()], rounded(p)),
        heat=heat(values, array),
        lines=[UnitLine(unit, rounded(values[:, unit])) for unit in request.units],
        seconds=time.perf_counter() - begin,
    )


def heat(values: NDArray[Any], array: ArrayCard) -> Heat:
    """Return values (T, H) in 256 steps between the bounds of their array; without bounds, where most of them lie."""
    reach = max(1.0, float(np.quantile(np.abs(values), MOST))) if values.size else 1.0
    low, high = (-reach if array.low is None else array.low), (reach if array.high is None else array.high)
    steps = np.rint((values - low) * (255 / (high - low))).clip(0, 255).astype(np.uint8)
    return Heat(len(values), values.shape[1], low, high, b64encode(steps.tobytes()).decode("ascii"))


def rounded(values: NDArray[Any]) -> Any:
    """Return nested lists to five decimals, more than a picture shows."""
    return np.round(values.astype(np.float64), 5).tolist()
