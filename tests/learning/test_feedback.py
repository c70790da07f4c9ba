"""Feedback calls as an app makes them."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.learning.api.answers import FeedbackAnswer, FeedbackBatchAnswer
from tests.service import Answer, Client, Web, make_key, query, running_web

SCHEMA = {
    "thumbs": {"up": 1.0, "down": 0.0},
    "stars": [0.0, 0.25, 0.5, 0.75, 1.0],
    "reasons": {"too long": 0.2, "not for me": 0.0},
    "limit": 50,
}


@pytest.fixture(scope="module", autouse=True)
def experiments(client: Client) -> None:
    client.make("asked", feedback=SCHEMA)
    client.make("unasked")
    client.make("narrow", feedback={"thumbs": {"up": 1.0, "down": 0.0}, "limit": 3, "limit_window_s": 900.0})


_numbers = iter(range(10**6))


def decide(client: Client, experiment: str = "asked", unit: str = "") -> str:
    return str(client.decide(experiment, unit or f"unit-{next(_numbers)}").body["decision_id"])


def say(client: Client, decision_id: str, kind: str, value: Any = None, **fields: Any) -> Answer:
    given = fields if value is None else {"value": value, **fields}
    return client.post("/v1/feedback", {"decision_id": decision_id, "kind": kind, **given})


def _receipt(answer: Answer, status: int = 201) -> dict[str, Any]:
    assert answer.status == status, answer.raw
    FeedbackAnswer.model_validate(answer.body, strict=True, extra="forbid")
    return dict(answer.body)


@pytest.mark.parametrize(
    ("kind", "value", "comment"),
    [
        ("thumbs", "up", None),
        ("stars", 4, None),
        ("score", 7.5, "nearly"),
        ("reason", "too long", None),
        ("comment", None, "Ich würde es <b>kürzer</b> machen 🙂"),
        ("dismissed", None, None),
        ("not_interested", None, "never again"),
    ],
)
def test_each_kind_of_answer_is_stored_with_a_receipt(
    client: Client, database_url: str, kind: str, value: Any, comment: str | None
) -> None:
    decision_id = decide(client)
    fields = {} if comment is None else {"comment": comment}
    receipt = _receipt(say(client, decision_id, kind, value, feedback_id="f", **fields))
    assert (receipt["kind"], receipt["value"], receipt["comment"], receipt["late"]) == (kind, value, comment, False)
    stored = (
        "SELECT f.kind, f.value, f.comment, f.action = d.eligible[d.chosen + 1], f.unit_id = d.unit_id"
        " FROM feedback f JOIN decisions d ON d.id = f.decision_id WHERE f.decision_id = %s"
    )
    assert query(database_url, stored, decision_id) == [(kind, value, comment, True, True)]


@pytest.mark.parametrize(
    ("kind", "fields", "path"),
    [
        ("thumbs", {"value": "sideways"}, "/value"),
        ("thumbs", {}, "/value"),
        ("thumbs", {"value": 1}, "/value"),
        ("stars", {"value": 0}, "/value"),
        ("stars", {"value": 6}, "/value"),
        ("stars", {"value": 2.5}, "/value"),
        ("stars", {"value": "4"}, "/value"),
        ("score", {"value": 10.5}, "/value"),
        ("score", {"value": -1}, "/value"),
        ("stars", {"value": 2**62}, "/value"),
        ("reason", {"value": "unheard of"}, "/value"),
        ("reason", {"value": 3}, "/value"),
        ("comment", {}, "/comment"),
        ("comment", {"value": "up", "comment": "x"}, "/value"),
        ("comment", {"comment": "x" * 10_001}, "/comment"),
        ("dismissed", {"value": "up"}, "/value"),
        ("not_interested", {"value": 1}, "/value"),
    ],
)
def test_a_value_of_another_kind_is_refused(
    client: Client, database_url: str, kind: str, fields: dict[str, Any], path: str
) -> None:
    decision_id = decide(client)
    answer = client.post("/v1/feedback", {"decision_id": decision_id, "kind": kind, **fields})
    assert (answer.status, answer.body["code"]) == (422, "invalid_value"), answer.raw
    assert [error["path"] for error in answer.body["errors"]] == [path]
    assert query(database_url, "SELECT 1 FROM feedback WHERE decision_id = %s", decision_id) == []


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "thumbs", "value": True},
        {"kind": "thumbs", "value": ["up"]},
        {"kind": "thumbs", "value": {"up": 1}},
        {"kind": "applause", "value": "up"},
        {"kind": "thumbs", "value": "up", "extra": 1},
        {"kind": "thumbs", "value": "up", "occurred_at": "yesterday"},
        {"kind": "thumbs", "value": "up", "occurred_at": "9999-12-31T23:59:59Z"},
        {"kind": "thumbs", "value": "up", "feedback_id": ""},
        {"kind": "thumbs", "value": "up", "feedback_id": "x" * 501},
        {"kind": "thumbs", "value": "up", "comment": ""},
    ],
)
def test_a_body_of_the_wrong_shape_is_refused(client: Client, body: dict[str, Any]) -> None:
    assert client.post("/v1/feedback", {"decision_id": decide(client), **body}).status == 422


def test_nul_characters_and_lone_surrogates_are_refused(client: Client) -> None:
    decision_id = decide(client)
    assert say(client, decision_id, "comment", comment="a\0b").status == 400
    raw = b'{"decision_id": "%s", "kind": "comment", "comment": "\\ud800"}' % decision_id.encode()
    assert client.post("/v1/feedback", raw).status == 400


@pytest.mark.parametrize("number", ["1e308", "-1e308", "9" * 400, "1" + "0" * 3000])
@pytest.mark.parametrize("kind", ["score", "stars", "reason", "dismissed"])
def test_a_number_beyond_all_bounds_is_refused(client: Client, kind: str, number: str) -> None:
    raw = f'{{"decision_id": "{decide(client)}", "kind": "{kind}", "value": {number}}}'.encode()
    assert client.post("/v1/feedback", raw).status in (400, 422)


def test_the_same_answer_sent_twice_gets_200_and_the_same_receipt(client: Client) -> None:
    decision_id = decide(client)
    first = _receipt(say(client, decision_id, "score", 7, feedback_id="f"))
    assert _receipt(say(client, decision_id, "score", 7.0, feedback_id="f"), 200) == first


def test_without_an_id_the_same_answer_counts_once_and_a_different_answer_counts_too(client: Client) -> None:
    decision_id = decide(client)
    first = _receipt(say(client, decision_id, "stars", 4))
    assert _receipt(say(client, decision_id, "stars", 4), 200) == first
    assert _receipt(say(client, decision_id, "stars", 4, occurred_at="2026-01-31T12:00:00Z"), 200) == first
    assert _receipt(say(client, decision_id, "stars", 2))["feedback_id"] != first["feedback_id"]
    assert _receipt(say(client, decision_id, "stars", 4, comment="good"))["feedback_id"] != first["feedback_id"]


@pytest.mark.parametrize(
    "other",
    [{"value": "down"}, {"kind": "stars", "value": 4}, {"comment": "x"}, {"occurred_at": "2026-01-31T12:00:00Z"}],
)
def test_another_answer_with_the_same_feedback_id_gets_409(client: Client, other: dict[str, Any]) -> None:
    body = {"decision_id": decide(client), "kind": "thumbs", "value": "up", "feedback_id": "f"}
    assert client.post("/v1/feedback", body).status == 201
    answer = client.post("/v1/feedback", body | other)
    assert (answer.status, answer.body["code"]) == (409, "feedback_id_reused")


def test_a_batch_is_stored_whole_or_not_at_all(client: Client, database_url: str) -> None:
    ids = [decide(client) for _ in range(3)]
    good = [{"decision_id": decision_id, "kind": "thumbs", "value": "up"} for decision_id in ids]
    answer = client.post("/v1/feedback/batch", {"feedback": [*good, {"decision_id": "none", "kind": "dismissed"}]})
    assert (answer.status, answer.body["code"]) == (404, "unknown_decision") and "/feedback/3" in answer.body["detail"]
    assert query(database_url, "SELECT 1 FROM feedback WHERE decision_id = ANY(%s)", ids) == []
    answer = client.post("/v1/feedback/batch", {"feedback": [*good, good[0]]})
    FeedbackBatchAnswer.model_validate(answer.body, strict=True, extra="forbid")
    assert answer.status == 201 and answer.body["feedback"][0] == answer.body["feedback"][3]
    assert client.post("/v1/feedback/batch", {"feedback": good}).status == 200


def test_only_keys_of_the_experiment_with_the_reward_scope_may_report_answers(
    client: Client, web: Web, database_url: str
) -> None:
    decision_id = decide(client)
    reader = web.client(make_key(database_url, "read", "decide"))
    assert say(reader, decision_id, "thumbs", "up").body["code"] == "missing_scope"
    bound = web.client(make_key(database_url, "reward", experiment="unasked"))
    assert say(bound, decision_id, "thumbs", "up").body["code"] == "unknown_decision"
    assert say(client, "no-such-decision", "thumbs", "up").body["code"] == "unknown_decision"


def test_without_a_schema_answers_with_any_reason_are_stored(client: Client) -> None:
    decision_id = decide(client, "unasked")
    assert _receipt(say(client, decision_id, "reason", "whatever it is"))["value"] == "whatever it is"
    assert _receipt(say(client, decision_id, "stars", 5))["late"] is False


def test_an_answer_after_the_window_is_stored_and_marked_late(client: Client, database_url: str) -> None:
    decision_id = decide(client)
    query(database_url, "UPDATE decisions SET closes_at = clock_timestamp() WHERE id = %s", decision_id)
    assert _receipt(say(client, decision_id, "thumbs", "up"))["late"] is True


def test_an_answer_for_an_erased_decision_is_refused(client: Client, database_url: str) -> None:
    decision_id = decide(client)
    query(database_url, "UPDATE decisions SET erased_at = clock_timestamp() WHERE id = %s", decision_id)
    assert say(client, decision_id, "thumbs", "up").body["code"] == "unknown_decision"


def test_a_unit_that_answers_too_often_gets_429_with_the_time_to_wait(client: Client, database_url: str) -> None:
    ids = [decide(client, "narrow", "keen") for _ in range(4)]
    for decision_id in ids[:3]:
        _receipt(say(client, decision_id, "thumbs", "up"))
    answer = say(client, ids[3], "thumbs", "up")
    assert (answer.status, answer.body["code"]) == (429, "feedback_limit")
    assert 800 <= int(answer.headers["Retry-After"]) <= 900
    _receipt(say(client, ids[0], "thumbs", "up"), 200)  # a retry is no new answer
    _receipt(say(client, decide(client, "narrow", "another"), "thumbs", "up"))
    _receipt(say(client, decide(client, "asked", "keen"), "thumbs", "up"))
    shift = "UPDATE feedback SET received_at = received_at - interval '16 minutes' WHERE decision_id = %s"
    query(database_url, shift, ids[0])
    _receipt(say(client, ids[3], "thumbs", "up"))


def test_a_batch_over_the_limit_stores_nothing(client: Client, database_url: str) -> None:
    ids = [decide(client, "narrow", "all at once") for _ in range(4)]
    batch = [{"decision_id": decision_id, "kind": "thumbs", "value": "up"} for decision_id in ids]
    answer = client.post("/v1/feedback/batch", {"feedback": batch})
    assert (answer.status, answer.body["code"]) == (429, "feedback_limit")
    assert query(database_url, "SELECT 1 FROM feedback WHERE unit_id = 'all at once'") == []


def test_the_limit_is_exact_when_two_processes_store_answers_concurrently(
    client: Client, web: Web, database_url: str
) -> None:
    ids = [decide(client, "narrow", "raced") for _ in range(40)]
    with running_web(database_url) as other:
        clients = [client, other.client(client.key)]
        with ThreadPoolExecutor(8) as pool:
            jobs = [
                pool.submit(say, clients[index % 2], decision_id, "thumbs", "up")
                for index, decision_id in enumerate(ids)
            ]
            statuses = sorted(job.result().status for job in jobs)
    assert statuses == [201] * 3 + [429] * 37
    assert query(database_url, "SELECT count(*) FROM feedback WHERE unit_id = 'raced'") == [(3,)]


def test_concurrent_copies_of_an_answer_are_stored_once(client: Client, database_url: str) -> None:
    decision_id = decide(client)
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(say, client, decision_id, "stars", 5) for _ in range(24)]
        answers = [job.result() for job in jobs]
    assert sorted(answer.status for answer in answers) == [200] * 23 + [201]
    assert len({answer.raw for answer in answers}) == 1
