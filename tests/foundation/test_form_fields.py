"""Kinds of form fields: texts become values, values become texts, and unreadable texts are reported and kept."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from app.foundation.errors import FieldError
from app.foundation.pages.fields.kinds import (
    ABSENT,
    Boxes,
    Duration,
    Findings,
    Flag,
    Json,
    Kind,
    Names,
    Number,
    Text,
    percent,
)
from app.foundation.pages.fields.trees import Part, Rows, change_rows, kind_at, rows_at, texts_of, told

FORM = Part(
    {
        **{"name": Text(empty=""), "share": percent("5"), "wait_s": Duration(needed=True, unit="hours")},
        **{"payload": Json(), "on": Flag(), "tags": Names(), "boxes": Boxes(("a",)), "name:own": Text()},
        "rows": Rows(Part({"key": Text(empty=""), "limit": Number(whole=True)}), ({"key": "first"},)),
        "inner": Part({"low": Number(), "high": Number()}),
    }
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
POSTED = {
    "/name": " x\r\ny\0 ",
    "/share": "12,5",
    "/wait_s": "2",
    "/wait_s:unit": "days",
    "/payload": '{"a": [1, null]}',
    "/on": "yes",
    "/tags": 'a, "b, c"\nd',
    "/rows/7/key": "seven",
    "/rows/7/limit": "2.5",
    "/rows/2/key": "two",
    "/rows/2/limit": "1\u00b2",
    "/inner/low": "\N{MINUS SIGN}1.5",
    "/unknown/0/x": "left out",
}


def test_a_posted_form_is_a_tree_of_texts_and_makes_a_document() -> None:
    typed = FORM.of_form(MultiDict(POSTED), "")
    assert typed["rows"] == [{"key": "two", "limit": "1\u00b2"}, {"key": "seven", "limit": "2.5"}]
    assert (typed["name"], typed["boxes"]) == (" x\ny ", [])
    assert "unknown" not in typed
    findings = Findings()
    assert FORM.values(typed, "", findings) == {
        "name": "x\ny",
        "wait_s": 172_800,
        "payload": {"a": [1, None]},
        "on": True,
        "tags": ["a", "b, c", "d"],
        "boxes": [],
        "rows": [{"key": "two"}, {"key": "seven", "limit": 2.5}],
        "inner": {"low": -1.5},
    }
    assert told(FORM, findings) == {
        "/share": "Write a number, such as 0.5.",
        "/rows/0/limit": "Write a whole number, such as 5.",
    }


def test_fields_begin_with_their_defaults() -> None:
    tree = FORM.tree()
    assert (tree["share"], tree["wait_s:unit"], tree["boxes"]) == ("5", "hours", ["a"])
    assert tree["rows"] == [{"key": "first", "limit": ""}]
    assert FORM.complete({"rows": [{"limit": "3"}], "inner": {"low": "1"}})["inner"] == {"low": "1", "high": ""}
    findings = Findings()
    FORM.values(tree, "", findings)
    assert told(FORM, findings) == {"/wait_s": "Fill this in."}


@given(
    st.one_of(
        st.tuples(st.just(percent()), st.floats(-1e6, 1e6)),
        st.tuples(st.just(Number()), st.floats(-1e300, 1e300)),
        st.tuples(st.just(Number(whole=True)), st.integers(-(2**53), 2**53)),
        st.tuples(st.just(Duration()), st.floats(0, 1e9)),
        st.tuples(st.just(Flag()), st.booleans()),
        st.tuples(st.just(Text(empty="", strip=False)), st.text(st.characters(exclude_characters="\r\0"))),
        st.tuples(
            st.just(Json()),
            st.dictionaries(TEXTS, st.booleans()),
        ),
    )
)
def test_the_text_of_a_value_reads_back_to_the_value(case: tuple[Kind, Any]) -> None:
    kind, value = case
    findings = Findings()
    assert kind.read(kind.typed(value, "x"), "x", "/x", findings) == value
    assert not findings.problems


def test_an_empty_text_has_no_value_or_its_default() -> None:
    assert Text().read({"x": " "}, "x", "/x", Findings()) is ABSENT
    assert Json(empty={}).read({"x": ""}, "x", "/x", Findings()) == {}
    assert Json(empty={}, without={}).typed({}, "x") == {"x": ""}
    assert Number().read({"x": ""}, "x", "/x", Findings()) is ABSENT


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/rows/0/key", "/rows/0/key"),
        ("/payload/a/0", "/payload"),
        ("/rows", "/rows"),
        ("/rows/0", "/rows/0"),
        ("/there/de/AT/x", "/rows/0/key"),
        ("/there/de/AT", "/rows/0/key"),
        ("/there/de", "/inner/low"),
        ("", ""),
    ],
)
def test_an_error_of_a_rule_is_beside_the_field_of_its_pointer_or_around_it(path: str, field: str) -> None:
    findings = Findings()
    findings.moved |= {"/there/de": "/inner/low", "/there/de/AT": "/rows/0/key"}
    findings.beside(FieldError(path, "missing"), {name for name, _ in texts_of(FORM.tree())})
    assert list(findings.problems) == [field]


def test_the_first_of_two_errors_of_a_field_is_shown() -> None:
    findings = Findings()
    findings.add("/x", "missing")
    findings.beside(FieldError("/x", "not_a_number"), ["/x"])
    assert findings.problems["/x"].code == "missing"


def test_limits_are_written_as_their_field_is_typed() -> None:
    findings = Findings()
    findings.add("/share", "too_large", {"limit": 0.5})
    findings.add("/wait_s", "too_large", {"limit": 86_400})
    findings.add("/rows/0/limit", "too_large", {"limit": 1000})
    assert list(told(FORM, findings).values()) == ["Give at most 50%.", "Give at most 1 day.", "Give at most 1,000."]


def test_buttons_add_and_remove_existing_rows() -> None:
    tree = FORM.tree()
    for do in (
        "add /rows",
        "add /inner",
        "add /nowhere",
        "remove /rows/9",
        "remove /rows/x",
        "remove /inner/low",
        "",
        "save",
    ):
        change_rows(FORM, tree, do)
    assert [row["key"] for row in tree["rows"]] == ["first", ""]
    change_rows(FORM, tree, "remove /rows/0")
    assert tree["rows"] == [{"key": "", "limit": ""}]
    assert rows_at(tree, "/rows/0/key") is None
    assert isinstance(kind_at(FORM, "/rows/3/limit"), Number)
    assert kind_at(FORM, "/rows/x") is None
