"""`slots` on `POST /v1/decide` returns a list without repeats. Each position is a decision; all are stored, or none."""

import threading
from typing import Any

import pytest

from app.deciding.store import decisions
from app.foundation.store.engine import transaction
from app.verification.audit import audit_experiment
from tests.service import Client, bandit, engine_of, move_decisions, query, runtime_of, settings

STORED = (
    "SELECT id, eligible, chosen, propensity, ineligible, context, state FROM decisions WHERE id LIKE %s ORDER BY id"
)


@pytest.fixture(scope="module")
def key(client: Client) -> str:
    client.make("shelf", actions=[{"id": name, "payload": {"n": name}} for name in "abcde"])
    return "shelf"


def ask(client: Client, slots: int = 3, **fields: Any) -> Any:
    answer = client.decide("shelf", slots=slots, **fields)
    assert answer.status in (200, 201), answer.raw
    return answer.body


def chosen(answer: dict[str, Any]) -> list[str]:
    return [position["action"]["id"] for position in answer["positions"]]


def test_a_list_never_repeats_an_action_and_each_propensity_is_among_the_remaining_actions(
    client: Client, key: str
) -> None:
    seen = set()
    for _ in range(60):
        answer = ask(client, 5)
        assert sorted(chosen(answer)) == list("abcde") and answer["unfilled"] == 0
        assert [position["propensity"] for position in answer["positions"]] == pytest.approx(
            [1 / 5, 1 / 4, 1 / 3, 1 / 2, 1]
        )
        assert (
            answer["action"]
            == answer["positions"][0]["action"]
            == {
                "id": chosen(answer)[0],
                "payload": {"n": chosen(answer)[0]},
            }
        )
        seen.add(tuple(chosen(answer)))
    assert len(seen) > 30


def test_each_position_is_a_row_that_names_the_actions_above_it(client: Client, key: str, database_url: str) -> None:
    answer = ask(client, decision_id="list", context={"mood": "good"})
    ids = [position["decision_id"] for position in answer["positions"]]
    assert ids == ["list", "list#2", "list#3"] == [row[0] for row in query(database_url, STORED, "list%")]
    above: list[str] = []
    for number, row in enumerate(query(database_url, STORED, "list%"), start=1):
        _, eligible, index, propensity, ineligible, context, state = row
        assert eligible[index] == chosen(answer)[number - 1] and propensity == pytest.approx(1 / len(eligible))
        assert {item["id"]: (item["code"], item["params"]) for item in ineligible or []} == {
            name: ("earlier_position", {"position": n}) for n, name in enumerate(above, start=1)
        }
        assert context == {"mood": "good", "position": str(number)} and state == "active"
        above.append(eligible[index])


def test_a_retry_gets_the_same_list_and_another_body_a_conflict(client: Client, key: str, database_url: str) -> None:
    first = client.decide("shelf", slots=4, decision_id="again")
    second = client.decide("shelf", slots=4, decision_id="again")
    assert (first.status, second.status) == (201, 200) and first.body == second.body
    for other in ({"slots": 5}, {}):
        answer = client.decide("shelf", decision_id="again", **other)
        assert answer.status == 409 and answer.body["code"] == "decision_id_reused"
    assert len(query(database_url, STORED, "again%")) == 4


def test_an_unanswered_list_counts_as_a_whole_once_its_caller_retries(
    client: Client, key: str, database_url: str
) -> None:
    first = ask(client, decision_id="silent")
    with engine_of(database_url) as engine, transaction(engine) as connection:
        ((shelf,),) = query(database_url, "SELECT id FROM experiments WHERE key = 'shelf'")
        decisions.mark_unanswered(connection, [(shelf, position["decision_id"]) for position in first["positions"]])
    waiting = "SELECT count(*) FROM awaiting_outcome WHERE decision_id LIKE 'silent%%'"
    assert {row[6] for row in query(database_url, STORED, "silent%")} == {"unanswered"}
    assert query(database_url, waiting) == [(0,)]
    assert ask(client, decision_id="silent") == first
    assert {row[6] for row in query(database_url, STORED, "silent%")} == {"active"}
    assert query(database_url, waiting) == [(3,)]


def test_a_reward_belongs_to_one_position(client: Client, key: str, database_url: str) -> None:
    ids = [position["decision_id"] for position in ask(client, decision_id="paid")["positions"]]
    assert client.reward(ids[1], 1.0).status == 201
    stored = query(database_url, "SELECT decision_id, value FROM rewards WHERE decision_id LIKE 'paid%%'")
    assert stored == [("paid#2", 1.0)]


def test_a_list_is_shorter_if_fewer_actions_are_eligible_and_reports_it(client: Client, key: str) -> None:
    answer = ask(client, 5, excluded_actions=["a", "b"])
    assert sorted(chosen(answer)) == ["c", "d", "e"] and answer["unfilled"] == 2
    again = ask(client, 2, actions=[{"id": "x"}], decision_id="short")
    assert chosen(again) == ["x"] and again["unfilled"] == 1
    assert ask(client, 2, actions=[{"id": "x"}], decision_id="short") == again


def test_deferred_positions_are_activated_one_by_one(client: Client, key: str, database_url: str) -> None:
    ask(client, decision_id="later", defer_activation=True)
    assert client.post("/v1/decisions/later%232/activate").status == 200
    assert [row[6] for row in query(database_url, STORED, "later%")] == ["deferred", "active", "deferred"]


def test_lists_and_single_decisions_share_a_batch_and_its_limit(client: Client, key: str) -> None:
    body = [
        {"experiment": "shelf", "unit_id": "u", "slots": 2, "decision_id": "first"},
        {"experiment": "shelf", "unit_id": "u", "decision_id": "second"},
        {"experiment": "shelf", "unit_id": "u", "slots": 3},
    ]
    answer = client.post("/v1/decide/batch", {"decisions": body})
    assert answer.status == 201, answer.raw
    decided = answer.body["decisions"]
    assert [len(decision.get("positions", [])) for decision in decided] == [2, 0, 3]
    many = [{"experiment": "shelf", "unit_id": f"u{n}", "slots": 50} for n in range(21)]
    refused = client.post("/v1/decide/batch", {"decisions": many})
    assert refused.status == 422 and "1,050 decisions" in refused.body["detail"]
    assert client.post("/v1/decide/batch", {"decisions": many[:20]}).status == 201


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"slots": 0}, "/slots"),
        ({"slots": 51}, "/slots"),
        ({"slots": "3"}, "/slots"),
        ({"slots": 2.5}, "/slots"),
        ({"slots": 2, "context": {"position": "1"}}, "/context/position"),
        ({"slots": 2, "decision_id": "x#2"}, "/decision_id"),
        ({"decision_id": "x#17"}, "/decision_id"),
    ],
)
def test_an_error_names_the_path_of_the_wrong_value(
    client: Client, key: str, fields: dict[str, Any], path: str
) -> None:
    answer = client.decide("shelf", **fields)
    assert answer.status == 422 and answer.body["errors"][0]["path"] == path


def test_callers_may_use_the_position_field_and_number_signs_outside_of_lists(client: Client, key: str) -> None:
    assert client.decide("shelf", context={"position": 3}).status == 201
    assert client.decide("shelf", decision_id="order #7 of 9", slots=2).status == 201


def test_a_call_for_a_message_refuses_slots(client: Client, key: str) -> None:
    answer = client.post("/v1/messages/decide", {"experiment": "shelf", "unit_id": "u", "slots": 2})
    assert answer.status == 422 and answer.body["errors"][0]["path"] == "/slots"


def test_concurrent_lists_with_the_same_id_store_one_whole_list(client: Client, key: str, database_url: str) -> None:
    for attempt in range(8):
        answers: list[Any] = []

        def send(slots: int, attempt: int = attempt, answers: list[Any] = answers) -> None:
            answers.append((slots, client.decide("shelf", f"unit {slots}", slots=slots, decision_id=f"race {attempt}")))

        threads = [threading.Thread(target=send, args=(slots,)) for slots in (2, 3, 4, 5, 2, 3, 4, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        won = {slots for slots, answer in answers if answer.status in (200, 201)}
        assert len(won) == 1 and {answer.status for _, answer in answers} <= {200, 201, 409}
        assert len(query(database_url, STORED, f"race {attempt}%")) == won.pop()


def test_a_list_is_refused_if_another_decision_has_the_id_of_a_later_position(
    client: Client, key: str, database_url: str
) -> None:
    client.make("governed-shelf", consent={})
    for experiment in ("shelf", "governed-shelf"):
        assert client.decide(experiment, decision_id="old").status == 201
    move_decisions(database_url, "'older#2'", "d.id = 'old'", column="id")
    for experiment in ("shelf", "governed-shelf"):
        answer = client.decide(experiment, slots=3, decision_id="older")
        assert answer.status == 409 and "older#2" in answer.body["detail"]
    assert [row[0] for row in query(database_url, STORED, "older%")] == ["older#2"] * 2


def test_lists_of_units_that_denied_something_are_whole_and_can_be_retried(
    client: Client, key: str, database_url: str
) -> None:
    denied = {"unit_id": "shy", "purposes": {"personalise": "denied"}, "text_version": "1", "source": "settings"}
    assert client.post("/v1/consent", denied).status == 200
    answer = ask(client, 4, unit_id="shy", decision_id="shy list")
    assert len(set(chosen(answer))) == 4 and ask(client, 4, unit_id="shy", decision_id="shy list") == answer
    assert len(query(database_url, STORED, "shy list%")) == 4


def test_caps_count_every_position_of_a_list(client: Client, database_url: str) -> None:
    template = {"texts": {"en": {"body": "hello"}}}
    actions = [{"id": name, "template": template} for name in "abcd"] + [{"id": "quiet"}]
    caps = {"caps": [{"limit": 2, "window_s": 3600}]}
    client.make("capped", actions=actions, fatigue=caps)
    answer = client.decide("capped", "tired", slots=5, excluded_actions=["quiet"])
    assert answer.status == 201 and len(answer.body["positions"]) == 2 and answer.body["unfilled"] == 3
    again = client.decide("capped", "tired", slots=5)
    assert [position["action"]["id"] for position in again.body["positions"]] == ["quiet"]
    assert {item["reason"] for item in again.body["ineligible"]} == {
        "cap: at most 2 messages of all experiments in 3600 s"
    }


def test_lists_of_a_learning_arm_are_sealed_and_pass_the_audit(client: Client, database_url: str) -> None:
    client.make("learned-shelf", arms=bandit("squarecb"), actions=[{"id": name} for name in "abcde"])
    client.decide_many("learned-shelf", [{"slots": 4} for _ in range(30)])
    with runtime_of(database_url) as runtime:
        report = audit_experiment(runtime.engine, settings(database_url), "learned-shelf")
    assert report.ok and report.decisions == 120
