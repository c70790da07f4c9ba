"""Values as people type them: what is read, and that what is shown reads back to the same."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.foundation.pages.fields.kinds import Findings
from app.messaging.pages import trigger_form
from app.messaging.pages.trigger_values import as_text, listed_values, one_value
from app.messaging.triggers.definition import parse_trigger, plain

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
SCALARS = TEXTS | st.booleans() | st.integers(-(10**15), 10**15) | st.floats(-1e9, 1e9) | st.none()


@pytest.mark.parametrize(
    ("typed", "value"),
    [("5", 5), ("-0.5", -0.5), ('"5"', "5"), ("yes", True), ("No", False), ("pro", "pro"), ("", None), ("1e3", 1000.0)],
)
def test_a_value_is_a_number_yes_or_no_or_a_text(typed: str, value: Any) -> None:
    found = one_value(typed)
    assert found == value and type(found) is type(value)


def test_several_values_stand_between_commas() -> None:
    assert listed_values('pro, "a, b", 3, yes') == ["pro", "a, b", 3, True]


@given(SCALARS)
def test_a_value_that_is_shown_reads_back(value: Any) -> None:
    found = one_value(as_text(value))
    assert found == value and (isinstance(found, str), isinstance(found, bool)) == (
        isinstance(value, str),
        isinstance(value, bool),
    )


@given(st.lists(SCALARS, min_size=1, max_size=5))
def test_several_values_that_are_shown_read_back(values: list[Any]) -> None:
    assert listed_values(as_text(values)) == values


DELIVERY = {"to": "unit"}
DEFINITIONS: list[dict[str, Any]] = [
    {"pattern": {"type": "event", "event": "e"}},
    {"pattern": {"type": "count", "event": "e", "count": 3, "window_s": 172_800.0}, "delay_s": 90.0},
    {"pattern": {"type": "absence", "event": "e", "for_s": 7.5}, "delay_s": {"experiment": "waits"}},
    {
        "pattern": {"type": "milestone", "event": "e", "property": "a.b", "at_least": -2.25},
        "name": "N",
        "priority": -3,
        "channel": "push",
        "locale": "lang",
        "time_zone": "zone",
        "variables": {"name": "user.name"},
        "context": {"a/b": "plan", "c d": "x"},
        "conditions": [
            {"property": "plan", "is": "in", "value": ["pro", "5", 5, True]},
            {"property": "plan", "is": "exists", "value": False},
            {"profile": {"event": "f", "window_s": 3600.0}, "is": "gte", "value": 2},
        ],
        "delivery": {"to": "webhook", "webhook": "hook"},
    },
]


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_a_definition_that_is_shown_reads_back(definition: dict[str, Any]) -> None:
    config = parse_trigger({"key": "k", "experiment": "tips", "delivery": DELIVERY, **definition})
    findings = Findings()
    found = trigger_form.document(trigger_form.shown(config), findings)
    assert not findings.problems
    assert plain(parse_trigger(found)) == plain(config)
