"""What is wrong with a request is answered in one sentence."""

import gzip
import json
import socket

import msgspec
import pytest

from tests.views.browser.serving import JSON, serving
from tests.views.served import MODELS, SMALL
from unrolled.views.page import view
from unrolled.views.page.endpoints import ENDPOINTS


@pytest.fixture(scope="module")
def server():
    with serving(MODELS, **SMALL) as running:
        yield running


WRONG = [
    ("view", {}, 400, "text"),
    ("view", {"text": 3}, 400, "Expected `str`"),
    ("view", {"text": "a", "colour": 1}, 400, "unknown field `colour`"),
    ("view", {"text": "a", "layer": 1}, 400, "layers 0 to 0"),
    ("view", {"text": "a", "layer": -1}, 400, ">= 0"),
    ("view", {"text": "a", "array": "f"}, 400, "GRU has no array 'f'; it has r, z, n, h"),
    ("view", {"text": "a", "units": [7]}, 400, "units 0 to 6"),
    ("view", {"text": "a", "units": [0] * 7}, 400, "length <= 6"),
    ("view", {"text": "a" * 51}, 413, "51 symbols, and this server reads at most 50"),
    ("view", {"text": "a" * 4000}, 413, "larger than 3,000 bytes"),
    ("gradients", {"text": "a", "of": "hope"}, 400, "hope"),
    ("gradients", {"text": "a", "layer": 9}, 400, "layers 0 to 0"),
    ("gradients", {"text": "a" * 51}, 413, "at most 50"),
    ("generate", {"prompt": "a" * 51, "max_length": 9}, 413, "at most 50"),
    ("generate", {"max_length": 91}, 400, "at most 90 symbols"),
    ("generate", {"max_length": 0}, 400, ">= 1"),
    ("generate", {"temperature": 0}, 400, ">= 1e-06"),
    ("generate", {"temperature": 1e300}, 400, "<= 1000000.0"),
    ("generate", {"symbols_per_second": 1e10}, 400, "<= 1000000000.0"),
    ("view", {"text": "a", "layer": 2**31}, 400, "<= 2147483647"),
    ("generate", {"temperature": "hot"}, 400, "Expected `float`"),
    ("generate", {"top_p": 1.5}, 400, "<= 1"),
    ("generate", {"strategy": "beam"}, 400, "beam"),
    ("generate", {"symbols_per_second": -1}, 400, ">= 0"),
    ("generate", {"seed": -1}, 400, ">= 0"),
]


@pytest.mark.parametrize(("question", "asked", "status", "said"), WRONG)
def test_wrong_value_is_refused_in_one_sentence(server, question, asked, status, said):
    came, answer = server.ask("gru", question, **asked)
    assert (came, [*answer]) == (status, ["error"])
    assert said in answer["error"]
    assert "\n" not in answer["error"]


NO_JSON = [b"", b"{", b"[]", b"null", b'"a"', b"{'text': 1}", b'{"text": "\xff"}', b'{"text": "a", "units": [NaN]}']
DEEP = [b"[" * 2900, b'{"text": ' + b"[" * 2900]


@pytest.mark.parametrize("body", [*NO_JSON, *DEEP, b'{"text": "\\ud800"}'])
def test_malformed_json_is_refused(server, body):
    status, _, answer = server.raw("POST", "/api/models/gru/view", body, JSON)
    assert status == 400
    assert "the body does not fit" in json.loads(answer)["error"]


def test_body_without_a_length_is_counted(server):
    pieces = (b'{"text": "' + b"a" * 1000 for _ in range(5))
    status, _, answer = server.raw("POST", "/api/models/gru/view", pieces, JSON | {"Transfer-Encoding": "chunked"})
    assert (status, "3,000 bytes" in json.loads(answer)["error"]) == (413, True)


@pytest.mark.parametrize("length", [b"3001", b"1000000000000000000"])
def test_body_that_says_it_is_too_large_is_refused_before_it_comes(server, length):
    headers = b"".join(f"{name}: {value}\r\n".encode() for name, value in JSON.items())
    start = b"POST /api/models/gru/view HTTP/1.1\r\nHost: localhost\r\n" + headers
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(start + b"Content-Length: " + length + b'\r\n\r\n{"text')
        answer = connection.recv(10_000)
        assert answer.startswith(b"HTTP/1.1 413 ")
    assert server.get("/api/models")[0] == 200


def test_request_to_speak_another_protocol_is_answered_in_this_one(server, caplog):
    for protocol in (b"websocket", b"h2c"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
            connection.sendall(
                b"GET /api/models HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: "
                + protocol
                + b"\r\n\r\n"
            )
            assert connection.recv(10_000).startswith(b"HTTP/1.1 200 ")
    assert "pip install" not in caplog.text
    assert "Unsupported upgrade" not in caplog.text


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_body_that_does_not_say_it_is_json_is_refused(server, kind):
    status, _, answer = server.raw("POST", "/api/models/gru/view", b'{"text": "a"}', {"Content-Type": kind})
    assert (status, "Content-Type: application/json" in json.loads(answer)["error"]) == (415, True)


def test_compressed_body_is_refused(server):
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    status, _, answer = server.raw("POST", "/api/models/gru/view", gzip.compress(b'{"text": "a"}'), headers)
    assert (status, "the body is encoded as 'gzip'" in json.loads(answer)["error"]) == (415, True)
    plain = headers | {"Content-Encoding": "identity"}
    assert server.raw("POST", "/api/models/gru/view", b'{"text": "a"}', plain)[0] == 200


def test_unknown_model_is_not_found(server):
    for question in ("view", "gradients", "generate"):
        status, answer = server.ask("gr", question, text="a")
        assert status == 404
        assert "there is no model 'gr'; there is rnn, relu, lstm, gru" in answer["error"]


@pytest.mark.parametrize("question", ["view", "gradients"])
def test_overflowing_state_is_refused(server, question):
    status, answer = server.ask("exploding", question, text="a" * 50)
    assert status == 422
    assert "no longer finite" in answer["error"]
    assert server.ask("exploding", question, text="a" * 3)[0] == 200


def test_internal_error_is_one_sentence(server, monkeypatch):
    def broken(*_):
        raise KeyError("a secret")

    monkeypatch.setattr(view, "heat", broken)
    status, answer = server.ask("gru", "view", text="a")
    assert (status, answer) == (500, {"error": "internal error of the server; its log says more"})


REQUESTS = {each.path.rpartition("/")[2]: each.request for each in ENDPOINTS if each.request}
BASE = {"view": {"text": "a"}, "gradients": {"text": "a"}, "generate": {"prompt": "a", "max_length": 3}}
ODD = [2**63, -(2**63), -1, 1.5, 1e300, "", "\0", "[red]", "x" * 2000, "x" * 100_000, None, True, [], [2**63], {}]


@pytest.mark.parametrize("question", REQUESTS)
def test_every_number_of_a_request_has_bounds(question):
    _, schemas = msgspec.json.schema_components([REQUESTS[question]])
    for name, schema in schemas[REQUESTS[question].__name__]["properties"].items():
        number = schema.get("items", schema)
        if number.get("type") in ("integer", "number"):
            assert {"minimum", "exclusiveMinimum"} & {*number}, name
            assert {"maximum", "exclusiveMaximum"} & {*number}, name


@pytest.mark.parametrize("question", REQUESTS)
def test_odd_value_of_any_field_is_answered_or_refused(server, question):
    for field in msgspec.structs.fields(REQUESTS[question]):
        for value in ODD:
            body = json.dumps(BASE[question] | {field.name: value})
            status, _, answer = server.raw("POST", f"/api/models/gru/{question}", body, JSON)
            assert status in (200, 400, 413), (field.name, value)
            assert status == 200 or [*json.loads(answer)] == ["error"]
        for literal in ("NaN", "Infinity", "1e400"):
            body = (
                json.dumps({**{k: v for k, v in BASE[question].items() if k != field.name}, field.name: 0})[:-2]
                + f"{literal}}}"
            )
            status, _, answer = server.raw("POST", f"/api/models/gru/{question}", body, JSON)
            assert status == 400, (field.name, literal)
