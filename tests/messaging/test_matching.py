"""Matching events with triggers: which trigger fires, when, and never twice."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from app.messaging.triggers import dry_run
from app.messaging.triggers import lifecycle as triggers
from tests.messaging.trigger_support import Triggers, ago
from tests.service import Loop, query


@pytest.fixture(scope="module")
def work(loop: Loop) -> Triggers:
    made = Triggers(loop)
    made.experiment("tips")
    return made


def _event(name: str, number: int, at: Any, **properties: Any) -> dict[str, Any]:
    return {"name": name, "event_id": f"{name}-{number}", "occurred_at": at, "properties": properties}


def test_each_event_of_the_name_fires_once_with_what_it_carries(work: Triggers, database_url: str) -> None:
    work.define(
        "each", {"type": "event", "event": "each"}, variables={"name": "who.first"}, context={"level": "level"},
        locale="lang", time_zone="zone", channel="in_app", priority=3,
    )  # fmt: skip
    properties = {"who": {"first": "Ada"}, "level": 2, "lang": "de", "zone": "Europe/Vienna"}
    work.report(_event("each", 1, None, **properties), _event("each", 2, None), _event("other", 1, None))
    assert work.match() == 2
    assert work.match() == 0
    assert work.causes("each") == ["each-1", "each-2"]
    ((request, priority),) = query(database_url, "SELECT request, priority FROM firings WHERE cause = 'each-1'")
    assert priority == 3
    assert request == {
        "experiment": "tips", "unit_id": "u", "locale": "de", "time_zone": "Europe/Vienna", "channel": "in_app",
        "variables": {"name": "Ada"}, "context": {"level": 2},
    }  # fmt: skip


def test_an_event_that_a_paused_trigger_missed_never_fires_it(work: Triggers) -> None:
    work.define("asleep", {"type": "event", "event": "missed"}, start=False)
    work.report(_event("missed", 1, None))
    work.match()
    triggers.move(work.engine, "asleep", "start", "test")
    work.match()
    assert work.causes("asleep") == []


def test_an_unreadable_trigger_does_not_stop_the_others_from_firing(work: Triggers, database_url: str) -> None:
    work.define("unreadable", {"type": "event", "event": "both"})
    work.define("readable", {"type": "event", "event": "both"})
    query(database_url, "UPDATE triggers SET definition = '{\"key\": \"unreadable\"}' WHERE key = 'unreadable'")
    work.report(_event("both", 1, None))
    assert work.match() == 1
    assert work.causes("readable") == ["both-1"]
    query(database_url, "DELETE FROM triggers WHERE key = 'unreadable'")


CONDITIONS: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({"property": "a", "is": "eq", "value": 1}, {"a": 1.0}, True),
    ({"property": "a", "is": "eq", "value": 1}, {"a": True}, False),
    ({"property": "a", "is": "eq", "value": None}, {"a": None}, True),
    ({"property": "a", "is": "eq", "value": None}, {}, False),
    ({"property": "a", "is": "ne", "value": "x"}, {"a": "y"}, True),
    ({"property": "a", "is": "ne", "value": "x"}, {}, False),
    ({"property": "a.b.c", "is": "gte", "value": 2}, {"a": {"b": {"c": 2}}}, True),
    ({"property": "a.b", "is": "gt", "value": 2}, {"a": [1, 2, 3]}, False),
    ({"property": "a", "is": "gt", "value": 2}, {"a": "3"}, False),
    ({"property": "a", "is": "lt", "value": "b"}, {"a": "a"}, True),
    ({"property": "a", "is": "lte", "value": 2}, {"a": 2.5}, False),
    ({"property": "a", "is": "in", "value": ["x", 1]}, {"a": 1}, True),
    ({"property": "a", "is": "in", "value": ["x", 1]}, {"a": {"x": 1}}, False),
    ({"property": "a", "is": "exists", "value": True}, {"a": None}, True),
    ({"property": "a", "is": "exists", "value": False}, {"b": 1}, True),
]


@pytest.mark.parametrize("number", range(len(CONDITIONS)))
def test_conditions_on_properties(work: Triggers, number: int) -> None:
    condition, properties, holds = CONDITIONS[number]
    name = f"condition-{number}"
    work.define(name, {"type": "event", "event": name}, conditions=[condition])
    work.report(_event(name, 1, None, **properties))
    assert work.match() == int(holds)


def test_conditions_on_the_units_counts_end_with_the_event_that_fires(work: Triggers) -> None:
    profile = {"event": "login", "window_s": 3600}
    work.define(
        "regular", {"type": "event", "event": "buy"}, conditions=[{"profile": profile, "is": "gte", "value": 2}]
    )
    work.report(_event("login", 1, ago(hours=3)), _event("login", 2, ago(minutes=50)))
    work.report(_event("buy", 1, ago(minutes=45)))
    work.report(_event("login", 3, ago(minutes=40)), _event("login", 4, ago(minutes=20)))
    work.report(_event("buy", 2, ago(minutes=30)), _event("buy", 3, ago(minutes=1)))
    assert work.match() == 2
    assert work.causes("regular") == ["buy-2", "buy-3"]


def test_a_count_fires_at_the_event_that_completes_it_and_again_when_the_window_is_new(work: Triggers) -> None:
    work.define("streak", {"type": "count", "event": "done", "count": 3, "window_s": 600})
    minutes = [100, 99, 98, 97, 96, 95, 89, 88, 87, 70, 60, 50]
    work.report(*[_event("done", n, ago(minutes=at)) for n, at in enumerate(minutes)])
    work.match()
    # done-2 completes the first; done-7 is the first whose ten minutes hold nothing up to done-2.
    assert work.causes("streak") == ["done-2", "done-7"]


def test_counts_do_not_depend_on_how_events_are_batched(work: Triggers) -> None:
    work.define("single", {"type": "count", "event": "one-by-one", "count": 3, "window_s": 600})
    for n, at in enumerate([100, 99, 98, 97, 96, 95, 89, 88, 87, 70, 60, 50]):
        work.report(_event("one-by-one", n, ago(minutes=at)))
        work.match()
    assert work.causes("single") == ["one-by-one-2", "one-by-one-7"]


def test_an_event_that_arrives_late_completes_a_count_at_the_last_of_its_events(work: Triggers) -> None:
    work.define("late", {"type": "count", "event": "late", "count": 3, "window_s": 600})
    work.report(_event("late", 1, ago(minutes=30)), _event("late", 3, ago(minutes=28)))
    assert work.match() == 0
    work.report(_event("late", 2, ago(minutes=29)))
    assert work.match() == 1
    assert work.causes("late") == ["late-3"]


def test_each_unit_has_a_count_of_its_own(work: Triggers) -> None:
    work.define("apart", {"type": "count", "event": "apart", "count": 2, "window_s": 600})
    work.report(*[_event("apart", n, ago(seconds=n)) | {"unit_id": f"apart-{n % 3}"} for n in range(5)])
    assert work.match() == 2


def test_a_milestone_fires_at_the_first_event_that_reaches_it_and_once_for_each_unit(work: Triggers) -> None:
    pattern = {"type": "milestone", "event": "progress", "property": "stats.lessons", "at_least": 10}
    work.report(_event("progress", 0, ago(hours=1), stats={"lessons": 12}) | {"unit_id": "veteran"})
    work.match()
    work.define("tenth", pattern)
    for n, (unit, lessons) in enumerate([("new", 9), ("new", 10), ("new", 11), ("veteran", 13), ("text", "10")], 1):
        work.report(_event("progress", n, ago(minutes=10 - n), stats={"lessons": lessons}) | {"unit_id": unit})
        work.match()
    assert work.causes("tenth") == ["new"]


def test_an_absence_fires_once_for_each_silence_that_ends_while_the_trigger_runs(
    work: Triggers, database_url: str
) -> None:
    work.report(_event("open", 0, ago(hours=5)) | {"unit_id": "gone-before"})
    trigger_id = work.define("silent", {"type": "absence", "event": "open", "for_s": 3600})
    _look_from(database_url, trigger_id, ago(minutes=30))
    work.report(_event("open", 1, ago(minutes=80)) | {"unit_id": "stalls"})
    work.report(_event("open", 2, ago(minutes=80)) | {"unit_id": "comes-back"})
    work.report(_event("open", 3, ago(minutes=20)) | {"unit_id": "comes-back"})
    work.match()
    work.match()
    assert work.causes("silent") == ["open-1"]
    work.report(_event("open", 4, ago(minutes=89)) | {"unit_id": "heard-of-late"})
    work.match()
    assert work.causes("silent") == ["open-4", "open-1"]


def _look_from(database_url: str, trigger_id: int, moment: Any) -> None:
    """As if the trigger had been started then."""
    query(
        database_url, "UPDATE triggers SET silent_until = %s, changed_at = %s WHERE id = %s", moment, moment, trigger_id
    )


def test_silences_are_examined_in_parts_without_missing_any(
    work: Triggers, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.messaging.triggers.matching.MOST_SILENCES", 3)
    trigger_id = work.define("parts", {"type": "absence", "event": "part", "for_s": 60})
    _look_from(database_url, trigger_id, ago(hours=1))
    at = ago(minutes=30)
    work.report(*[_event("part", n, at - timedelta(seconds=n // 5)) | {"unit_id": f"p-{n}"} for n in range(25)])
    for _ in range(20):
        work.match()
    assert sorted(work.causes("parts")) == sorted(f"part-{n}" for n in range(25))


def test_two_concurrent_matchers_fire_each_event_once(work: Triggers) -> None:
    work.define("raced", {"type": "event", "event": "raced"})
    work.define("raced-count", {"type": "count", "event": "raced", "count": 5, "window_s": 86_400})
    for start in range(0, 2000, 500):
        numbers = range(start, start + 500)
        work.report(*[_event("raced", n, ago(seconds=n / 10)) | {"unit_id": f"r-{n % 100}"} for n in numbers])
    with ThreadPoolExecutor(4) as pool:
        made = sum(pool.map(lambda _: work.match(), range(4)))
    made += work.match()
    assert made == 2000 + 100
    assert len(set(work.causes("raced"))) == 2000


PATTERNS: list[dict[str, Any]] = [
    {"type": "event", "event": "dry"},
    {"type": "count", "event": "dry", "count": 3, "window_s": 43_200},
    {"type": "milestone", "event": "dry", "property": "n", "at_least": 50},
]


def test_a_dry_run_reports_the_firings_of_a_running_trigger(work: Triggers) -> None:
    conditions = [{"property": "odd", "is": "eq", "value": True}]
    for number, pattern in enumerate(PATTERNS):
        work.define(f"dry-{number}", pattern, conditions=conditions)
    rows = [
        _event("dry", n, ago(minutes=(n * 7919) % 8000), n=n, odd=n % 2 == 1) | {"unit_id": f"d-{n % 7}"}
        for n in range(300)
    ]
    rows.sort(key=lambda row: row["occurred_at"])
    work.report(*rows)
    work.match()
    for number in range(len(PATTERNS)):
        report = dry_run.dry_run(work.engine, triggers.get(work.engine, f"dry-{number}").definition)
        assert report["firings"] == len(work.causes(f"dry-{number}")) > 0
        assert sum(day["firings"] for day in report["days"]) == report["firings"]
        assert len(report["sample"]) == min(100, report["firings"])
        assert report["sample"] == sorted(report["sample"], key=lambda firing: firing["at"], reverse=True)


def test_a_running_trigger_that_is_changed_to_an_absence_ignores_past_silences(
    work: Triggers, database_url: str
) -> None:
    """Otherwise it would fire at once for everybody who has fallen silent since it was started months ago."""
    trigger_id = work.define("turned", {"type": "event", "event": "hello"})
    query(database_url, "UPDATE triggers SET silent_until = silent_until - interval '6 days' WHERE id = %s", trigger_id)
    work.report(_event("turn", 1, ago(days=2)))
    work.match()
    triggers.change(work.engine, "turned", {"pattern": {"type": "absence", "event": "turn", "for_s": 3600}}, "test")
    work.match()
    assert work.causes("turned") == []
    query(database_url, "UPDATE triggers SET silent_until = silent_until - interval '6 days' WHERE id = %s", trigger_id)
    triggers.change(work.engine, "turned", {"priority": 4}, "test")  # a change outside the pattern skips no silence
    work.match()
    assert work.causes("turned") == ["turn-1"]


def test_a_dry_run_of_an_absence_counts_silences(work: Triggers) -> None:
    for n, at in enumerate([50, 49, 30, 10, 2]):
        work.report(_event("quiet", n, ago(hours=at)))
    document = {
        "key": "x", "experiment": "tips", "delivery": {"to": "unit"},
        "pattern": {"type": "absence", "event": "quiet", "for_s": 5 * 3600},
    }  # fmt: skip
    report = dry_run.dry_run(work.engine, document)
    assert (report["firings"], report["units"]) == (3, 1)


def test_a_dry_run_of_too_many_events_is_refused(work: Triggers, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.foundation.errors import Unprocessable

    monkeypatch.setattr("app.messaging.triggers.dry_run.MOST_EVENTS", 100)
    with pytest.raises(Unprocessable) as caught:
        dry_run.dry_run(work.engine, triggers.get(work.engine, "dry-0").definition)
    assert caught.value.code == "dry_run_too_large"
