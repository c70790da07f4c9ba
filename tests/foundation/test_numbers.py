"""How numbers look: no exponents, one count of decimals per column, no change of thousands of percent."""

import pytest

from app.foundation.pages.charts import Point, Row, Series, forest, lines
from app.foundation.pages.format import decimals, fixed, number, p_value, signed, signed_percent


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (number(1e-10), "<0.0001"),
        (number(-1e-10), ">\N{MINUS SIGN}0.0001"),
        (signed(1e-10), "<0.0001"),
        (p_value(1e-9), "<0.0001"),
        (signed_percent(186.537), "over +1,000%"),
        (signed_percent(-0.5), "\N{MINUS SIGN}50.0%"),
        (fixed(1234.5, 1), "1,234.5"),
        (fixed(-0.0001, 2, sign=True), "0.00"),
        (fixed(0.25, 3, sign=True), "+0.250"),
        (fixed(None, 2), number(None)),
    ],
)
def test_numbers_read_well(shown: str, text: str) -> None:
    assert shown == text


@pytest.mark.parametrize(
    ("column", "digits"),
    [([0.25, 0.0031], 3), ([12.5, 0.2], 1), ([1234.5, 0.2], 0), ([1e-9], 4), ([3.0, 4.0], 0), ([], 0), ([None], 0)],
)
def test_a_column_has_one_count_of_decimals(column: list[float | None], digits: int) -> None:
    assert decimals(column) == digits


def test_the_numbers_of_an_axis_have_the_same_decimals() -> None:
    points = [Point(float(at), at * 1e-6) for at in range(5)]
    chart = str(lines([Series("tiny", points)], title="t", unit="u", x_unit="x"))
    assert ">0.000001<" in chart and ">0.000000<" in chart and "e-06" not in chart


def test_an_estimate_that_is_better_worse_or_open_has_its_shape() -> None:
    rows = [Row("up", 1.0, 0.5, 1.5, tone="better"), Row("down", -1.0, tone="worse"), Row("flat", 0.0, tone="open")]
    chart = str(forest(rows, title="t", unit="u", line_at=0.0))
    assert '<polygon class="dot better"' in chart and '<polygon class="dot worse"' in chart
    assert '<circle class="dot open"' in chart and "up: 1 (0.500 to 1.50), better" in chart
