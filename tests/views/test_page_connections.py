"""Connections that say nothing, say it slowly or leave: none of them keeps another client out or fills the log."""

import json
import logging
import socket
import time

import pytest
import torch

from tests.views.browser.serving import JSON, PATIENCE, serving, until
from tests.views.small_models import small
from unrolled.views.page.connections import Connection

MODELS = {"gru": small("gru", dtype=torch.float32)}


def silent(server, count, host="127.0.0.1", said=b""):
    """Open connections from an address of this machine and say no more than this."""
    opened = []
    for _ in range(count):
        opened.append(socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE, source_address=(host, 0)))
        opened[-1].sendall(said)
    return opened


def open_ones(connections):
    """How many of these connections the server still holds."""
    still = 0
    for each in connections:
        each.setblocking(False)
        try:
            still += each.recv(1) != b""
        except BlockingIOError:
            still += 1
        except ConnectionResetError:
            pass
    return still


def close(connections):
    for each in connections:
        each.close()


@pytest.mark.parametrize("said", [b"", b"GET /api/models HTTP/1.1\r\nHost: local"])
@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_silent_connections_keep_nobody_out(said, host):
    with serving(MODELS, requests=4, connections=3) as server:  # 16 connections in all
        opened = silent(server, 40, host, said)
        assert server.get("/api/models")[0] == 200
        assert open_ones(opened) <= 3
        close(opened)


class OneTime:
    """A loop that gives all of one turn the same time, as some do: here every turn is one."""

    def __init__(self, loop):
        self._loop = loop

    def __getattr__(self, name):
        return getattr(self._loop, name)

    def time(self):
        return 0.0


def test_newest_connection_stays_where_all_came_at_one_time(monkeypatch):
    made = Connection.connection_made

    def at_one_time(self, transport):
        self.loop = OneTime(self.loop)
        made(self, transport)

    monkeypatch.setattr(Connection, "connection_made", at_one_time)
    with serving(MODELS, requests=4, connections=3) as server:
        opened = silent(server, 12)
        for _ in range(12):
            assert server.get("/api/models")[0] == 200
        close(opened)


def test_connection_that_sends_no_request_in_time_is_closed():
    with serving(MODELS, sending_seconds=0.2) as server:
        opened = silent(server, 2) + silent(server, 2, said=b"GET / HTTP/1.1\r\n")
        (slow,) = silent(server, 1)
        for byte in b"GET /api/models HT":
            try:
                slow.sendall(bytes([byte]))
            except (ConnectionResetError, BrokenPipeError):
                break
            time.sleep(0.05)
        until(lambda: open_ones([*opened, slow]) == 0)
        close([*opened, slow])


def test_answered_connection_may_wait_for_its_next_request():
    with serving(MODELS, sending_seconds=0.2) as server:
        connection = server.connect()
        for _ in range(2):
            connection.request("GET", "/api/models")
            assert connection.getresponse().read()
            time.sleep(0.5)
        connection.request("GET", "/api/models")
        assert connection.getresponse().status == 200
        connection.close()


def test_slow_body_is_refused_in_time():
    with serving(MODELS, sending_seconds=0.2) as server:
        headers = b"".join(f"{name}: {value}\r\n".encode() for name, value in JSON.items())
        start = b"POST /api/models/gru/view HTTP/1.1\r\nHost: localhost\r\n" + headers + b"Content-Length: 9\r\n\r\n{"
        (slow,) = silent(server, 1, said=start)
        answer = slow.recv(10_000)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert "more than 0.2 s" in json.loads(answer.partition(b"\r\n\r\n")[2] or slow.recv(10_000))["error"]
        slow.close()


def test_busy_connections_are_not_closed_to_make_room():
    with serving(MODELS, connections=2) as server:
        streams = [server.stream("gru", max_length=4000, symbols_per_second=100) for _ in range(2)]
        others = silent(server, 3)
        for answer, _ in streams:
            assert answer.read(1)
        close(others)
        for _, connection in streams:
            connection.close()


def test_client_that_leaves_while_it_sends_is_no_error(caplog):
    with serving(MODELS) as server:
        logging.getLogger("uvicorn").addHandler(caplog.handler)  # which hands nothing on to the root
        headers = b"".join(f"{name}: {value}\r\n".encode() for name, value in JSON.items())
        start = b"POST /api/models/gru/view HTTP/1.1\r\nHost: localhost\r\n" + headers + b"Content-Length: 900\r\n\r\n{"
        (leaving,) = silent(server, 1, said=start)
        until(lambda: server.app.active == 1)
        leaving.close()
        server.idle()
    logging.getLogger("uvicorn").removeHandler(caplog.handler)
    assert not caplog.records


@pytest.mark.parametrize("name", ["top_k", "max_length", "seed"])
def test_whole_number_beyond_every_bound_is_refused(name):
    with serving(MODELS) as server:
        for value in (2**63, -1, 1.5):
            status, answer = server.ask("gru", "generate", **{name: value})
            assert (status, [*answer]) == (400, ["error"])


def test_silent_connections_of_many_addresses_keep_nobody_out():
    """Beyond so many in all, whoever came was told 503, the page's own files too."""
    with serving(MODELS, requests=4, connections=3) as server:  # 16 connections in all
        opened = [each for k in range(2, 12) for each in silent(server, 3, f"127.0.0.{k}")]
        assert server.get("/api/models")[0] == 200
        assert open_ones(opened) <= 16
        close(opened)


def test_page_comes_whole_however_few_requests_are_answered_at_a_time():
    """A browser opens six connections for its files, and each was counted as a request."""
    with serving(MODELS, requests=1) as server:
        held = silent(server, 6)
        for each in held:
            each.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert [each.recv(12) for each in held] == [b"HTTP/1.1 200"] * 6
        close(held)
