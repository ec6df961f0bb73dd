"""The application: a page, and a small JSON interface that does the page's work."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.resources import files
from typing import Any

import msgspec
import numpy as np
from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from unrolled.config.server import Limits
from unrolled.lm.model import SequenceModel
from unrolled.views.page import bodies, looking, openapi, writing
from unrolled.views.page.guard import LOOPBACK, Guard
from unrolled.views.page.messages import UNITS, GenerateRequest, GradientRequest, Models, ServerLimits, ViewRequest
from unrolled.views.page.refusals import Refusal, broken, no_route, refused
from unrolled.views.page.served import Served

#: The page's own scripts, what it is made of first.
SCRIPTS = (
    "api.js",
    "state.js",
    "colours.js",
    "symbols.js",
    "heatmap.js",
    "charts.js",
    "pane.js",
    "writer.js",
    "app.js",
)

#: Every file of the page and what it is; nothing else is ever read, whatever a path says.
FILES = {
    "index.html": "text/html",
    "style.css": "text/css",
    "icon.svg": "image/svg+xml",
    **dict.fromkeys(SCRIPTS, "text/javascript"),
    "uPlot.min.css": "text/css",
    "uPlot.iife.min.js": "text/javascript",
    "uPlot.LICENSE": "text/plain",
}


def create_app(
    models: Mapping[str, SequenceModel], limits: Limits | None = None, hosts: Collection[str] = LOOPBACK
) -> Guard:
    """Return the ASGI application that shows these models.

    Args:
        models: name -> model; they are not to learn on while they are served.
        limits: how much the server takes on.
        hosts: names that requests may call the server by.

    Raises: ValueError if there is no model, or one has a weight that is not finite.

    >>> from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
    >>> app = create_app({"small": SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab"))})
    """
    if not models:
        raise ValueError("there is no model to serve; name at least one")
    limits = limits or Limits()
    served = {name: Served.of(name, model) for name, model in models.items()}
    routes = [*_pages(), *Interface(served, limits).routes()]
    handlers = {Refusal: refused, HTTPException: no_route, Exception: broken}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return Guard(app, hosts, limits.requests)


def _pages() -> list[Route]:
    """Return a route for each file of the page; what is in them is read now."""
    folder = files("unrolled.views.page") / "static"
    return [_fixed(f"/{'' if name == 'index.html' else name}", (folder / name).read_bytes(), kind)
            for name, kind in FILES.items()]  # fmt: skip


def _fixed(path: str, content: bytes, kind: str) -> Route:
    async def answer(request: Request) -> Response:
        return Response(content, media_type=kind)

    return Route(path, answer)


class Interface:
    """What stands under /api.

    Args:
        served: the models by name.
        limits: how much is taken on.
    """

    def __init__(self, served: Mapping[str, Served], limits: Limits):
        self.served, self.limits = served, limits
        self.threads = CapacityLimiter(limits.threads)
        self.described = msgspec.json.encode(openapi.description())
        known = {name: getattr(limits, name, UNITS) for name in ServerLimits.__struct_fields__}
        self.models = msgspec.json.encode(Models([s.card for s in served.values()], ServerLimits(**known)))

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            _fixed("/api/openapi.json", self.described, "application/json"),
            _fixed("/api/models", self.models, "application/json"),
            Route("/api/models/{model}/view", self.view, methods=["POST"]),
            Route("/api/models/{model}/gradients", self.gradients, methods=["POST"]),
            Route("/api/models/{model}/generate", self.generate, methods=["POST"]),
        ]

    async def view(self, request: Request) -> Response:
        """Answer what a model does while it reads a text."""
        served = self._served(request)
        asked = await bodies.read(request, ViewRequest, self.limits)
        return await self._computed(looking.view, served, asked, served.encode(asked.text, self.limits))

    async def gradients(self, request: Request) -> Response:
        """Answer how far back the end of a text depends on its past."""
        served = self._served(request)
        asked = await bodies.read(request, GradientRequest, self.limits)
        return await self._computed(looking.reach, served, asked, served.encode(asked.text, self.limits))

    async def generate(self, request: Request) -> Response:
        """Stream a text as it is written."""
        served, limits = self._served(request), self.limits
        asked = await bodies.read(request, GenerateRequest, limits)
        if asked.max_length > limits.written_symbols:
            most = f"{limits.written_symbols:,}"
            raise Refusal(400, f"max_length is {asked.max_length:,}; this server writes at most {most} symbols")
        try:
            options = asked.options()
        except ValueError as error:
            raise Refusal(400, str(error)) from None
        ids = served.encode(asked.prompt, limits)
        return writing.start(
            served.writer, ids, options, asked.symbols_per_second, limits.writing_seconds, self.threads
        )

    def _served(self, request: Request) -> Served:
        name = request.path_params["model"]
        if name not in self.served:
            raise Refusal(404, f"there is no model {name!r}; there is {', '.join(self.served)}")
        return self.served[name]

    async def _computed(self, work: Any, *arguments: Any) -> Response:
        """Do work on a thread, so that the others are answered meanwhile."""

        def answer() -> bytes:
            with np.errstate(all="ignore"):  # what overflows is refused where the numbers are looked at
                return msgspec.json.encode(work(*arguments))

        return Response(await to_thread.run_sync(answer, limiter=self.threads), media_type="application/json")
