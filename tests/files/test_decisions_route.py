"""`GET /v1/decisions`: pages that hold every decision once, in three formats, for those who may read them."""

import io
from typing import Any
from urllib.parse import urlencode

import orjson
import pyarrow as pa
import pytest

from app.files.store import transfer
from app.foundation.store.engine import transaction
from app.registry.lookup import stored_experiment
from tests.lab import Lab
from tests.service import BOTH_FRONTS, Client, query

FRONTS = BOTH_FRONTS


@pytest.fixture(scope="module", autouse=True)
def log(client: Client) -> list[dict[str, Any]]:
    client.make("read", arms=[{"key": "a", "share": 0.75, "policy": {"type": "uniform"}},
                              {"key": "b", "share": 0.25, "policy": {"type": "fixed", "action": "a"}}])  # fmt: skip
    made = client.decide_many("read", [{"unit_id": f"u{n % 7}", "context": {"n": n, "é": "🙂"}} for n in range(50)])
    client.make("other")
    client.decide_many("other", [{"unit_id": "u1"}])
    return made


def read(client: Client, **given: Any) -> dict[str, Any]:
    answer = client.get("/v1/decisions?" + urlencode({"experiment": "read"} | given))
    assert answer.status == 200, answer.raw
    return dict(answer.body)


def pages(client: Client, **given: Any) -> list[dict[str, Any]]:
    found, page = [], read(client, **given)
    while True:
        found += page["decisions"]
        if page["next"] is None:
            return found
        page = read(client, **given, after=page["next"])


def test_the_pages_hold_every_decision_once_newest_first(client: Client, log: list[dict[str, Any]]) -> None:
    whole = pages(client, limit=1000)
    assert {one["decision_id"] for one in whole} == {one["decision_id"] for one in log} and len(whole) == 50
    assert [(one["decided_at"], one["decision_id"]) for one in whole] == sorted(
        ((one["decided_at"], one["decision_id"]) for one in whole), reverse=True
    )
    for limit in (1, 7, 25, 50):
        assert pages(client, limit=limit) == whole
    assert all(one["arm_probability"] == {"a": 0.75, "b": 0.25}[one["arm"]] for one in whole)
    for one in whole:
        assert one["propensity"] == one["distribution"][one["eligible"].index(one["action"])]
        assert one["experiment"] == "read" and one["context"]["é"] == "🙂" and one["reward"] is None


def test_unit_and_time_choose_decisions(client: Client) -> None:
    whole = pages(client, limit=1000)
    assert pages(client, unit_id="u3", limit=3) == [one for one in whole if one["unit_id"] == "u3"]
    assert read(client, unit_id="nobody") == {"decisions": [], "next": None}
    at = whole[20]["decided_at"]
    assert pages(client, since=at, limit=9) == [one for one in whole if one["decided_at"] >= at]
    assert pages(client, until=at, limit=9) == [one for one in whole if one["decided_at"] < at]


def test_lines_and_arrow_hold_the_same(client: Client) -> None:
    whole = pages(client, limit=1000)
    lines = client.get("/v1/decisions?experiment=read&limit=20&format=jsonl")
    assert lines.headers["Content-Type"] == "application/x-ndjson"
    assert [orjson.loads(line) for line in lines.raw.splitlines()] == whole[:20]
    following = lines.headers["Link"].removeprefix("<").removesuffix('>; rel="next"')
    assert [orjson.loads(line) for line in client.get(following).raw.splitlines()] == whole[20:40]
    arrow = client.get("/v1/decisions?experiment=read&limit=1000&format=arrow")
    table = pa.ipc.open_stream(io.BytesIO(arrow.raw)).read_all()
    assert (
        table.column("decision_id").to_pylist() == [one["decision_id"] for one in whole] and "Link" not in arrow.headers
    )
    assert [orjson.loads(text) for text in table.column("context").to_pylist()] == [one["context"] for one in whole]


WRONG = {
    "no experiment": ("", 422, "invalid_value"),
    "an unknown one": ("experiment=nothing", 404, "unknown_experiment"),
    "limit 0": ("experiment=read&limit=0", 422, "invalid_value"),
    "limit 1001": ("experiment=read&limit=1001", 422, "invalid_value"),
    "a cursor": ("experiment=read&after=x", 422, "invalid_value"),
    "another cursor": ("experiment=read&after=WzEsMl0", 422, "invalid_value"),
    "a cursor of another script": ("experiment=read&after=%C3%A9", 422, "invalid_value"),
    "a naive cursor": ("experiment=read&after=WyIyMDI2LTAxLTAxIiwgIngiXQ", 422, "invalid_value"),
    "a time": ("experiment=read&since=soon", 422, "invalid_value"),
    "the end first": ("experiment=read&since=2026-02-01T00:00:00Z&until=2026-01-01T00:00:00Z", 422, "invalid_value"),
    "a format": ("experiment=read&format=xml", 422, "invalid_value"),
    "NUL": ("experiment=read&unit_id=%00", 400, "nul_character"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_question_is_refused_with_what_to_change(client: Client, name: str) -> None:
    text, status, code = WRONG[name]
    answer = client.get(f"/v1/decisions?{text}")
    assert (answer.status, answer.body["code"]) == (status, code), answer.raw


def test_who_may_not_be_analysed_is_not_there(client: Client, database_url: str) -> None:
    client.make("denied")
    client.decide_many("denied", [{"unit_id": f"d{n}"} for n in range(4)])
    no = {"unit_id": "d1", "purposes": {"analyse": "denied"}, "text_version": "1", "source": "settings"}
    assert client.post("/v1/consent", no).status in (200, 201)
    assert client.post("/v1/experiments/denied/excluded-units", {"unit_ids": ["d2"], "reason": "a test"}).status in (
        200,
        201,
    )
    found = pages(client, experiment="denied", limit=2)
    assert sorted(one["unit_id"] for one in found) == ["d0", "d3"]
    assert query(database_url, "SELECT count(*) FROM decisions WHERE unit_id = 'd1'") == [(1,)]


def test_large_contexts_make_small_pages(lab: Lab, client: Client) -> None:
    whole = pages(client, limit=1000)
    with transaction(lab.runtime.engine) as connection:
        experiment_id = stored_experiment(connection, "read").id
        page = transfer.readable_page(connection, experiment_id, transfer.Wanted(), most=1000, most_bytes=100)
    assert page.cut and 1 <= len(page.decisions) < 10
    assert [one.decision_id for one in page.decisions] == [one["decision_id"] for one in whole][: len(page.decisions)]
