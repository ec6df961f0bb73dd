"""The OpenAPI document, made from the table of endpoints and the types that decode and encode their messages."""

from __future__ import annotations

from typing import Any

import msgspec

from unrolled import __version__
from unrolled.views.page.endpoints import ENDPOINTS
from unrolled.views.page.errors import Problem
from unrolled.views.page.generate import End, Piece

#: Statuses that any request may be answered with: wrong use, another site's page, too many requests at a time.
ALWAYS = (400, 403, 429)
WHY = {
    400: "Wrong host, malformed JSON, or a value out of its range.",
    403: "The request comes from another site's page.",
    404: "No model of this name.",
    408: "The request took too long to arrive.",
    413: "The body or the text is too long.",
    415: "The body is not sent as JSON, or is compressed.",
    422: "The model's state overflows on this text.",
    429: "Too many requests at a time; Retry-After says when to try again.",
}


def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document.

    >>> sorted(document()["paths"])[0]
    '/api/models'
    """
    kinds = [kind for each in ENDPOINTS for kind in (each.request, each.response) if kind]
    _, schemas = msgspec.json.schema_components(
        [*kinds, Problem, Piece, End], ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for each in ENDPOINTS:
        operation: dict[str, Any] = {"summary": each.summary, "operationId": each.path.rpartition("/")[2]}
        if "{model}" in each.path:
            operation["parameters"] = [{"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}]
        if each.request:
            operation["requestBody"] = {"required": True, "content": _json(each.request)}
        answer = _json(each.response) if each.response else {"text/event-stream": {"schema": {"type": "string"}}}
        operation["responses"] = {"200": {"description": "Done.", "content": answer}} | {
            str(status): {"description": WHY[status], "content": _json(Problem)}
            for status in sorted({*ALWAYS, *each.errors})
        }
        paths.setdefault(each.path, {})[each.method.lower()] = operation
    info = {"title": "unrolled", "version": __version__, "description": "Look inside recurrent networks."}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _json(kind: type) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}
