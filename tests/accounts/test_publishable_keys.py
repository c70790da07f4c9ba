"""Publishable keys: for web pages, only on their origins, only on the routes for pages, and with proof for whom."""

import time
from typing import Any

import pytest

from app.accounts import unit_tokens
from app.accounts.keys import create_key
from app.foundation.errors import Forbidden, Unprocessable
from tests.service import BOTH_FRONTS, SECRET, Client, Web, engine_of

FRONTS = BOTH_FRONTS

SHOP = "https://shop.example"


@pytest.fixture(scope="module")
def key(client: Client, database_url: str) -> str:
    client.make("shown")
    with engine_of(database_url) as engine:
        return create_key(engine, scopes=["decide", "reward"], origins=[SHOP, "http://localhost:5173"]).secret_text


def page(web: Web, key: str, origin: str | None = SHOP, **headers: str) -> Client:
    """Calls as a browser on that origin makes them."""
    made = web.client(key)
    made.headers = {**({"Origin": origin} if origin else {}), **headers}
    return made


def test_a_page_decides_and_rewards_and_may_read_the_answers(web: Web, key: str) -> None:
    answer = page(web, key).decide("shown", unit_id="visitor")
    assert answer.status == 201, answer.raw
    assert answer.headers["Access-Control-Allow-Origin"] == SHOP and "Origin" in answer.headers["Vary"]
    rewarded = page(web, key).post("/v1/reward", {"decision_id": answer.body["decision_id"], "value": 1.0})
    assert rewarded.status == 201


@pytest.mark.parametrize("origin", ["https://evil.example", "https://shop.example.evil.example", "null", None])
def test_a_publishable_key_opens_nothing_on_other_origins(web: Web, key: str, origin: str | None) -> None:
    answer = page(web, key, origin).decide("shown", unit_id="visitor")
    assert (answer.status, answer.body["code"]) == (403, "wrong_origin")
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_an_error_can_be_read_by_the_page_too(web: Web, key: str) -> None:
    answer = page(web, key).decide("no-such-experiment", unit_id="visitor")
    assert answer.status == 404 and answer.headers["Access-Control-Allow-Origin"] == SHOP


def test_a_preflight_is_answered_for_known_origins_only(web: Web, key: str) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    known = page(web, "", SHOP, **asked).call("OPTIONS", "/v1/decide")
    assert (known.status, known.headers["Access-Control-Allow-Origin"]) == (204, SHOP)
    assert "Authorization" in known.headers["Access-Control-Allow-Headers"]
    other = page(web, "", "https://evil.example", **asked).call("OPTIONS", "/v1/decide")
    assert other.status == 204 and "Access-Control-Allow-Origin" not in other.headers


def test_routes_for_servers_stay_closed_to_pages(web: Web, key: str) -> None:
    for method, path in (("POST", "/v1/decide/batch"), ("POST", "/v1/units/token"), ("POST", "/v1/rewards/batch")):
        answer = page(web, key).call(method, path, {})
        assert (answer.status, answer.body["code"]) == (403, "secret_key_needed"), path
    assert page(web, key).get("/v1/experiments").body["code"] == "missing_scope"


def test_personal_data_needs_a_token_of_the_unit(web: Web, client: Client, key: str) -> None:
    body: Any = {"unit_id": "visitor", "purposes": {"learn": "denied"}, "text_version": "1", "source": "page"}
    refused = page(web, key).post("/v1/consent", body)
    assert (refused.status, refused.body["code"]) == (403, "unit_token_needed")
    token = client.post("/v1/units/token", {"unit_id": "visitor"}).body["unit_token"]
    given = {"Loopwise-Unit-Token": token}
    assert page(web, key, SHOP, **given).post("/v1/consent", body).status == 200
    assert page(web, key, SHOP, **given).post("/v1/consent", body | {"unit_id": "other"}).status == 403


@pytest.mark.parametrize("token", ["", "1", "9.", "x.y", "٣.a", "9" * 30 + ".a", "é.\udce9"])
def test_a_malformed_token_is_refused(token: str) -> None:
    with pytest.raises(Forbidden):
        unit_tokens.check(SECRET, "u", token)


def test_an_expired_token_is_refused() -> None:
    token = unit_tokens.make(SECRET, "u", 1)
    unit_tokens.check(SECRET, "u", token)
    time.sleep(2.1)
    with pytest.raises(Forbidden):
        unit_tokens.check(SECRET, "u", token)


@pytest.mark.parametrize(
    "origin", ["shop.example", "https://shop.example/", "http://shop.example", "https://*", "*", ""]
)
def test_an_origin_is_a_whole_origin(database_url: str, origin: str) -> None:
    with engine_of(database_url) as engine, pytest.raises(Unprocessable, match="origins as https"):
        create_key(engine, scopes=["decide"], origins=[origin])


def test_a_publishable_key_cannot_have_powerful_scopes(database_url: str) -> None:
    with engine_of(database_url) as engine, pytest.raises(Unprocessable, match="no scope but decide, reward"):
        create_key(engine, scopes=["decide", "read"], origins=[SHOP])
