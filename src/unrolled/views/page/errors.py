"""Every answer that is not a result: a status and one sentence, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response


class Problem(Struct, frozen=True):
    """Why a request failed."""

    error: Annotated[str, Meta(description="What is wrong and what to do, in one sentence.")]


class RequestError(Exception):
    """A request that cannot be answered.

    Args:
        status: of the answer.
        sentence: what is wrong and what to do.
        headers: to send with it.
    """

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None):
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, dict(headers or {})

    def __reduce__(self) -> tuple[type[RequestError], tuple[int, str, Mapping[str, str]]]:
        return type(self), (self.status, self.sentence, self.headers)

    def response(self) -> Response:
        """Return the answer to send."""
        body = msgspec.json.encode(Problem(self.sentence))
        return Response(body, self.status, self.headers, "application/json")


async def request_error(request: Request, error: Exception) -> Response:
    """Answer a request that raised a RequestError."""
    assert isinstance(error, RequestError)
    return error.response()


async def no_route(request: Request, error: Exception) -> Response:
    """Answer a path that does not exist, or a method that it does not take."""
    assert isinstance(error, HTTPException)
    method, path = request.method, request.url.path
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return RequestError(405, f"{path} does not answer {method}; use {allowed}", error.headers).response()
    return RequestError(404, f"there is nothing at {path}; /api/openapi.json lists what there is").response()


async def server_error(request: Request, error: Exception) -> Response:
    """Answer a request that failed because of an error in the server."""
    return RequestError(500, "internal error of the server; its log says more").response()


#: What Starlette calls for each exception.
HANDLERS = {RequestError: request_error, HTTPException: no_route, Exception: server_error}
