"""The body of a request: of limited size, in limited time, and decoded into its message type."""

from __future__ import annotations

from typing import TypeVar

import anyio
import msgspec
from starlette.requests import ClientDisconnect, Request

from unrolled.config.options import brief
from unrolled.config.server import Limits
from unrolled.views.page.errors import RequestError
from unrolled.words import counted

Message = TypeVar("Message", bound=msgspec.Struct)


async def decode(request: Request, kind: type[Message], limits: Limits) -> Message:
    """Read and decode a request's JSON.

    Raises: RequestError 415 if it is compressed or not sent as JSON, 413 if it is too large, 408 if it is too slow, 400
        if it is malformed.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RequestError(415, "the body must be sent as JSON, with Content-Type: application/json")
    too_large = RequestError(413, f"the body is larger than {counted(limits.body_bytes, 'byte')}, the limit here")
    if (encoding := request.headers.get("content-encoding", "identity").strip().lower()) != "identity":
        raise RequestError(415, f"the body is encoded as {brief(encoding)}; send it as it is, without Content-Encoding")
    if int(request.headers.get("content-length", 0)) > limits.body_bytes:  # a number: h11 has read it
        raise too_large
    body = bytearray()
    try:
        with anyio.fail_after(limits.sending_seconds):
            async for chunk in request.stream():  # counted as it comes: a chunked body has no length to check before
                body += chunk
                if len(body) > limits.body_bytes:
                    raise too_large
    except ClientDisconnect:
        raise RequestError(400, "the client left before its request was whole") from None  # which nobody will read
    except TimeoutError:
        raise RequestError(408, f"the body took more than {limits.sending_seconds:g} s to arrive") from None
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(400, f"the body does not fit: {error}") from None
