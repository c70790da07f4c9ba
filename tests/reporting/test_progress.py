"""Settled units against the planned sample, and when it is complete at the pace so far."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.reporting.comparison.progress import progress
from app.reporting.pages import sentences

START = datetime(2026, 3, 1, tzinfo=UTC)


def seen(days: float, units: int, **rule: Any) -> Any:
    return progress({"min_days": 0.0, **rule}, 2, units, START, START + timedelta(days=days))


def test_units_are_counted_against_the_plan_or_else_the_rules_least() -> None:
    planned = seen(10, 380, planned_units=1000)
    assert (planned.planned, planned.chosen, planned.share) == (1000, True, 0.38)
    least = seen(10, 50, min_units=100)
    assert (least.planned, least.chosen, least.share) == (200, False, 0.25)
    assert seen(10, 5000, planned_units=1000).share == 1.0


@pytest.mark.parametrize(
    ("days", "units", "rule", "ends"),
    [
        (10, 500, {"planned_units": 1000}, 20),
        (1, 1000, {"planned_units": 1000, "min_days": 7}, 7),  # the least days come last
        (10, 0, {"planned_units": 1000}, None),
        (10, 1, {"planned_units": 10**9}, None),  # too far ahead to say
    ],
)
def test_the_end_is_expected_at_the_pace_so_far(
    days: float, units: int, rule: dict[str, Any], ends: float | None
) -> None:
    expected = None if ends is None else START + timedelta(days=ends)
    assert seen(days, units, **rule).ends_at == expected


def test_a_rule_that_stops_before_the_sample_is_complete_is_said() -> None:
    short = seen(10, 500, planned_units=1000, max_days=14)
    assert short.too_slow
    words = sentences.progress(short)
    assert "500 of 1,000 users planned (50%) are settled." in words
    assert "complete on 2026-03-21" in words and "stops the experiment earlier, on 2026-03-15" in words
    assert not seen(10, 500, planned_units=1000, max_days=21).too_slow


def test_the_end_is_expected_in_a_few_words_while_it_lies_ahead() -> None:
    begun = datetime.now(UTC) - timedelta(days=2)

    def words(units: int, **rule: Any) -> tuple[str, str]:
        given = progress({"planned_units": 1000, **rule}, 2, units, begun, datetime.now(UTC))
        return sentences.expected_end(given), sentences.progress(given)

    week = (begun + timedelta(days=7)).date().isoformat()
    assert words(200, min_days=0)[0] == f"expected end {(begun + timedelta(days=10)).date().isoformat()}"
    short, long = words(2000, min_days=7)
    assert short == f"expected end {week}" and f"no verdict before {week}, when its least time has passed" in long
    assert words(2000, min_days=1)[0] == "" and "no verdict before" not in words(2000, min_days=1)[1]
    assert words(0)[0] == ""
    stops = f"the rule stops it on {week}, before the sample is complete"
    assert words(200, min_days=0, max_days=7)[0] == stops


def test_nothing_is_expected_before_the_start_and_when_clocks_differ() -> None:
    assert progress({}, 2, 10, None, START).ends_at is None
    assert progress({}, 2, 10, START, START - timedelta(seconds=5)).ends_at is None
    assert progress({}, 0, 0, START, START).planned == 100
