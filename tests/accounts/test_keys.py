"""API keys: scopes, bounds, revocation, and that every route is closed unless it says otherwise."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.accounts.keys import SCOPES, revoke_key
from app.foundation.serving import PUBLIC
from app.web.app import create_app
from tests.service import BOTH_FRONTS, Client, Web, engine_of, make_key, query, runtime_of, settings, wait_for

FRONTS = BOTH_FRONTS

CALLS: list[tuple[str, str, str]] = [
    ("decide", "POST", "/v1/decide"),
    ("decide", "POST", "/v1/decide/batch"),
    ("reward", "POST", "/v1/reward"),
    ("reward", "POST", "/v1/rewards/batch"),
    ("reward", "POST", "/v1/decisions/x/activate"),
    ("read", "GET", "/v1/experiments"),
    ("read", "GET", "/v1/experiments/keyed"),
    ("read", "GET", "/v1/experiments/keyed/policy"),
    ("manage", "POST", "/v1/experiments"),
    ("manage", "PATCH", "/v1/experiments/keyed"),
    ("manage", "POST", "/v1/experiments/keyed/start"),
    ("manage", "POST", "/v1/experiments/keyed/pause"),
    ("manage", "POST", "/v1/experiments/keyed/conclude"),
    ("manage", "POST", "/v1/experiments/keyed/policy/rollback"),
    ("decide", "POST", "/personalizer/v1.0/rank"),
    ("reward", "POST", "/personalizer/v1.0/events/x/reward"),
    ("decide", "POST", "/ofrep/v1/evaluate/flags/keyed"),
    ("decide", "POST", "/ofrep/v1/evaluate/flags"),
    ("decide", "GET", "/ofrep/v1/configuration"),
]


@pytest.fixture(scope="module", autouse=True)
def experiment(client: Client) -> None:
    client.make("keyed")
    client.make("another")
    client.make("own")


@pytest.mark.parametrize(("scope", "method", "path"), CALLS)
def test_a_key_opens_the_routes_of_its_scope_only(
    web: Web, keys: dict[str, str], scope: str, method: str, path: str
) -> None:
    for held, key in keys.items():
        answer = web.client(key).call(method, path, b"[" if method != "GET" else None)
        if held in (scope, "admin"):
            assert answer.status < 500
            assert answer.status != 401
            assert b"missing_scope" not in answer.raw
        else:
            assert (answer.status, b"missing_scope" in answer.raw) == (403, True)
    answer = web.client().call(method, path)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="loopwise"')


@pytest.fixture(scope="module")
def keys(database_url: str) -> dict[str, str]:
    return {scope: make_key(database_url, scope) for scope in SCOPES}


def test_every_route_says_which_scope_it_needs(app: Any) -> None:
    scopes = {rule.rule: getattr(app.view_functions[rule.endpoint], "scope", None) for rule in app.url_map.iter_rules()}
    assert {rule: scope for rule, scope in scopes.items() if scope not in (*SCOPES, PUBLIC)} == {}
    public = {rule for rule, scope in scopes.items() if scope == PUBLIC and not rule.startswith(("/docs", "/static/"))}
    pages = {
        rule for rule in public if rule.startswith("/admin/")
    }  # they ask for a role: tests/accounts/test_access.py
    assert public - pages == {"/", "/healthz", "/readyz", "/metrics", "/openapi.json"}


def test_a_route_without_a_scope_is_closed_even_for_administrators(app: Any, keys: dict[str, str]) -> None:
    app.add_url_rule("/forgotten", "forgotten", lambda: "secret")
    client = app.test_client()
    for key in keys.values():
        assert client.get("/forgotten", headers={"Authorization": f"Bearer {key}"}).status_code == 403
    assert client.get("/forgotten").status_code == 401


@pytest.fixture(scope="module")
def app(database_url: str) -> Iterator[Any]:
    with runtime_of(database_url) as runtime:
        yield create_app(settings(database_url), runtime)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic abc",
        "Bearer lw_",
        "Bearer " + "x" * 5000,
        "bearer {}x",
        "Token {}",
        "{}",
        "Bearer {} x",
    ],
)
def test_a_malformed_key_is_401(web: Web, client: Client, header: str) -> None:
    answer = web.client().get("/v1/experiments", Authorization=header.format(client.key))
    assert (answer.status, answer.body["code"]) == (401, "invalid_key")


def test_a_key_that_differs_in_its_last_letter_is_401(web: Web, client: Client) -> None:
    wrong = client.key[:-1] + ("A" if client.key[-1] != "A" else "B")
    assert web.client(wrong).get("/v1/experiments").status == 401


def test_the_personalizers_header_opens_only_its_own_routes(web: Web, client: Client) -> None:
    answer = web.client().get("/v1/experiments", **{"Ocp-Apim-Subscription-Key": client.key})
    assert answer.status == 401


def test_a_new_key_works_at_once_and_a_revoked_one_ends_within_two_seconds(web: Web, database_url: str) -> None:
    key = make_key(database_url, "read")
    client = web.client(key)
    assert client.get("/v1/experiments").status == 200
    with engine_of(database_url) as engine:
        revoke_key(engine, key[:15])
    wait_for(lambda: client.get("/v1/experiments").status == 401, 20, "the refusal")


def test_a_bound_key_sees_its_own_experiment_only(web: Web, database_url: str) -> None:
    bound = web.client(make_key(database_url, experiment="own"))
    assert bound.decide("own").status == 201
    assert bound.get("/v1/experiments/own").status == 200
    assert [item["key"] for item in bound.get("/v1/experiments").body["experiments"]] == ["own"]
    for answer in (
        bound.decide("another"),
        bound.get("/v1/experiments/another"),
        bound.get("/v1/experiments/another/policy"),
        bound.patch("/v1/experiments/another", {"name": "mine"}),
        bound.post("/v1/experiments/another/pause"),
        bound.post("/v1/experiments/another/policy/rollback", {"arm": "all", "version": 0, "reason": "r"}),
        bound.post("/v1/experiments", {"key": "third", "arms": []}),
    ):
        assert answer.status in (403, 422), answer.raw


def test_the_database_holds_no_key_only_hashes(client: Client, database_url: str) -> None:
    client.decide("own")
    tables = query(
        database_url, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    secret = client.key[16:]
    for (table,) in tables:
        found = query(database_url, f'SELECT count(*) FROM "{table}" AS t WHERE t::text LIKE %s', f"%{secret}%")
        assert found == [(0,)], table
    assert query(database_url, "SELECT octet_length(secret_hash) FROM api_keys LIMIT 1") == [(32,)]


def test_the_servers_log_holds_no_key(web: Web, client: Client) -> None:
    client.post("/v1/decide", b"{")
    assert client.key[16:] not in web.log()
