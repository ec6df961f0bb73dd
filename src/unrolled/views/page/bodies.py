"""The body of a request: never more of it than is allowed, in time, and of the right shape."""

from __future__ import annotations

from typing import TypeVar

import anyio
import msgspec
from starlette.requests import Request

from unrolled.config.server import Limits
from unrolled.views.page.refusals import Refusal

Message = TypeVar("Message", bound=msgspec.Struct)


async def read(request: Request, kind: type[Message], limits: Limits) -> Message:
    """Read a request's JSON.

    Raises: Refusal 415 if it says it is no JSON, 413 if it is too large, 408 if it is too slow, 400 if it is malformed.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "the body must be JSON and say so: Content-Type: application/json")
    body = bytearray()
    try:
        with anyio.fail_after(limits.sending_seconds):
            async for chunk in request.stream():  # counted as it comes: a chunked body has no length to check before
                body += chunk
                if len(body) > limits.body_bytes:
                    raise Refusal(413, f"the body is larger than {limits.body_bytes:,} bytes, the most read here")
    except TimeoutError:
        raise Refusal(408, f"the body took more than {limits.sending_seconds:g} s to arrive") from None
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, f"the body does not fit: {error}") from None
