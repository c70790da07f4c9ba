"""Objects as rows of name and value, as texts, or as JSON: each reads back to the same object."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from app.foundation.formats.typed_values import kind_of
from app.foundation.pages.fields.kinds import Findings
from app.foundation.pages.fields.trees import Members, Part, kind_at, texts_of

FEATURES = Members(empty={}, without={})
PAYLOAD = Members(empty=None, texts=("title", "text"))
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
SCALARS = TEXTS | st.booleans() | st.integers(-(10**17), 10**17) | st.floats(-1e12, 1e12) | st.none()
OBJECTS = st.dictionaries(TEXTS, SCALARS | st.lists(SCALARS, max_size=2), max_size=4)


def read(field: Members, typed: dict[str, Any]) -> tuple[Any, dict[str, str]]:
    findings = Findings()
    value = field.read(typed, "it", "/it", findings)
    return value, {pointer: problem.code for pointer, problem in findings.problems.items()}


@given(OBJECTS)
def test_every_object_reads_back_the_same(value: dict[str, Any]) -> None:
    for field in (FEATURES, PAYLOAD):
        again, problems = read(field, field.typed(value, "it"))
        assert again == value and problems == {}
        assert {name: type(part) is bool for name, part in again.items()} == {
            name: type(part) is bool for name, part in value.items()
        }


@given(OBJECTS)
def test_an_object_stays_the_same_when_it_is_typed_in_another_way(value: dict[str, Any]) -> None:
    typed = PAYLOAD.typed(value, "it")
    for kind in ("json", "rows", "text", "json", "text", "rows"):
        typed = PAYLOAD.switched(typed, "it", kind)
        assert read(PAYLOAD, typed) == (value, {})


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"minutes": 3, "style": "video", "new": True, "code": "007"}, "rows"),
        ({"nested": {"a": 1}}, "json"),
        ({"b": None}, "json"),
        ([{"a": 1}], "json"),
        ({"title": "T", "text": "x\ny"}, "text"),
        ({"text": "t", "title": "T"}, "rows"),
        ({"title": ""}, "rows"),
    ],
)
def test_the_simplest_way_that_can_hold_an_object_is_taken(value: Any, kind: str) -> None:
    assert PAYLOAD.kind(PAYLOAD.typed(value, "it"), "it") == kind


@pytest.mark.parametrize(
    ("name", "value", "pointer", "code"),
    [
        ("", "3", "/it:rows/1/name", "member_without_name"),
        ("a", "3", "/it:rows/1/name", "member_repeated"),
        ("b", "", "/it:rows/1/value", "member_without_value"),
        ("b", "1e999", "/it:rows/1/value", "number_too_large"),
    ],
)
def test_an_error_stands_beside_its_row(name: str, value: str, pointer: str, code: str) -> None:
    rows = [{"name": "a", "value": "1"}, {"name": name, "value": value}]
    typed = FEATURES.blank("it") | {"it:rows": rows}
    assert read(FEATURES, typed)[1] == {pointer: code}


def test_a_form_with_empty_rows_posts_none_of_them() -> None:
    form = MultiDict({"/it:rows/0/name": " ", "/it:rows/0/value": "", "/it:rows/1/name": "a", "/it:rows/1/value": "no"})
    typed = FEATURES.posted(form, "/it", "it")
    assert typed["it:rows"] == [{"name": "a", "value": "no"}]
    assert read(FEATURES, typed) == ({"a": False}, {})


def test_rows_are_fields_of_their_form() -> None:
    part = Part({"it": FEATURES})
    tree = part.tree() | {"it:rows": [{"name": "a", "value": "1"}]}
    assert kind_at(part, "/it:rows") is not None and kind_at(part, "/other:rows") is None
    assert dict(texts_of(tree))["/it:rows/0/value"] == "1"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("3", "number"),
        ("1e3", "number"),
        ('"3"', "text"),
        ("yes", "yes or no"),
        ("", ""),
        ("null", "nothing"),
        ("a", "text"),
    ],
)
def test_the_type_of_a_value_is_found(text: str, kind: str) -> None:
    assert kind_of(text) == kind
