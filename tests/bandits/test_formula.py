"""Formulas of rewards: every text is parsed as arithmetic or refused with its position, and nothing of it is run."""

import ast
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandits.formula import Formula, FormulaError, clipped, parse

VALUES = {"clicks": 2.0, "dwell": 30.0, "unsubscribes": 1.0, "time-on-page": 4.0}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("clicks + 0.2 * dwell - 3 * unsubscribes", 5.0),
        ("clicks-unsubscribes-1", 0.0),
        ("-(clicks + 1) * 2", -6.0),
        ('0.5 * "time-on-page"', 2.0),
        ("2 * (clicks * (dwell - 1e1))", 80.0),
        ("never_reported", 0.0),
        (".5", 0.5),
    ],
)
def test_a_formula_has_the_value_of_arithmetic(text: str, value: float) -> None:
    assert parse(text).value(VALUES) == pytest.approx(value)


def test_names_stand_once_in_their_order() -> None:
    assert parse('b + a * b - "c d"').names == ("b", "a", "c d")


@pytest.mark.parametrize(
    ("text", "code", "position"),
    [
        ("", "formula_empty", 1),
        ("   ", "formula_empty", 1),
        ("a +", "formula_ends", 4),
        ("a b", "formula_sign", 3),
        ("a / b", "formula_character", 3),
        ("a ** b", "formula_value", 4),
        ("(a", "formula_parenthesis", 3),
        ("a)", "formula_sign", 2),
        ("__import__('os')", "formula_character", 12),
        ("a; b", "formula_character", 2),
        ("a + 1e999", "formula_number", 5),
        ("a" * 501, "formula_too_long", 501),
        ("(" * 40 + "a" + ")" * 40, "formula_too_deep", 22),
        ("-" * 40 + "a", "formula_too_deep", 22),
    ],
)
def test_what_is_no_formula_is_refused_where_it_begins(text: str, code: str, position: int) -> None:
    with pytest.raises(FormulaError) as refused:
        parse(text)
    assert (refused.value.code, refused.value.position) == (code, position)


def parsed(text: str) -> Formula | None:
    """The formula; null if the text is refused, at a position in it."""
    position = 0
    try:
        return parse(text)
    except FormulaError as error:
        position = error.position
    assert 1 <= position <= len(text) + 1
    return None


@given(st.text(alphabet='ab1.2+-*() "e', max_size=40))
def test_any_text_is_a_formula_with_pythons_value_or_is_refused(text: str) -> None:
    formula = parsed(text)
    if formula is None:
        return
    value = formula.value({"a": 3.0, "b": -2.0})
    if '"' in text or not set(formula.names) <= {"a", "b"}:
        return
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError:  # such as a number with leading zeros
        return
    expected = eval(compile(tree, "", "eval"), {"a": 3.0, "b": -2.0})  # noqa: S307 - Python's own arithmetic
    assert value == pytest.approx(float(expected), nan_ok=True)


def test_a_value_is_clipped_and_nan_is_the_default() -> None:
    assert (clipped(9.0, 0.0, -1.0, 1.0), clipped(-9.0, 0.0, -1.0, 1.0)) == (1.0, -1.0)
    assert clipped(math.nan, 0.25, -1.0, 1.0) == 0.25
    huge = parse(" * ".join(["1e12"] * 30) + " - " + " * ".join(["1e12"] * 30))
    assert clipped(huge.value({}), 0.5, 0.0, 1.0) == 0.5
