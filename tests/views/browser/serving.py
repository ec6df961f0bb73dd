"""A real server on a port of its own, and a client that hides nothing."""

from __future__ import annotations

import http.client
import json
import threading
import time
from contextlib import contextmanager

import torch
import uvicorn

from unrolled.commands.serve import listening, settings
from unrolled.config.server import Limits
from unrolled.views.page.app import create_app

PATIENCE = 120  # seconds until a test gives up


class Server:
    """What the tests know of a server that runs."""

    def __init__(self, app, port):
        self.app, self.port, self.address = app, port, f"http://127.0.0.1:{port}/"

    def connect(self, address="127.0.0.1"):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE, source_address=(address, 0))

    def raw(self, method, path, body=None, headers=None):
        """Return status, headers and body of one answer; nothing is added to the request but its length."""
        connection = self.connect()
        try:
            connection.request(method, path, body, headers or {}, encode_chunked=not isinstance(body, str | bytes))
            answer = connection.getresponse()
            return answer.status, dict(answer.headers.items()), answer.read()
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.raw("GET", path, headers=headers)

    def ask(self, model, question, **asked):
        """Return status and JSON of one question."""
        status, _, body = self.raw("POST", f"/api/models/{model}/{question}", json.dumps(asked), JSON)
        return status, json.loads(body)

    def stream(self, model, address="127.0.0.1", **asked):
        """Open a generation; return the answer, to be read bit by bit, and its connection, to be closed."""
        connection = self.connect(address)
        connection.request("POST", f"/api/models/{model}/generate", json.dumps(asked), JSON)
        return connection.getresponse(), connection

    def generate(self, model, **asked):
        """Return the events of a generation as (name, data)."""
        answer, connection = self.stream(model, **asked)
        try:
            assert answer.status == 200, answer.read()
            return events(answer.read().decode())
        finally:
            connection.close()

    def idle(self):
        """Wait until no request is at work."""
        until(lambda: self.app.active == 0)


JSON = {"Content-Type": "application/json"}


def events(text):
    """Return the (name, data) of server-sent events."""
    found = []
    for block in text.split("\n\n")[:-1]:
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.01)


@contextmanager
def serving(models, **limits):
    """Serve models as the command does, until the block ends."""
    bounds = Limits(**limits)
    app = create_app(models, bounds)
    with listening("127.0.0.1", 0) as listener:
        server = uvicorn.Server(settings(app, bounds))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: server.started)
            yield Server(app, listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive()


def endless(model):
    """The same model, which never writes EOS."""
    with torch.no_grad():
        model.head.bias[model.vocabulary.eos_id] = -1e4
    return model
