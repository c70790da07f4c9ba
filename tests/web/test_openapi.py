"""The OpenAPI document against the server that it describes: generated requests, no 5xx, documented answers only."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.service import Client, Web, bandit, make_key

EXAMPLES = 25
PERSONALIZER = "/personalizer/"


@pytest.fixture(scope="module")
def document(web: Web, client: Client) -> Any:
    client.make("contract", arms=bandit())
    return web.client().get("/openapi.json").body


def _operations(document: Any) -> list[tuple[str, str]]:
    """The routes of apps, product managers and Personalizer's clients; the tests of the services cover those of analysts."""
    everything = [(method, path, item[method]) for path, item in document["paths"].items() for method in item]
    described = [
        (method.upper(), path) for method, path, operation in everything if "analysts" not in operation["tags"]
    ]
    # The stream answers for half a minute; tests/messaging/test_stream.py tests it.
    return [route for route in described if route[1] != "/v1/stream"]


def _caller(key: str) -> Any:
    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

    def call(case: Any) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {key}"}, checks=checks, timeout=20)

    return call


def test_generated_requests_get_documented_answers(web: Web, client: Client, document: Any, database_url: str) -> None:
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=f"http://127.0.0.1:{web.port}")
    bound = make_key(database_url, "decide", "reward", experiment="contract")
    tried = 0
    for method, path in _operations(document):
        operation = schema[path][method]
        key = bound if path.startswith(PERSONALIZER) else client.key
        bounded = hypothesis_settings(
            max_examples=EXAMPLES,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        seed(1)(bounded(given(case=operation.as_strategy())(_caller(key))))()
        tried += 1
    assert tried >= 15
    assert client.decide("contract").status in (201, 409)
