"""What happens is told once, from its beginning to its end, whatever noticed it."""

from typing import get_args

import pytest

from app.design import experiments
from app.foundation.isolation import in_turn
from app.notices.topics import OF_BADGES, OF_INCIDENTS, TOPICS, Topic
from app.promotion import shipping
from tests.lab import arm
from tests.notices.desk import Desk
from tests.service import Loop, query


@pytest.fixture(scope="module")
def desk(loop: Loop) -> Desk:
    return Desk(loop)


@pytest.fixture(autouse=True)
def nothing_left_over(desk: Desk) -> None:
    desk.collect()
    desk.clear()
    query(desk.url, "UPDATE incidents SET closed_at = clock_timestamp() - interval '2 days'")
    query(desk.url, "DELETE FROM latest")
    query(desk.url, "DELETE FROM privacy_ledger")
    query(desk.url, "UPDATE experiments SET status = 'draft'")


def test_every_source_has_a_topic_with_words() -> None:
    assert set(get_args(Topic)) == set(TOPICS)
    assert {*OF_INCIDENTS.values(), *OF_BADGES.values()} <= set(TOPICS)


def test_an_incident_is_told_when_it_opens_and_when_it_closes(desk: Desk) -> None:
    number = desk.loop.make("shop")
    fell, *_ = [desk.incident(number, kind) for kind in ("value_fell", "rewards_lost", "guardrail")]
    desk.collect()
    desk.collect()
    assert [(topic, over) for topic, _, over in desk.told()] == [
        ("drift", False),
        ("pipeline", False),
        ("guardrail", False),
    ]
    assert "learned earned 0.1 per decision" in desk.told()[0][1]
    desk.close(fell)
    desk.collect()
    assert [over for *_, over in desk.told()] == [True, False, False]


def test_an_incident_that_came_and_went_between_two_looks_is_told_all_the_same(desk: Desk) -> None:
    desk.close(desk.incident(desk.loop.make("brief")))
    desk.collect()
    desk.collect()
    assert [(topic, over) for topic, _, over in desk.told()] == [("drift", True)]


def test_a_badge_that_comes_and_goes_is_one_notice(desk: Desk) -> None:
    number = desk.loop.make("flutter")
    for ok in ("false", "true", "false", "true", "false"):
        desk.summary(number, "audit", f'{{"ok": {ok}, "text": "two rows differ"}}')
        desk.collect()
    assert desk.told() == [("audit", "Audit failed: two rows differ", False)]
    desk.summary(number, "audit", '{"ok": true, "text": "everything matches"}')
    desk.collect()
    assert desk.told()[0][2] is False, "it may come back in a moment"
    desk.later()
    desk.collect()
    assert [over for *_, over in desk.told()] == [True]
    desk.summary(number, "audit", '{"ok": false, "text": "again"}')
    desk.collect()
    assert [(text, over) for _, text, over in desk.told()] == [
        ("Audit failed: two rows differ", True),
        ("Audit failed: again", False),
    ]


RESULTS = (
    '{{"metric": "Sales", "direction": "increase", "arm": "learned", "lift": 0.1, "lift_interval": null, '
    '"verdict": "{verdict}", "ship": "learned", "crossed": {crossed}, "sample_ratio": null, "units": 900}}'
)


def test_a_verdict_that_changes_is_told(desk: Desk) -> None:
    number = desk.loop.make("judged")
    for verdict in ("keep_running", "ship", "stop"):
        desk.summary(number, "results", RESULTS.format(verdict=verdict, crossed='["a crossing is an incident"]'))
        desk.collect()
    assert sorted(desk.told()) == [
        ("verdict", "Verdict: ship learned.", True),
        ("verdict", "Verdict: stop.", False),
    ]


def test_what_concludes_an_experiment_ends_its_notices(desk: Desk) -> None:
    desk.incident(desk.loop.make("ends"))
    desk.collect()
    experiments.move(desk.engine, "ends", "conclude", "ann", "The new page is better.")
    desk.collect()
    desk.collect()
    assert [(topic, over) for topic, _, over in desk.told()] == [("drift", True), ("shipped", False)]
    assert desk.told()[1][1] == "Concluded: The new page is better."


def test_an_arm_that_is_shipped_and_rolled_back_is_told(desk: Desk) -> None:
    desk.loop.make("wins", arms=[arm("control", 0.5, "a"), arm("new", 0.5, "b")], control_arm="control")
    shipping.ship(desk.engine, "wins", shipping.ShipRequest(arm="new", reason="It is better.", holdout=0.1), "ann")
    desk.collect()
    assert desk.told() == [("shipped", "Shipped: new decides for everybody it shall.", False)]
    shipping.roll_back(desk.engine, "wins", "It is not.", "ann")
    desk.collect()
    assert [over for *_, over in desk.told()] == [True]


def test_a_spent_budget_of_privacy_is_told(desk: Desk) -> None:
    number = desk.loop.make("private")
    statement = "INSERT INTO privacy_ledger (experiment_id, epsilon, report, actor) VALUES (%s, %s, '{}', 'ann')"
    query(desk.url, statement, number, 2.0)
    desk.collect()
    assert desk.told() == []
    query(desk.url, statement, number, 1.0)
    desk.collect()
    assert [topic for topic, *_ in desk.told()] == ["budget"]


def test_a_webhook_that_keeps_failing_is_told_to_others(desk: Desk) -> None:
    desk.webhook("crm", "http://127.0.0.1:1111/hook")
    query(desk.url, "UPDATE webhooks SET silent_since = now() - interval '5 minutes' WHERE key = 'crm'")
    desk.collect()
    assert desk.told() == []
    query(desk.url, "UPDATE webhooks SET silent_since = now() - interval '15 minutes' WHERE key = 'crm'")
    desk.collect()
    assert desk.told() == [("pipeline", "The webhook crm does not answer.", False)]
    query(desk.url, "UPDATE webhooks SET silent_since = NULL WHERE key = 'crm'")
    statement = """
        INSERT INTO deliveries (decision_id, experiment_id, unit_id, webhook_id, message, status, attempts, next_at)
        SELECT 'd', 1, 'u', id, '{}', 'waiting', 4, now() + interval '1 hour' FROM webhooks WHERE key = 'crm'
    """
    query(desk.url, statement)
    desk.collect()
    assert desk.told() == [("pipeline", "The webhook crm does not answer.", False)], "it is still the same trouble"
    query(desk.url, "DELETE FROM deliveries")


def test_an_experiment_that_cannot_be_read_stops_no_other(desk: Desk) -> None:
    desk.summary(desk.loop.make("broken"), "audit", '{"ok": "maybe"}')
    desk.incident(desk.loop.make("whole"))
    in_turn(("notices", desk.collect))
    assert [topic for topic, *_ in desk.told()] == ["drift"]
