"""Each due firing gets one decision and one delivery, whatever fails in between."""

from typing import Any

import pytest

from app.design import experiments
from app.foundation.errors import Unavailable, Unprocessable
from app.messaging.triggers import firing as firings
from app.messaging.triggers import lifecycle as triggers
from app.people import people
from tests.messaging.trigger_support import MESSAGE, Triggers
from tests.service import Loop, query


@pytest.fixture(scope="module")
def work(loop: Loop) -> Triggers:
    made = Triggers(loop)
    made.experiment("tips")
    return made


def _one(work: Triggers, key: str, unit_id: str = "u", **fields: Any) -> None:
    """A trigger with that key, and one event that fires it."""
    work.define(key, {"type": "event", "event": key}, **fields)
    work.report({"name": key, "event_id": key, "unit_id": unit_id, "properties": {"name": "Ada"}})
    assert work.match() == 1


def _row(database_url: str, key: str) -> dict[str, Any]:
    columns = "f.status, f.reason, f.decision_id, f.wait_decision_id, f.due_at, f.created_at"
    statement = f"SELECT {columns} FROM firings f JOIN triggers t ON t.id = f.trigger_id WHERE t.key = %s"
    names = ("status", "reason", "decision_id", "wait_decision_id", "due_at", "created_at")
    return dict(zip(names, query(database_url, statement, key)[0], strict=True))


def test_a_firing_becomes_a_decision_and_a_held_message(work: Triggers, database_url: str) -> None:
    _one(work, "welcome", variables={"name": "name"})
    assert work.fire() == 1
    row = _row(database_url, "welcome")
    assert row["status"] == "decided"
    delivery = "SELECT unit_id, webhook_id, status, message ->> 'body' FROM deliveries WHERE decision_id = %s"
    assert query(database_url, delivery, row["decision_id"]) == [("u", None, "waiting", "Hello Ada")]
    decision = "SELECT key_id, unit_id FROM decisions WHERE id = %s"
    assert query(database_url, decision, row["decision_id"]) == [("trigger:welcome", "u")]
    assert work.fire() == 0


def test_event_data_stays_in_a_firing_until_it_is_finished_and_is_exported_with_the_person(
    work: Triggers, database_url: str
) -> None:
    """A trigger may pass undeclared or hashed fields; the decision keeps only those that may be stored."""
    _one(work, "frugal", "frugal one", variables={"name": "name"}, context={"street": "name"}, delay_s=60)

    def exported() -> list[tuple[Any, ...]]:
        firings = people.export(work.engine, work.loop.caller, "frugal one").firings
        return [(firing["trigger"], firing["status"], firing["request"]) for firing in firings]

    asks = {"experiment": "tips", "unit_id": "frugal one", "variables": {"name": "Ada"}, "context": {"street": "Ada"}}
    assert exported() == [("frugal", "waiting", asks)]
    query(database_url, "UPDATE firings SET due_at = clock_timestamp() WHERE unit_id = 'frugal one'")
    assert work.fire() == 1
    assert exported() == [("frugal", "decided", {"experiment": "tips"})]
    (told,) = triggers.firings(work.engine, "frugal")
    assert told.experiment == "tips"


def test_a_decision_to_say_nothing_creates_no_delivery(work: Triggers, database_url: str) -> None:
    work.experiment("quiet", actions=[{"id": "silent"}, {"id": "hello", "template": MESSAGE}], arms=[
        {"key": "all", "share": 1.0, "policy": {"type": "fixed", "action": "silent"}}])  # fmt: skip
    _one(work, "silent", experiment="quiet")
    assert work.fire() == 0
    row = _row(database_url, "silent")
    assert row["status"] == "decided"
    assert query(database_url, "SELECT 1 FROM deliveries WHERE decision_id = %s", row["decision_id"]) == []


def test_a_firing_waits_for_the_delay_of_its_trigger(work: Triggers, database_url: str) -> None:
    _one(work, "later", delay_s=3600.0)
    work.fire()
    row = _row(database_url, "later")
    assert row["status"] == "waiting"
    assert (row["due_at"] - row["created_at"]).total_seconds() == pytest.approx(3600, abs=5)
    query(database_url, "UPDATE firings SET due_at = clock_timestamp() WHERE status = 'waiting'")
    work.fire()
    assert _row(database_url, "later")["status"] == "decided"


def test_a_firing_whose_decision_is_refused_is_skipped_with_the_reason(work: Triggers, database_url: str) -> None:
    work.experiment("stops")
    _one(work, "refused", experiment="stops")
    experiments.move(work.engine, "stops", "pause", "test")
    _one(work, "bad-zone", time_zone="name")
    _one(work, "asleep")
    triggers.move(work.engine, "asleep", "pause", "test")
    work.fire()
    assert work.states("refused") == [("skipped", "Experiment 'stops' is paused; start it first.")]
    ((status, reason),) = work.states("bad-zone")
    assert status == "skipped" and reason is not None and reason.startswith("/time_zone: ")
    assert work.states("asleep") == [("skipped", "the trigger was paused")]


def test_firings_of_a_deleted_trigger_are_skipped(work: Triggers, database_url: str) -> None:
    _one(work, "deleted")
    triggers.delete(work.engine, "deleted", "test")
    work.fire()
    assert query(database_url, "SELECT status, reason FROM firings WHERE cause = 'deleted'") == [
        ("skipped", "the trigger was deleted")
    ]


def test_the_firing_with_the_highest_priority_of_a_unit_goes_first(work: Triggers, database_url: str) -> None:
    work.experiment("capped", actions=[{"id": "hello", "template": MESSAGE}, {"id": "silent"}], arms=[
        {"key": "all", "share": 1.0, "policy": {"type": "fixed", "action": "hello"}}],
        fatigue={"caps": [{"limit": 1, "window_s": 3600, "across": "experiment"}]})  # fmt: skip
    for key, priority in (("low", 1), ("high", 9), ("middle", 5)):
        _one(work, key, "greedy", priority=priority, experiment="capped")
    work.fire()
    statement = (
        "SELECT f.cause FROM firings f JOIN deliveries d ON d.decision_id = f.decision_id WHERE f.unit_id = 'greedy'"
    )
    assert query(database_url, statement) == [("high",)]


def test_an_experiment_may_choose_the_waiting_time_and_can_be_rewarded_for_it(
    work: Triggers, database_url: str
) -> None:
    work.loop.make("pace", actions=[{"id": "day", "payload": {"wait_s": 86_400}}])
    _one(work, "paced", delay_s={"experiment": "pace"})
    assert work.fire() == 0
    row = _row(database_url, "paced")
    assert row["status"] == "waiting"
    assert (row["due_at"] - row["created_at"]).total_seconds() == 86_400
    work.loop.reward([{"decision_id": row["wait_decision_id"], "value": 1.0}])
    query(database_url, "UPDATE firings SET due_at = clock_timestamp() WHERE status = 'waiting'")
    assert work.fire() == 1
    after = _row(database_url, "paced")
    assert (after["status"], after["wait_decision_id"]) == ("decided", row["wait_decision_id"])
    stored = "SELECT count(*) FROM decisions d JOIN experiments e ON e.id = d.experiment_id WHERE e.key = 'pace'"
    assert query(database_url, stored) == [(1,)]


def test_a_chosen_waiting_time_of_zero_sends_at_once(work: Triggers, database_url: str) -> None:
    work.loop.make("at-once", actions=[{"id": "now", "payload": {"wait_s": 0}}])
    _one(work, "immediate", delay_s={"experiment": "at-once"})
    assert work.fire() == 1
    assert _row(database_url, "immediate")["wait_decision_id"] is not None


def test_a_firing_that_fails_after_its_decision_is_finished_with_the_same_decision(
    work: Triggers, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _one(work, "crash", "crashed")
    finish = firings._finish
    monkeypatch.setattr(firings, "_finish", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        work.fire()
    monkeypatch.setattr(firings, "_finish", finish)
    triggers.change(
        work.engine, "crash", {"experiment": "capped", "priority": 7}, "test"
    )  # it waits with its old request
    assert _row(database_url, "crash")["status"] == "waiting"
    assert work.fire() == 1
    assert query(database_url, "SELECT count(*) FROM decisions WHERE unit_id = 'crashed'") == [(1,)]
    assert query(database_url, "SELECT count(*) FROM deliveries WHERE unit_id = 'crashed'") == [(1,)]


def test_an_outage_leaves_the_firing_for_later(
    work: Triggers, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _one(work, "outage")

    def away(*_: object) -> Any:
        raise Unavailable("database_unavailable", "away")

    with monkeypatch.context() as patched:
        patched.setattr(firings, "decide", away)
        with pytest.raises(Unavailable):
            work.fire()
    assert work.states("outage") == [("waiting", None)]
    assert work.fire() == 1


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"experiment": "nowhere"}, "/experiment"),
        ({"experiment": "pace"}, "/experiment"),  # it has no message
        ({"delay_s": {"experiment": "tips"}}, "/delay_s/experiment"),  # its actions have no wait_s
        ({"delivery": {"to": "webhook", "webhook": "nowhere"}}, "/delivery/webhook"),
    ],
)
def test_experiments_and_webhooks_that_a_trigger_names_must_exist(
    work: Triggers, fields: dict[str, Any], path: str
) -> None:
    with pytest.raises(Unprocessable) as caught:
        work.define("names", {"type": "event", "event": "x"}, **fields)
    assert [field.path for field in caught.value.fields] == [path]
