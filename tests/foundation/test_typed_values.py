"""Values as people type them: parsing, and texts that parse back to the same value."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.foundation.formats.typed_values import as_text, listed_values, single_value
from app.foundation.pages.fields.kinds import Findings
from app.messaging.pages import trigger_form
from app.messaging.triggers.definition import parse_trigger, plain

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
SCALARS = TEXTS | st.booleans() | st.integers(-(10**15), 10**15) | st.floats(-1e9, 1e9) | st.none()


@pytest.mark.parametrize(
    ("typed", "value"),
    [("5", 5), ("-0.5", -0.5), ('"5"', "5"), ("yes", True), ("No", False), ("pro", "pro"), ("", None), ("1e3", 1000.0)],
)
def test_a_value_is_a_number_yes_or_no_or_a_text(typed: str, value: Any) -> None:
    parsed = single_value(typed)
    assert parsed == value and type(parsed) is type(value)


def test_several_values_are_separated_by_commas() -> None:
    assert listed_values('pro, "a, b", 3, yes') == ["pro", "a, b", 3, True]


@given(SCALARS)
def test_the_text_of_a_value_parses_back_to_the_value(value: Any) -> None:
    parsed = single_value(as_text(value))
    assert parsed == value and (isinstance(parsed, str), isinstance(parsed, bool)) == (
        isinstance(value, str),
        isinstance(value, bool),
    )


@given(st.lists(SCALARS, min_size=1, max_size=5))
def test_the_text_of_several_values_parses_back_to_the_values(values: list[Any]) -> None:
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
def test_the_form_of_a_definition_parses_back_to_the_definition(definition: dict[str, Any]) -> None:
    config = parse_trigger({"key": "k", "experiment": "tips", "delivery": DELIVERY, **definition})
    findings = Findings()
    document = trigger_form.document(trigger_form.shown(config), findings)
    assert not findings.problems
    assert plain(parse_trigger(document)) == plain(config)
