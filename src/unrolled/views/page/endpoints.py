"""Every endpoint of the API, one row each: the routes and the OpenAPI document are both made from this table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from unrolled.views.page.generate import GenerateRequest, generate
from unrolled.views.page.gradients import GradientRequest, GradientsResponse, gradients
from unrolled.views.page.models import Models, Service, models
from unrolled.views.page.requests import decode
from unrolled.views.page.view import View, ViewRequest, view


class Endpoint(NamedTuple):
    """One endpoint.

    Attributes:
        method, path: Where it is.
        handle: Takes the service, the model if the path names one, and the request if it has a body; returns an
            answer of type `response`, or without that type a Response of its own.  Its docstring is the summary.
        request, response: The types of the bodies; None for no body, and for a stream of events.
        errors: The statuses that it may answer with, beside those of every endpoint.
    """

    method: str
    path: str
    handle: Callable[..., Any]
    request: type[msgspec.Struct] | None
    response: type[msgspec.Struct] | None
    errors: tuple[int, ...] = ()

    @property
    def summary(self) -> str:
        """The first line of the handler's docstring."""
        return (self.handle.__doc__ or "").partition("\n")[0]


BODY = (404, 408, 413, 415)
MODEL = "/api/models/{model}"
ENDPOINTS = (
    Endpoint("GET", "/api/models", models, None, Models),
    Endpoint("POST", f"{MODEL}/view", view, ViewRequest, View, (*BODY, 422)),
    Endpoint("POST", f"{MODEL}/gradients", gradients, GradientRequest, GradientsResponse, (*BODY, 422)),
    Endpoint("POST", f"{MODEL}/generate", generate, GenerateRequest, None, BODY),
)


def route(endpoint: Endpoint, service: Service) -> Route:
    """Return the route of an endpoint; work is done on a thread, so that other requests are answered meanwhile."""

    async def answer(request: Request) -> Response:
        arguments: list[Any] = [service]
        if "model" in request.path_params:
            arguments.append(service.find(request.path_params["model"]))
        if endpoint.request is not None:
            arguments.append(await decode(request, endpoint.request, service.limits))
        if endpoint.response is None:
            response: Response = endpoint.handle(*arguments)
            return response

        def encoded() -> bytes:
            with np.errstate(all="ignore"):  # handlers refuse what overflows
                return msgspec.json.encode(endpoint.handle(*arguments))

        return Response(await to_thread.run_sync(encoded, limiter=service.threads), media_type="application/json")

    return Route(endpoint.path, answer, methods=[endpoint.method])
