"""The worth of an answer, and which of several answers counts."""

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest

from bandits.feedback import Answer, contribution, counted, explicit_worth, reward_events, worth

SCHEMA = {
    "thumbs": {"up": 1.0, "down": -1.0},
    "stars": [-1.0, -0.5, 0.0, 0.5, 1.0],
    "score": {"low": -1.0, "high": 1.0},
    "reasons": {"too long": -0.25},
    "dismissed": -0.1,
    "not_interested": -1.0,
}


def at(second: int) -> datetime:
    return datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("thumbs", "up", 1.0),
        ("thumbs", "down", -1.0),
        ("stars", 1, -1.0),
        ("stars", 5, 1.0),
        ("score", 0.0, -1.0),
        ("score", 2.5, -0.5),
        ("score", 10.0, 1.0),
        ("reason", "too long", -0.25),
        ("reason", "of another schema", None),
        ("dismissed", None, -0.1),
        ("not_interested", None, -1.0),
        ("comment", None, None),
    ],
)
def test_the_worth_is_what_the_schema_says(kind: str, value: Any, expected: float | None) -> None:
    assert worth(SCHEMA, kind, value) == expected
    assert worth({}, kind, value) is None


def test_a_low_confidence_shrinks_towards_the_default() -> None:
    assert contribution(SCHEMA | {"confidence": 0.25}, "thumbs", "up", 0.2) == pytest.approx(0.4)
    assert contribution(SCHEMA | {"confidence": 0.0}, "thumbs", "down", 0.2) == 0.2
    assert contribution(SCHEMA, "thumbs", "down", 0.2) == -1.0
    assert contribution(SCHEMA, "comment", None, 0.2) is None


def test_the_last_answer_of_a_kind_counts_in_any_order_of_arrival() -> None:
    answers = [
        Answer("thumbs", "up", at(1), "a"),
        Answer("thumbs", "down", at(3), "a2"),
        Answer("thumbs", "up", at(3), "b"),
        Answer("stars", 2, at(2), "c"),
        Answer("comment", None, at(5), "d"),
    ]
    for order in itertools.permutations(answers):
        assert [answer.feedback_id for answer in counted(order)] == ["d", "c", "b"]
        events = reward_events(SCHEMA, order, 0.0)
        assert sorted(event.value for event in events) == [-0.5, 1.0]
        assert explicit_worth(SCHEMA, order) == 0.25


def test_answers_without_a_worth_make_no_event() -> None:
    assert reward_events({"thumbs": None}, [Answer("thumbs", "up", at(1), "a")], 0.0) == []
    assert explicit_worth({}, [Answer("thumbs", "up", at(1), "a")]) is None
