"""`unrolled serve` as a user meets it: it prints its address, ends when interrupted, and refuses in one sentence."""

import http.client
import json
import re
import signal
import socket
import subprocess

import pytest
import uvicorn

from tests.commands.command_line import ENVIRONMENT, UNROLLED, refusal, unrolled
from tests.views.small_models import small
from unrolled.commands.serve import allowed, as_sent
from unrolled.views.page.models import load


@pytest.fixture
def folder(folders):
    return folders["gru"]


def test_serve_prints_its_address_and_ends_when_interrupted(folder):
    command = [*UNROLLED, "serve", folder, "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=ENVIRONMENT, **pipes) as server:
        said = server.stdout.readline()
        address = re.fullmatch(r"Open http://127\.0\.0\.1:(\d+)/ in a browser; Ctrl-C ends\.\n", said)
        assert address, said
        connection = http.client.HTTPConnection("127.0.0.1", int(address[1]), timeout=60)
        connection.request("GET", "/api/models")
        assert b'"name":"gru"' in connection.getresponse().read()
        connection.close()
        server.send_signal(signal.SIGINT)
        out, error = server.communicate(timeout=60)
    assert (server.returncode, out, error) == (0, "Ended.\n", "")


def test_address_of_version_6_is_printed_whole(folder, monkeypatch):
    def interrupted(self, sockets):
        raise KeyboardInterrupt

    monkeypatch.setattr(uvicorn.Server, "run", interrupted)
    shown = unrolled("serve", folder, "--port", "0", "--name", "fe80::1").stdout.decode()
    assert re.fullmatch(r"Open http://\[fe80::1\]:\d+/ in a browser; Ctrl-C ends\.\nEnded\.\n", shown)


def test_port_in_use_is_named(folder):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = refusal(1, "serve", folder, "--port", port)
    assert said == f"port {port} is in use; name another with --port, or 0 for any free one"


def test_wrong_use_is_refused(folder, tmp_path):
    assert "config.json" in refusal(1, "serve", tmp_path / "none")
    assert "from 0 to 65,535" in refusal(2, "serve", folder, "--port", "65536")
    assert "cannot listen on 192.0.2.1" in refusal(1, "serve", folder, "--host", "192.0.2.1", "--port", "0")
    assert "--name" in refusal(1, "serve", folder, "--host", "0.0.0.0")
    assert "threads is 0; it must be" in refusal(2, "serve", folder, "--threads", "0")


def test_allowed_names_are_loopback_or_what_was_given():
    assert allowed("127.0.0.1", []) == {"127.0.0.1", "localhost", "::1"}
    assert allowed("192.0.2.7", []) == {"192.0.2.7"}
    assert allowed("0.0.0.0", ["shelf"]) == {"127.0.0.1", "localhost", "::1", "shelf"}


def test_models_of_one_name_are_told_apart(folder, tmp_path):
    for other in ("a", "b"):
        small("lstm").save_pretrained(tmp_path / other / "gru")
    assert [*load([folder, tmp_path / "a" / "gru", tmp_path / "b" / "gru"])] == ["gru", "gru-2", "gru-3"]


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 0, 2], [1, 2, 0], [2, 1, 0], [0, 2, 1], [2, 0, 1]])
def test_model_called_as_a_second_of_another_name_is_told_apart_from_it(order, tmp_path):
    folders = [tmp_path / "a" / "gru-2", tmp_path / "b" / "gru", tmp_path / "c" / "gru"]
    for cell, folder in zip(("rnn", "lstm", "gru"), folders, strict=True):
        small(cell).save_pretrained(folder)
    served = load([folders[k] for k in order])
    assert len(served) == 3
    assert served["gru-2"].config.cell == "rnn"  # a name of its own stays
    assert [model.config.cell for model in served.values()] == [("rnn", "lstm", "gru")[k] for k in order]


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("Shelf.Example", "shelf.example"),
        ("LOCALHOST", "localhost"),
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("0", "0.0.0.0"),
        ("127.1", "127.0.0.1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("my_shelf", "my_shelf"),
    ],
)
def test_names_are_those_that_browsers_send(name, sent):
    assert as_sent(name) == sent == as_sent(sent)


@pytest.mark.parametrize("name", ["", "shelf.example:80", "http://shelf.example", "shelf.example/", "a b", "a" * 300])
def test_what_is_no_name_of_a_host_is_refused(name, folder):
    for flag in ("--host", "--name"):
        assert "is no host name or address; give it alone" in refusal(2, "serve", folder, flag, name, "--port", "0")


def test_no_spelling_of_every_address_goes_without_a_name(folder):
    for everywhere in ("0", "0.0", "0:0:0:0:0:0:0:0"):
        assert "which no browser can open" in refusal(1, "serve", folder, "--host", everywhere, "--port", "0")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_server_that_is_ended_ends_what_it_writes(sent, folder):
    """Its clients were cut off, and its log had a traceback for each."""
    asked = json.dumps({"prompt": "a", "max_length": 4000, "symbols_per_second": 20})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*UNROLLED, "serve", folder, "--port", "0"], env=ENVIRONMENT, **pipes) as server:
        port = int(re.search(r":(\d+)/", server.stdout.readline())[1])
        connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(3)]
        answers = []
        for connection in connections:
            connection.request("POST", "/api/models/gru/generate", asked, {"Content-Type": "application/json"})
            answers.append(connection.getresponse())
            assert answers[-1].readline() == b"event: piece\n"
        server.send_signal(sent)
        for answer in answers:
            assert b'event: error\ndata: {"error":"the server was ended; ask again when it runs"}' in answer.read()
        for connection in connections:
            connection.close()
        _, error = server.communicate(timeout=60)
    assert (error, server.returncode) == ("", 0 if sent == signal.SIGINT else -sent)
