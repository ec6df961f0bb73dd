"""The application: the files of the page, and the API that it calls."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from importlib.resources import files
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

#: The page's content types by file extension; no other file of its folder is served.
TYPES = {
    "html": "text/html",
    "css": "text/css",
    "svg": "image/svg+xml",
    "js": "text/javascript",
    "LICENSE": "text/plain",
}


def create_app(
    models: Mapping[str, SequenceModel], limits: Limits | None = None, hosts: Collection[str] = LOOPBACK
) -> Guard:
    """Return the ASGI application that shows these models.

    Args:
        models: name -> model; they must not be trained while they are served.
        limits: of the server.
        hosts: names that requests may call the server by.

    Raises: ValueError if there is no model, or one has a weight that is not finite.

    >>> from unrolled.lm import ModelConfig, SequenceModel, Vocabulary
    >>> app = create_app({"small": SequenceModel(ModelConfig(hidden_size=3), Vocabulary("ab"))})
    """
    if not models:
        raise ValueError("there is no model to serve; name at least one")
    limits = limits or Limits()
    served = {name: ServedModel.of(name, model) for name, model in models.items()}
    service = Service(served, limits, CapacityLimiter(limits.threads))
    routes = [
        *(_fixed(f"/{'' if path == 'index.html' else path}", *content) for path, content in page_files().items()),
        _fixed("/api/openapi.json", msgspec.json.encode(openapi.document()), "application/json"),
        *(route(endpoint, service) for endpoint in ENDPOINTS),
    ]
    app = Starlette(routes=routes, exception_handlers=HANDLERS)
    app.router.redirect_slashes = False
    return Guard(app, hosts, limits.requests)


def page_files() -> dict[str, tuple[bytes, str]]:
    """Return content and type of every file of the page, by path; a request reads no other file."""
    return dict(_below(files("unrolled.views.page") / "static", ""))


def _below(folder: Traversable, path: str) -> Iterator[tuple[str, tuple[bytes, str]]]:
    for each in folder.iterdir():
        kind = TYPES.get(each.name.rpartition(".")[2])
        if each.is_dir():
            yield from _below(each, f"{path}{each.name}/")
        elif kind:
            yield path + each.name, (each.read_bytes(), kind)


def _fixed(path: str, content: bytes, kind: str) -> Route:
    async def answer(request: Request) -> Response:
        return Response(content, media_type=kind)

    return Route(path, answer)
