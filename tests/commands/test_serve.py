"""`unrolled serve` as a user meets it: it says where it is, ends when told, and refuses in one sentence."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys

import pytest
import torch

from tests.views.small_models import small
from unrolled.cli import run
from unrolled.commands.serve import allowed
from unrolled.views.page.models import load

UNROLLED = [sys.executable, "-m", "unrolled.cli"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "120"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "small"
    small("gru", dtype=torch.float32).save_pretrained(path)
    return path


@pytest.fixture
def refusal(capsys):
    """Run a command that must fail with an exit code; give its one sentence."""

    def run_and_fail(code, *arguments):
        assert run(["serve", *map(str, arguments)]) == code
        said = capsys.readouterr()
        assert said.out == ""
        [line] = said.err.splitlines()
        return line.removeprefix("unrolled: ")

    return run_and_fail


def test_serve_says_where_and_ends_when_interrupted(folder):
    command = [*UNROLLED, "serve", folder, "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=ENVIRONMENT, **pipes) as server:
        said = server.stdout.readline()
        address = re.fullmatch(r"Open http://127\.0\.0\.1:(\d+)/ in a browser; Ctrl-C ends\.\n", said)
        assert address, said
        connection = http.client.HTTPConnection("127.0.0.1", int(address[1]), timeout=60)
        connection.request("GET", "/api/models")
        assert b'"name":"small"' in connection.getresponse().read()
        connection.close()
        server.send_signal(signal.SIGINT)
        out, error = server.communicate(timeout=60)
    assert (server.returncode, out, error) == (0, "Ended.\n", "")


def test_port_in_use_is_said(folder, refusal):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = refusal(1, folder, "--port", port)
    assert said == f"port {port} is in use; name another with --port, or 0 for any free one"


def test_wrong_use_is_said(folder, tmp_path, refusal):
    assert "config.json" in refusal(1, tmp_path / "none")
    assert "from 0 to 65535" in refusal(1, folder, "--port", "65536")
    assert "cannot listen on 192.0.2.1" in refusal(1, folder, "--host", "192.0.2.1", "--port", "0")
    assert "--name" in refusal(1, folder, "--host", "0.0.0.0")
    assert "threads is 0; it must be" in refusal(2, folder, "--threads", "0")


WITHOUT = """
import sys
from unrolled.cli import run

class Missing:
    def find_spec(self, name, *_):
        if name == missing:
            raise ModuleNotFoundError(name=name)

sys.meta_path.insert(0, Missing())
for missing in ("uvicorn", "starlette"):
    print(run(["serve", "anything"]))
"""


def test_missing_extra_is_named():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.stdout == "1\n1\n"
    said = "unrolled: {} is not installed; pip install 'unrolled[web]'\n"
    assert done.stderr == said.format("uvicorn") + said.format("starlette")


def test_allowed_names_are_loopback_or_what_was_given():
    assert allowed("127.0.0.1", []) == {"127.0.0.1", "localhost", "::1"}
    assert allowed("192.0.2.7", []) == {"192.0.2.7"}
    assert allowed("0.0.0.0", ["shelf"]) == {"127.0.0.1", "localhost", "::1", "shelf"}


def test_models_of_one_name_are_told_apart(folder, tmp_path):
    for other in ("a", "b"):
        small("lstm", dtype=torch.float32).save_pretrained(tmp_path / other / "small")
    assert [*load([folder, tmp_path / "a" / "small", tmp_path / "b" / "small"])] == ["small", "small-2", "small-3"]
