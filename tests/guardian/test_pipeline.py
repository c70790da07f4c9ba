"""A client that stops reporting rewards is named; rewards that come late are told; ordinary days and weeks raise nothing."""

import pytest

from app.accounts import keys
from app.guardian import context, incidents, overview
from benchmarks.pipeline import CHANGE, CLEAN, EVERY, START, World, app_breaks, play, queue_grows
from tests.lab import Lab
from tests.service import query


@pytest.mark.parametrize("world", CLEAN)
def test_ordinary_worlds_raise_nothing(world: World) -> None:
    assert play(world, 1) == []


def test_a_client_that_stops_reporting_is_named() -> None:
    ((noticed, trouble),) = play(app_breaks, 1)
    assert (trouble.kind, trouble.key_id) == ("client_rewards_lost", "app") and noticed <= CHANGE + 300
    assert trouble.before > 0.95 and trouble.after < 0.05
    assert abs(trouble.began_at - (START + CHANGE * EVERY)) < 30 * EVERY


def test_rewards_that_come_late_are_told() -> None:
    ((noticed, trouble),) = play(queue_grows, 1)
    assert (trouble.kind, trouble.key_id) == ("rewards_late", "") and noticed <= CHANGE + 200
    assert trouble.before > 0.95 and 0.6 < trouble.after < 0.7


def test_an_app_that_breaks_opens_an_incident_until_it_reports_again(lab: Lab) -> None:
    engine = lab.runtime.engine
    shop = keys.create_key(engine, name="shop <b>", scopes=["decide"])
    lab.make("clients", reward={"window_s": 600.0})

    def turn(rounds: int, *, works: bool) -> list[str]:
        for _ in range(rounds):
            answers = lab.decide("clients", [{}] * 100)
            ours = [answer["decision_id"] for answer in answers[::2]]
            query(lab.database_url, "UPDATE decisions SET key_id = %s WHERE id = ANY(%s)", shop.id, ours)
            told = answers if works else answers[1::2]
            lab.report([{"decision_id": answer["decision_id"], "value": 1.0} for answer in told])
            lab.settle("clients")
            context.look(engine, "clients")
        return [f"{incident.kind} {incident.closed_at is None}" for incident in incidents.listed(engine, "clients")]

    assert turn(16, works=True) == []
    assert turn(8, works=False) == ["client_rewards_lost True"]
    (incident,) = incidents.listed(engine, "clients")
    assert (
        "the API key shop <b> stopped arriving: 0% of its decisions" in incident.text and "100% before" in incident.text
    )
    assert turn(10, works=True) == ["client_rewards_lost False"], "it recovers"
    (incident,) = incidents.listed(engine, "clients")
    assert [action.code for action in incident.actions] == ["told", "recovered"]
    watched = {(watch.kind, watch.subject): watch for watch in overview.guarded(engine, "clients").over_all_arms}
    assert {("client_rewards", shop.id), ("client_rewards", "lw_test"), ("reward_delay", "")} <= watched.keys()
    assert watched["client_rewards", "lw_test"].armed and watched["client_rewards", "lw_test"].observations > 1000
