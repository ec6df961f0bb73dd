"""The application: the files of the page, and the API that it calls."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from threading import Event

import msgspec
from anyio import CapacityLimiter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from unrolled.config.server import Limits
from unrolled.lm.model import SequenceModel
from unrolled.views.page import openapi
from unrolled.views.page.endpoints import ENDPOINTS, route
from unrolled.views.page.errors import HANDLERS
from unrolled.views.page.guard import LOOPBACK, Guard
from unrolled.views.page.models import ServedModel, Service
from unrolled.webpage.files import page_files


def create_app(
    models: Mapping[str, SequenceModel], limits: Limits | None = None, hosts: Collection[str] = LOOPBACK
) -> Guard:
    """Return the ASGI application that shows these models.

    Args:
        models: name -> model; they must not be trained while they are served.
        limits: of the server.
        hosts: names that requests may call the server by.

    Raises: ValueError if there is no model, or one has a weight that is not finite or a name that cannot be part of a
        URL.

    >>> from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
    >>> app = create_app({"small": SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab"))})
    """
    if not models:
        raise ValueError("there is no model to serve; name at least one")
    limits = limits or Limits()
    served = {name: ServedModel.of(name, model) for name, model in models.items()}
    service = Service(served, limits, CapacityLimiter(limits.threads), Event())
    routes = [
        *(_fixed(f"/{'' if path == 'index.html' else path}", *content) for path, content in page_files().items()),
        _fixed("/api/openapi.json", msgspec.json.encode(openapi.document()), "application/json"),
        *(route(endpoint, service) for endpoint in ENDPOINTS),
    ]
    app = Starlette(routes=routes, exception_handlers=HANDLERS)
    app.router.redirect_slashes = False
    return Guard(app, hosts, limits.requests, service.ending)


def _fixed(path: str, content: bytes, kind: str) -> Route:
    async def answer(request: Request) -> Response:
        return Response(content, media_type=kind)

    return Route(path, answer)
