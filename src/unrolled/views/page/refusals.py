"""Every answer that is no result: a status and one sentence, as JSON."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from unrolled.views.page.messages import Problem


class Refusal(Exception):
    """A request that is not done.

    Args:
        status: of the answer.
        sentence: what is wrong and what to do.
        headers: to send with it.
    """

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None):
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, dict(headers or {})

    def answer(self) -> Response:
        """Return the answer to send."""
        body = msgspec.json.encode(Problem(self.sentence))
        return Response(body, self.status, self.headers, "application/json")


async def refused(request: Request, refusal: Exception) -> Response:
    """Answer a refusal of ours."""
    assert isinstance(refusal, Refusal)
    return refusal.answer()


async def no_route(request: Request, error: Exception) -> Response:
    """Answer where no route takes the path, or not with this method."""
    assert isinstance(error, HTTPException)
    method, path = request.method, request.url.path
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return Refusal(405, f"{path} does not answer {method}; use {allowed}", error.headers).answer()
    return Refusal(404, f"there is nothing at {path}; /api/openapi.json lists what there is").answer()


async def broken(request: Request, error: Exception) -> Response:
    """Answer a fault of ours; the server's log has the rest."""
    return Refusal(500, "the server made a mistake; its log says more").answer()
