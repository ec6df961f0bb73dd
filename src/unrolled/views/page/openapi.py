"""The description of the interface, made from the very types that decode and encode it."""

from __future__ import annotations

from typing import Any

import msgspec

from unrolled import __version__
from unrolled.views.page import messages as m

#: (method, path): (what it does, what it reads, what it answers, the refusals it may give).
OPERATIONS: dict[tuple[str, str], tuple[str, type | None, type | None, tuple[int, ...]]] = {
    ("get", "/api/models"): ("The models and the limits of this server.", None, m.Models, ()),
    ("post", "/api/models/{model}/view"): (
        "What a model does while it reads a text.",
        m.ViewRequest,
        m.View,
        (404, 408, 413, 415, 422),
    ),
    ("post", "/api/models/{model}/gradients"): (
        "How far back a model's state depends on its past.",
        m.GradientRequest,
        m.Gradients,
        (404, 408, 413, 415, 422),
    ),
    ("post", "/api/models/{model}/generate"): (
        "New text as server-sent events: any number of `piece`, then one `end` or `error`.",
        m.GenerateRequest,
        None,
        (404, 408, 413, 415),
    ),
}
#: Any request may get these: wrong use, another page's request, too many at a time.
ALWAYS = (400, 403, 429)
WHY = {
    400: "Wrong host, malformed JSON, or a value out of its range.",
    403: "Another site's page asks.",
    404: "No model of this name.",
    408: "The request took too long to arrive.",
    413: "The body or the text is too long.",
    415: "The body does not say that it is JSON.",
    422: "The model's state overflows on this text.",
    429: "Too many requests at a time; Retry-After says when to come again.",
}


def description() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document.

    >>> sorted(description()["paths"])[0]
    '/api/models'
    """
    kinds = [kind for _, asked, given, _ in OPERATIONS.values() for kind in (asked, given) if kind]
    kinds += [m.Problem, m.Piece, m.End]
    _, schemas = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), (summary, asked, given, refusals) in OPERATIONS.items():
        operation: dict[str, Any] = {"summary": summary, "operationId": path.rpartition("/")[2]}
        if "{model}" in path:
            operation["parameters"] = [{"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}]
        if asked:
            operation["requestBody"] = {"required": True, "content": _json(asked)}
        answer = _json(given) if given else {"text/event-stream": {"schema": {"type": "string"}}}
        operation["responses"] = {"200": {"description": "Done.", "content": answer}} | {
            str(status): {"description": WHY[status], "content": _json(m.Problem)}
            for status in sorted({*ALWAYS, *refusals})
        }
        paths.setdefault(path, {})[method] = operation
    info = {"title": "unrolled", "version": __version__, "description": "Look into recurrent networks."}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _json(kind: type) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}
