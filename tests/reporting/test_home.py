"""The list of experiments: figures with their age, badges in words for everything that is wrong, and only for that."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.design import history
from app.foundation.store.latest import HomeRow
from app.reporting import activity, home, results
from app.verification import standing_audit
from tests.service import Loop, bandit, query

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
FINE = {
    "results": {
        "metric": "Reward", "direction": "increase", "arm": "b", "lift": 0.1, "lift_interval": None, "verdict": "keep_running",
        "ship": None, "crossed": [], "sample_ratio": None, "units": 10, "computed_at": "2026-11-21T11:59:00+00:00",
    },
    "activity": {
        "day": "2026-11-21", "decisions": 10, "decisions_today": 5, "rewards_today": 4, "missing_rewards": None,
        "computed_at": "2026-11-21T11:59:00+00:00",
    },
    "audit": {"ok": True, "text": "everything matches", "computed_at": "2026-11-21T11:59:00+00:00"},
}  # fmt: skip


def row(**changes: Any) -> HomeRow:
    plain = HomeRow(
        "k",
        "",
        "running",
        "ada",
        NOW,
        NOW,
        None,
        None,
        [],
        None,
        [{"key": "a", "share": 1.0}],
        {"min_units": 100},
        FINE,
        None,
        False,
        None,
        None,
    )
    return plain._replace(**changes)


def with_(kind: str, **changes: Any) -> dict[str, Any]:
    return {"latest": FINE | {kind: FINE[kind] | changes}}


def test_nothing_is_said_where_nothing_is_wrong() -> None:
    assert home.badges(row(), NOW) == []
    assert home.badges(row(latest=None), NOW) == []
    assert home.badges(row(waiting_since=NOW - timedelta(seconds=200)), NOW) == []


@pytest.mark.parametrize(
    ("changes", "words", "kind"),
    [
        (with_("audit", ok=False, text="decision 'x': the draw"), "Audit failed: decision 'x'", "bad"),
        (with_("results", sample_ratio="units do not match"), "Sample ratio mismatch", "bad"),
        (
            {"latest": FINE | {"health": {"ok": False, "choices": "action 'b' was chosen .8 times"}}},
            "Biased log: action",
            "bad",
        ),
        (with_("results", crossed=["b crosses the guardrail Returns"]), "Guardrail crossed: b crosses", "bad"),
        (with_("activity", missing_rewards="none of 200 settled"), "Missing rewards: none of 200", "warn"),
        ({"waiting_since": NOW - timedelta(minutes=20)}, "nothing was settled or learned for 20 minutes", "warn"),
        ({"problem": "not finite"}, "Stale model: the newest round does not serve (not finite)", "warn"),
    ],
)
def test_what_is_wrong_is_said_in_words(changes: dict[str, Any], words: str, kind: str) -> None:
    (badge,) = home.badges(row(**changes), NOW)
    assert words in badge.text
    assert badge.kind == kind


def test_the_list_shows_what_happened_and_can_be_searched_filtered_and_sorted(loop: Loop) -> None:
    experiment_id = loop.make("zebra", name="Which offer", arms=bandit())
    loop.make("aardvark", name="Which colour")
    loop.more("zebra", experiment_id, 30)
    activity.compute(loop.runtime.engine, "zebra")
    results.compute(loop.runtime.engine, "zebra")
    found = {line.key: line for line in home.lines(loop.runtime.engine)}
    assert (found["zebra"].decisions_today, found["zebra"].rewards_today) == (30, 30)
    assert (found["aardvark"].decisions_today, found["aardvark"].computed_at) == (0, None)
    assert found["zebra"].shares == [("learned", 1.0)]

    def keys(**given: str) -> list[str]:
        shown = home.lines(loop.runtime.engine, **given)
        return [line.key for line in shown if line.key in ("zebra", "aardvark")]

    assert keys() == ["aardvark", "zebra"]
    assert keys(sort="decisions") == ["zebra", "aardvark"]
    assert keys(sort="name") == ["aardvark", "zebra"]
    assert keys(search="OFFER which") == ["zebra"]
    assert keys(search="test offer") == ["zebra"]  # the owner is searched too
    assert keys(search="bestseller") == []
    history.add_note(loop.runtime.engine, "zebra", "The bestseller was out of stock on Monday.", "ann")
    assert keys(search="bestseller monday") == ["zebra"]  # and the notes
    assert keys(status="paused") == []


def test_figures_of_yesterday_are_not_shown_as_todays(loop: Loop) -> None:
    loop.make("yesterday")
    loop.decide("yesterday", [{}] * 3)
    activity.compute(loop.runtime.engine, "yesterday")
    query(
        loop.database_url,
        "UPDATE latest SET summary = jsonb_set(summary, '{day}', '\"2020-01-01\"') FROM experiments e "
        "WHERE e.id = experiment_id AND e.key = 'yesterday' AND latest.kind = 'activity'",
    )
    (line,) = [one for one in home.lines(loop.runtime.engine) if one.key == "yesterday"]
    assert (line.decisions, line.decisions_today) == (3, 0)


def test_a_stopped_worker_is_noticed_without_the_worker(loop: Loop) -> None:
    experiment_id = loop.make("stopped", arms=bandit())
    loop.decide("stopped", [{}] * 3)
    query(
        loop.database_url,
        "UPDATE awaiting_outcome SET closes_at = clock_timestamp() - interval '10 minutes' WHERE experiment_id = %s",
        experiment_id,
    )
    (line,) = [one for one in home.lines(loop.runtime.engine) if one.key == "stopped"]
    assert "Check that a worker runs" in line.badges[0].text
    query(loop.database_url, "DELETE FROM awaiting_outcome WHERE experiment_id = %s", experiment_id)


def test_the_standing_audit_looks_at_what_is_new_and_keeps_what_it_found(loop: Loop) -> None:
    experiment_id = loop.learn("standing")
    engine = loop.runtime.engine
    first = standing_audit.run(engine, loop.settings, "standing")
    assert (first.ok, first.decisions, first.versions) == (True, 40, 2)
    query(
        loop.database_url,
        "UPDATE latest SET body = jsonb_set(body, '{until}', to_jsonb((clock_timestamp() + interval '1 minute')::text)) "
        "WHERE experiment_id = %s AND kind = 'audit'",
        experiment_id,
    )  # its overlap of a minute would take the first decisions again
    loop.more("standing", experiment_id, 10)
    assert standing_audit.run(engine, loop.settings, "standing").decisions == 10
    changed = "UPDATE decisions SET draw = draw / 2 WHERE id = (SELECT max(id) FROM decisions WHERE experiment_id = %s)"
    query(loop.database_url, changed, experiment_id)
    assert not standing_audit.run(engine, loop.settings, "standing").ok
    undone = "UPDATE decisions SET draw = draw * 2 WHERE id = (SELECT max(id) FROM decisions WHERE experiment_id = %s)"
    query(loop.database_url, undone, experiment_id)
    assert standing_audit.run(engine, loop.settings, "standing").ok
    found = standing_audit.stored(engine, "standing")
    kept = found and found.as_json()
    assert kept is not None and "draw gives" in kept["failed"]["findings"][0]
    (line,) = [one for one in home.lines(engine) if one.key == "standing"]
    assert line.badges[0].text.startswith("Audit failed: decision")
    assert standing_audit.run_whole(engine, loop.settings, "standing").ok
    found = standing_audit.stored(engine, "standing")
    kept = found and found.as_json()
    assert kept is not None and kept["failed"] is None
