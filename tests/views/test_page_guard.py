"""The door of the server: whose page asks, what every answer carries, and that no path reaches the disk."""

import http.client
import json

import pytest
import torch

from tests.views.browser.serving import serving
from tests.views.small_models import small
from unrolled.views.page import view
from unrolled.views.page.guard import HEADERS
from unrolled.webpage.files import page_files


@pytest.fixture(scope="module")
def server():
    with serving({"gru": small("gru", dtype=torch.float32)}) as running:
        yield running


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:99", "LOCALHOST"])
def test_own_names_are_answered(server, host):
    assert server.get("/api/models", Host=host)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "[::1", "", "a@b"]
)
def test_other_names_are_refused(server, host):
    status, _, body = server.get("/", Host=host)
    assert status == 400
    assert f"this server is not {host!r}" in json.loads(body)["error"]


def test_request_without_a_name_is_refused(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.putrequest("GET", "/", skip_host=True)
    connection.endheaders()
    assert connection.getresponse().status == 400
    connection.close()


@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost:1", "null", "", "http://[", "localhost"])
def test_pages_of_other_sites_are_refused(server, origin):
    status, _, body = server.get("/api/models", Origin=origin)
    assert status == 403
    assert "may not call this server" in json.loads(body)["error"]


def test_own_page_is_answered(server):
    own = f"127.0.0.1:{server.port}"
    assert server.get("/api/models", Origin=f"http://{own}")[0] == 200
    assert server.get("/api/models", Origin=f"http://localhost:{server.port}", Host=own)[0] == 403


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [
        ("same-origin", "cors", 200),
        ("none", "navigate", 200),
        ("cross-site", "navigate", 200),
        ("cross-site", "no-cors", 403),
        ("same-site", "cors", 403),
    ],
)
def test_fetch_metadata_of_the_browser_is_checked(server, site, mode, status):
    assert server.get("/", **{"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode})[0] == status


def test_every_answer_carries_the_headers(server, monkeypatch):
    def broken(*_):
        raise KeyError

    monkeypatch.setattr(view, "heat", broken)
    body = b'{"text": "a"}'
    json_body = {"Content-Type": "application/json"}
    answers = [server.get(path) for path in ("/", "/app.js", "/api/models", "/none", "/api/models/gru/view")]
    answers += [server.get("/", Host="evil.example"), server.get("/", Origin="null")]
    answers += [server.raw("POST", "/api/models/gru/view", body, json_body)]
    answers += [server.raw("POST", "/api/models/gru/generate", b"{}", json_body)]
    assert [status for status, _, _ in answers] == [200, 200, 200, 404, 405, 400, 403, 500, 200]
    for _, headers, _ in answers:
        assert {name: headers.get(name.lower()) for name in HEADERS} == HEADERS
        assert "server" not in headers


def test_policy_allows_no_other_site_and_nothing_inline():
    policy = dict(part.split(" ", 1) for part in HEADERS["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert {policy[f"{kind}-src"] for kind in ("script", "style", "img", "connect")} == {"'self'"}


PATHS = [
    "/static/index.html",
    "/index.html",
    "/../app.py",
    "/%2e%2e/app.py",
    "/..%2fapp.py",
    "//etc/passwd",
    "/etc/passwd",
]
PATHS += ["/app.js/", "/app.js%00", "/./app.js", "/api/models/gru/../../../app.py", "/api/", "/favicon.ico"]


@pytest.mark.parametrize("path", PATHS)
def test_no_path_reaches_the_disk(server, path):
    status, headers, body = server.get(path)
    assert (status, headers["content-type"]) == (404, "application/json")
    assert "there is nothing at" in json.loads(body)["error"]


def test_files_of_the_page_are_all_there_and_all_it_asks_for(server):
    for name, (_, kind) in page_files().items():
        status, headers, body = server.get("/" if name == "index.html" else f"/{name}")
        assert (status, headers["content-type"].split(";")[0], bool(body)) == (200, kind, True)
    page = server.get("/")[2].decode()
    asked = {part.split('"')[0] for mark in ('src="', 'href="') for part in page.split(mark)[1:]}
    assert asked - {"api/openapi.json"} <= set(page_files())
    assert "http" not in page.replace("http-equiv", "")
    for inline in ("<style", " style=", " onclick=", "javascript:"):
        assert inline not in page


def test_wrong_method_says_which_is_right(server):
    status, headers, body = server.get("/api/models/gru/view")
    assert (status, headers["allow"]) == (405, "POST")
    assert json.loads(body)["error"] == "/api/models/gru/view does not answer GET; use POST"
