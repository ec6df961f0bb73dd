"""POST /api/models/{model}/gradients: how far back the end of a text depends on its past."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from numpy.typing import NDArray

from unrolled.config.checks import Count
from unrolled.views.gradients import gradients as state_gradients
from unrolled.views.gradients import saliency
from unrolled.views.jacobians import jacobians
from unrolled.views.page.models import ServedModel, Service
from unrolled.webpage.cards import JACOBIAN_WORK, LAGS


class GradientRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A text at whose last step, T, gradients start."""

    text: str
    of: Annotated[
        Literal["symbols", "loss", "state"],
        Meta(
            description="symbols: of the likeliest next symbol's logit by each symbol read.  loss: of the likeliest "
            "next symbol's loss by each state.  state: of the last state by each state before, by exact Jacobians."
        ),
    ] = "symbols"
    layer: Annotated[Count, Meta(description="From 0; symbols enter the model below all layers.")] = 0


class Gradient(Struct, frozen=True):
    """The size of one gradient against the lag."""

    by: Annotated[Literal["x", "h", "c"], Meta(description="The symbol read, the hidden state or the cell state.")]
    norms: Annotated[list[float], Meta(description="At lag T - t = 0, 1, ...; of a matrix its largest singular value.")]


class GradientsResponse(Struct, frozen=True):
    """How far back the end of a text depends on its past; no gradient for a text without symbols."""

    gradients: list[Gradient]
    cut: Annotated[bool, Meta(description="Whether there are larger lags, which would have taken too long.")]
    singular: Annotated[
        dict[str, float],
        Meta(description="With of = state: the largest singular value of each gate's block of W_hh."),
    ]
    seconds: Annotated[float, Meta(description="Time spent in the model.", ge=0)]


def gradients(service: Service, served: ServedModel, request: GradientRequest) -> GradientsResponse:
    """Return how far back the end of a text depends on its past.

    Raises: RequestError 400 if the model has no such layer; 413 if the text is too long; 422 if the state overflows.
    """
    model, text, T = served.model, request.text, len(served.encode(request.text, service.limits))
    begin = time.perf_counter()
    served.check_layer(request.layer)
    found: dict[Literal["x", "h", "c"], NDArray[Any] | None] = {}
    singular: dict[str, float] = {}
    if T and request.of == "symbols":
        found = {"x": saliency(model, text, at_most=T)[::-1]}
    elif T and request.of == "loss":
        layer = state_gradients(model, text, position=-1, at_most=T).layers[request.layer]
        found = {"h": layer.h_norms[::-1], "c": None if layer.c_norms is None else layer.c_norms[::-1]}
    elif T:
        most = min(LAGS, max(5, int(JACOBIAN_WORK / served.card.H**3)))
        exact = jacobians(model, text, layer=request.layer, lags=most)
        found, singular = {"h": exact.h, "c": exact.c}, exact.singular
    norms_of = {by: norms for by, norms in found.items() if norms is not None}
    served.check_finite(*norms_of.values())
    return GradientsResponse(
        gradients=[Gradient(by, norms.astype(float).tolist()) for by, norms in norms_of.items()],
        cut=any(len(norms) < T for norms in norms_of.values()),
        singular=singular,
        seconds=time.perf_counter() - begin,
    )
