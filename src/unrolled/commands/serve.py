"""`unrolled serve`: needs torch and the extra [web]."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from pathlib import Path

import torch
import uvicorn
from rich.console import Console

from unrolled.config.server import Limits
from unrolled.views.page.app import create_app
from unrolled.views.page.guard import LOOPBACK, Guard
from unrolled.views.page.models import load

#: Addresses that stand for all of a machine's; no browser can call them so.
ANY = frozenset({"0.0.0.0", "::"})
#: Seconds that texts in the middle of being written have when the server ends.
GRACE = 2


def serve(folders: Sequence[Path], host: str, port: int, names: Sequence[str], limits: Limits) -> None:
    """Load models and show them until interrupted."""
    torch.set_num_threads(1)  # requests run side by side; threads inside each would only wait for one another
    hosts = allowed(host, names)
    app = create_app(load(folders), limits, hosts)
    with listening(host, port) as listener:
        address = listener.getsockname()
        called = names[0] if names else host
        url = f"http://{f'[{called}]' if ':' in called else called}:{address[1]}/"
        Console().print(f"Open {url} in a browser; Ctrl-C ends.", highlight=False, soft_wrap=True)
        try:
            uvicorn.Server(settings(app, limits)).run(sockets=[listener])
        except KeyboardInterrupt:
            Console().print("Ended.")


def settings(app: Guard, limits: Limits) -> uvicorn.Config:
    """Return how an application is served: HTTP/1.1 alone, and no word on what serves it."""
    return uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE,
        limit_concurrency=4 * limits.requests,
    )


def allowed(host: str, names: Sequence[str]) -> frozenset[str]:
    """Return the names that requests may call the server by.

    Raises: ValueError if it listens on every address and no name is given.

    >>> sorted(allowed("192.0.2.7", ["shelf.example"]))
    ['192.0.2.7', 'shelf.example']
    """
    if host in ANY and not names:
        raise ValueError(f"host is {host}, which no browser calls; add the name they use, as in --name shelf.example")
    return frozenset({*names, *(LOOPBACK if host in ANY | LOOPBACK else {host})})


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises: ValueError if there is no such port; OSError if it is taken or the address is not this machine's.
    """
    if not 0 <= port <= 65_535:
        raise ValueError(f"port is {port}; it must be from 0 to 65535, where 0 is any free one")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        remedies = {
            errno.EADDRINUSE: f"port {port} is in use; name another with --port, or 0 for any free one",
            errno.EACCES: f"port {port} is the system's; name one above 1023 with --port",
        }
        sentence = remedies.get(error.errno or 0, f"cannot listen on {host}: {error.strerror or error}")
        raise OSError(sentence) from None
