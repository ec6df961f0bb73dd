"""`unrolled serve`: needs torch and the extra [web]."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from msgspec import Meta

from unrolled.commands import WrongUse, examples
from unrolled.commands.console import PlainConsole
from unrolled.config.options import brief, named_as_flags
from unrolled.config.server import Limits

if TYPE_CHECKING:
    import uvicorn

    from unrolled.views.page.guard import Guard

#: Addresses that stand for all of a machine; no browser can open them.
ANY = frozenset({"0.0.0.0", "::"})
#: Seconds that running generations have left when the server ends.
GRACE = 2

app = App(
    name="serve",
    usage="Usage: unrolled serve MODEL... [OPTIONS]",
    help_epilogue=examples("unrolled serve runs/sonnets", "unrolled serve runs/lstm runs/gru --port 8080"),
)


@app.default
def serve(
    models: Annotated[list[Path], Parameter(help="Folders of trained models.")],
    /,
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8000,
    name: list[str] | None = None,
    limits: Annotated[Limits, Parameter(name="*", group="Limits")] = Limits(),
) -> None:
    """Show models in the browser while you type: gates, units, gradients, and text as it is written.

    Args:
        host: Address to listen on; the default can be reached only from this machine.
        port: Port to listen on; 0 means any free one.
        name: A host name that browsers may use for this server, besides its address; may be repeated.
    """
    import torch

    from unrolled.views.page.app import create_app
    from unrolled.views.page.connections import Server
    from unrolled.views.page.models import load

    torch.set_num_threads(1)  # requests run side by side; threads inside each would only wait for one another
    host, names = as_sent(host), [as_sent(each) for each in name or []]
    page = create_app(load(models), limits, allowed(host, names))
    console = PlainConsole()
    with listening(host, port) as listener:
        called = names[0] if names else host
        url = f"http://{f'[{called}]' if ':' in called else called}:{listener.getsockname()[1]}/"
        console.print(f"Open {url} in a browser; Ctrl-C ends.", soft_wrap=True)
        # the server may have caught the interrupt itself; its messages go to users of the API, who have no flags
        with suppress(KeyboardInterrupt), named_as_flags(False):
            Server(settings(page, limits), page.ending).run(sockets=[listener])
        console.print("Ended.")


def settings(page: Guard, limits: Limits) -> uvicorn.Config:
    """Return how the page is served: HTTP/1.1 only, without a Server header."""
    import uvicorn

    from unrolled.views.page.connections import limited

    return uvicorn.Config(
        page,
        http=limited(limits),
        ws="none",
        lifespan="off",
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE,
    )


def as_sent(name: str) -> str:
    """Return a host name or an address as browsers send it: addresses written out, letters small and in ASCII.

    Raises: WrongUse if it is neither.

    >>> as_sent("Shelf.Example"), as_sent("b\u00fccher.example"), as_sent("127.1"), as_sent("0:0::1")
    ('shelf.example', 'xn--bcher-kva.example', '127.0.0.1', '::1')
    """
    with suppress(OSError):
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, name))
    with suppress(OSError):
        return socket.inet_ntoa(socket.inet_aton(name))
    with suppress(UnicodeError):
        sent = name.lower().encode("idna").decode()
        if re.fullmatch(r"[\w.-]+", sent):
            return sent
    raise WrongUse(f"{brief(name)} is no host name or address; give it alone, as in localhost or shelf.example")


def allowed(host: str, names: Sequence[str]) -> frozenset[str]:
    """Return the host names that requests may use.

    Raises: ValueError if it listens on every address and no name is given.

    >>> sorted(allowed("192.0.2.7", ["shelf.example"]))
    ['192.0.2.7', 'shelf.example']
    """
    if host in ANY and not names:
        raise ValueError(
            f"host is {host}, which no browser can open; give the name browsers use, as in --name shelf.example"
        )
    from unrolled.views.page.guard import LOOPBACK

    return frozenset({*names, *(LOOPBACK if host in ANY | LOOPBACK else {host})})


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises: OSError if the port is taken or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        remedies = {
            errno.EADDRINUSE: f"port {port} is in use; name another with --port, or 0 for any free one",
            errno.EACCES: f"port {port} is reserved for the system; name one above 1023 with --port",
        }
        reason = (error.strerror or str(error)).partition(" (while attempting")[0]
        sentence = remedies.get(error.errno or 0, f"cannot listen on {host}: {reason}")
        raise OSError(sentence) from None
