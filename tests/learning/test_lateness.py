"""A report is late by the database's clock when it arrives, whatever time its caller tells."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.learning.feedback_support import THUMBS, say
from tests.service import Loop, query

LONG_AGO = "2001-01-01T00:00:00Z"  # before any window closes
FAR_AHEAD = "2101-01-01T00:00:00Z"  # after it


def _reward(loop: Loop, event: dict[str, Any]) -> dict[str, Any]:
    return loop.reward([event | {"value": 1.0}])[0]


def _feedback(loop: Loop, event: dict[str, Any]) -> dict[str, Any]:
    return say(loop, [event | {"kind": "thumbs", "value": "up"}])[0]


Report = Callable[[Loop, dict[str, Any]], dict[str, Any]]
both_kinds = pytest.mark.parametrize("report", [_reward, _feedback])
whatever_is_told = pytest.mark.parametrize("told", [LONG_AGO, FAR_AHEAD, None])


@pytest.fixture(scope="module", autouse=True)
def experiment(loop: Loop) -> None:
    loop.make("timed", feedback=THUMBS)


@pytest.fixture
def decision_id(loop: Loop) -> str:
    return str(loop.decide("timed", [{}])[0]["decision_id"])


@both_kinds
@whatever_is_told
def test_after_the_window_a_report_is_late(loop: Loop, decision_id: str, report: Report, told: str | None) -> None:
    query(loop.database_url, "UPDATE decisions SET closes_at = clock_timestamp() WHERE id = %s", decision_id)
    receipt = report(loop, {"decision_id": decision_id, **({"occurred_at": told} if told else {})})
    assert receipt["late"] is True
    assert receipt["occurred_at"] == (told or receipt["received_at"])


@both_kinds
@whatever_is_told
def test_within_the_window_a_report_is_in_time(loop: Loop, decision_id: str, report: Report, told: str | None) -> None:
    receipt = report(loop, {"decision_id": decision_id, **({"occurred_at": told} if told else {})})
    assert receipt["late"] is False
    assert receipt["occurred_at"] == (told or receipt["received_at"])
    arrived = "SELECT %s::timestamptz BETWEEN decided_at AND clock_timestamp() FROM decisions WHERE id = %s"
    assert query(loop.database_url, arrived, receipt["received_at"], decision_id) == [(True,)]


@both_kinds
def test_before_an_activation_no_window_is_open_and_none_is_missed(loop: Loop, report: Report) -> None:
    (hidden,) = loop.decide("timed", [{"defer_activation": True}])
    assert report(loop, {"decision_id": hidden["decision_id"]})["late"] is False
