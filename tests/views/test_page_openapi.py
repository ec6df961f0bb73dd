"""The OpenAPI document is true: of its paths, of what they take, and of what they answer."""

import json

import jsonschema
import pytest
import torch

from tests.views.browser.serving import JSON, serving
from tests.views.small_models import small
from unrolled.views.page.app import create_app

ASKED = {
    "view": {"text": "abca", "layer": 1, "array": "c", "units": [3, 1]},
    "gradients": {"text": "abca", "of": "state", "layer": 1},
    "generate": {"prompt": "ab", "max_length": 9, "temperature": 0.7, "strategy": "greedy"},
}


@pytest.fixture(scope="module")
def server():
    with serving({"lstm": small("lstm of two layers", dtype=torch.float32)}, text_symbols=5) as running:
        yield running


@pytest.fixture(scope="module")
def described(server):
    return json.loads(server.get("/api/openapi.json")[2])


def fits(value, schema, described):
    """Return whether a value fits a schema of the description."""
    jsonschema.Draft202012Validator.check_schema(schema)
    whole = schema | {"components": described["components"]}
    return jsonschema.Draft202012Validator(whole).is_valid(value)


def test_every_route_is_described_and_no_other(described):
    routes = {
        (method.lower(), route.path)
        for route in create_app({"lstm": small("lstm")}).app.routes
        for method in route.methods - {"HEAD"}
        if route.path.startswith("/api/") and route.path != "/api/openapi.json"
    }
    assert {(method, path) for path, methods in described["paths"].items() for method in methods} == routes


def test_document_has_the_required_fields_of_openapi(described):
    assert described["openapi"] == "3.1.0"
    assert {"title", "version"} <= described["info"].keys()
    for methods in described["paths"].values():
        for operation in methods.values():
            assert {"summary", "operationId", "responses"} <= operation.keys()
            assert operation["summary"].endswith(".")
            assert all({"description", "content"} <= answer.keys() for answer in operation["responses"].values())


@pytest.mark.parametrize("question", ["view", "gradients"])
def test_answers_fit_their_schemas(server, described, question):
    operation = described["paths"][f"/api/models/{{model}}/{question}"]["post"]
    asked = operation["requestBody"]["content"]["application/json"]["schema"]
    given = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert fits(ASKED[question], asked, described)
    status, answer = server.ask("lstm", question, **ASKED[question])
    assert status == 200
    assert fits(answer, given, described)
    for name in answer:  # the schema is not one that anything fits
        assert not fits({**answer, name: object}, given, described)
        assert not fits({key: value for key, value in answer.items() if key != name}, given, described)


def test_models_fit_their_schema(server, described):
    given = described["paths"]["/api/models"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert fits(json.loads(server.get("/api/models")[2]), given, described)


def test_events_fit_their_schemas(server, described):
    schemas = described["components"]["schemas"]
    found = server.generate("lstm", **ASKED["generate"])
    assert {name for name, _ in found} <= {"piece", "end"}
    for name, data in found:
        assert fits(data, schemas[{"piece": "Piece", "end": "End"}[name]], described)


REFUSED = [
    ("view", {"text": 1}, JSON, 400),
    ("view", {"text": "a", "units": [0] * 7}, JSON, 400),
    ("view", {"text": "abcabc"}, JSON, 413),
    ("view", {"text": "a"}, {}, 415),
    ("view", {"text": "a"}, JSON | {"Origin": "null"}, 403),
    ("gradients", {"text": "abcabc"}, JSON, 413),
    ("generate", {"temperature": -1}, JSON, 400),
    ("generate", {"prompt": "abcabc"}, JSON, 413),
]


@pytest.mark.parametrize(("question", "asked", "headers", "status"), REFUSED)
def test_refusals_are_described(server, described, question, asked, headers, status):
    operation = described["paths"][f"/api/models/{{model}}/{question}"]["post"]
    came, _, body = server.raw("POST", f"/api/models/lstm/{question}", json.dumps(asked), headers)
    assert came == status
    schema = operation["responses"][str(status)]["content"]["application/json"]["schema"]
    assert fits(json.loads(body), schema, described)


FORBIDDEN = [
    ("view", {"text": 1}),
    ("view", {}),
    ("view", {"text": "", "more": 1}),
    ("view", {"text": "", "layer": -1}),
]
FORBIDDEN += [("generate", {"top_p": 0}), ("generate", {"strategy": "beam"}), ("gradients", {"text": "", "of": "x"})]


@pytest.mark.parametrize(("question", "asked"), FORBIDDEN)
def test_what_the_schema_forbids_is_refused(server, described, question, asked):
    operation = described["paths"][f"/api/models/{{model}}/{question}"]["post"]
    assert not fits(asked, operation["requestBody"]["content"]["application/json"]["schema"], described)
    assert server.ask("lstm", question, **asked)[0] == 400
