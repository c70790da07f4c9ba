"""Health, the OpenAPI document, its page, and the page of errors, without requests to other hosts."""

import re

import pytest

from app.foundation.api.problems import HTTP_CODES
from app.foundation.codes import WORDS
from app.foundation.errors import CODES
from tests.service import Client, Web

PAGES = ("/docs", "/docs/errors", "/static/explorer.js", "/docs/swagger/css/swagger-ui.css")


def test_alive_and_ready(web: Web) -> None:
    assert web.client().get("/healthz").body == {"status": "alive"}
    assert web.client().get("/readyz").body["status"] == "ready"


@pytest.mark.parametrize("path", PAGES)
def test_a_page_names_no_foreign_host(web: Web, path: str) -> None:
    answer = web.client().get(path)
    assert answer.status == 200
    hosts = set(re.findall(r"(?:https?:)?//[A-Za-z0-9.-]+\.[a-z]{2,}", answer.raw.decode()))
    assert {host for host in hosts if not host.endswith(".example")} <= {"http://www.w3.org"}  # examples in words


def test_the_explorer_loads_only_what_this_server_has(web: Web) -> None:
    page = web.client().get("/docs")
    files = re.findall(r'(?:src|href)="([^"]+)"', page.raw.decode())
    assert len(files) == 3
    for file in files:
        assert file.startswith("/")
        assert web.client().get(file).status == 200
    script = web.client().get("/static/explorer.js").raw.decode()
    assert "/openapi.json" in script
    assert "validatorUrl: null" in script or "validatorUrl" not in script or "none" in script


@pytest.mark.parametrize("path", [*PAGES, "/openapi.json", "/healthz", "/v1/nothing", "/v1/experiments"])
def test_every_answer_carries_the_protecting_headers(web: Web, path: str) -> None:
    headers = web.client().get(path).headers
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert "unsafe-eval" not in headers["Content-Security-Policy"]
    assert "script-src" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_the_page_of_errors_explains_every_code(web: Web) -> None:
    page = web.client().get("/docs/errors").raw.decode()
    assert [code for code in CODES | HTTP_CODES if f'id="{code}"' not in page] == []
    assert [code for code in WORDS if f'id="value-{code}"' not in page] == []
    assert "give at least {limit} characters" in page


@pytest.mark.parametrize(
    "path", ["/docs/swagger/../../../app/web.py", "/static/../web.py", "/static/%2e%2e/web.py", "/static//etc/passwd"]
)
def test_files_outside_the_folders_are_not_served(client: Client, path: str) -> None:
    assert client.get(path).status == 404


def test_the_document_is_openapi_3_1_and_names_every_route_of_the_api(web: Web) -> None:
    document = web.client().get("/openapi.json").body
    assert document["openapi"] == "3.1.0"
    for path in ("/v1/decide", "/v1/rewards/batch", "/v1/experiments/{key}/policy/rollback", "/personalizer/v1.0/rank"):
        assert path in document["paths"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation.get("summary") or operation.get("description"), (method, path)
            assert {"401", "422", "503"} <= set(operation["responses"]), (method, path)


def test_every_operation_has_a_server_a_success_and_its_own_id(web: Web) -> None:
    document = web.client().get("/openapi.json").body
    assert [server["url"] for server in document["servers"]] == ["/"]
    operations = [(path, item[method]) for path, item in document["paths"].items() for method in item]
    lacking = [
        path for path, operation in operations if not any(status[0] in "23" for status in operation["responses"])
    ]
    ids = [operation["operationId"] for _, operation in operations]
    assert lacking == [] and len(set(ids)) == len(ids)
