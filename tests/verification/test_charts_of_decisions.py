"""The pictures of a draw and of a lineage: valid SVG whose marks are at the positions of the figures."""

from xml.etree.ElementTree import Element, fromstring

import pytest

from app.foundation.pages import charts
from app.foundation.pages.charts import Row, Version, cumulative, lineage
from app.foundation.pages.charts.parts import WIDTH

SVG = "{http://www.w3.org/2000/svg}"


def marks(svg: str, tag: str, style: str) -> list[Element]:
    return [element for element in fromstring(svg).iter(f"{SVG}{tag}") if style in (element.get("class") or "")]


@pytest.mark.parametrize(("chosen", "draw"), [(0, 0.05), (1, 0.35), (2, 0.95)])
def test_the_needle_stands_on_the_chosen_action(chosen: int, draw: float) -> None:
    svg = str(cumulative([0.1, 0.5, 0.4], chosen, draw, title="the <draw>"))
    (bar,), (needle,) = marks(svg, "rect", "bar strong"), marks(svg, "line", "needle")
    begins = float(bar.get("x") or 0)
    assert begins <= float(needle.get("x1") or 0) <= begins + float(bar.get("width") or 0)
    assert "style=" not in svg and "the &lt;draw&gt;" in svg


def test_the_chosen_action_is_drawn_also_at_the_end_of_a_long_list() -> None:
    svg = str(cumulative([0.001] * 1000, 999, 0.9995, title="long"))
    (bar,) = marks(svg, "rect", "bar strong")
    assert WIDTH - 16 < float(bar.get("x") or 0) < WIDTH - 14
    assert len(svg) < 20_000


def test_a_lineage_has_a_dot_for_each_version_and_a_line_of_its_own_for_each_branch() -> None:
    versions = [Version(0, None, False), Version(1, 0, False), Version(2, 1, False, True), Version(3, 0, True)]
    svg = str(lineage(versions, title="lineage"))
    heights = {circle[0].text: circle.get("cy") for circle in marks(svg, "circle", "dot")}
    assert set(heights) == {"version 0", "version 1", "version 2, failed its checks", "version 3, serves"}
    assert heights["version 0"] == heights["version 1"] == heights["version 2, failed its checks"]
    assert heights["version 3, serves"] != heights["version 0"]


def test_one_version_alone_none_and_a_page_of_a_long_lineage_are_drawn() -> None:
    assert "there is no version yet" in lineage([], title="lineage")
    assert len(marks(str(lineage([Version(7, 6, True)], title="lineage")), "circle", "dot")) == 1
    page = [Version(n, n - 1, n == 40_030) for n in range(40_001, 40_031)]
    texts = [tick.text for tick in marks(str(lineage(page, title="lineage")), "text", "tick")]
    assert 3 < len(texts) < 14


@pytest.mark.parametrize("value", [0.0, 1e-17, -3e-16, 1.0, 1e9, -1e12])
def test_values_that_are_alike_but_for_rounding_are_drawn(value: float) -> None:
    apart = value + abs(value) * 2e-16
    chart = str(
        charts.forest([Row("one", value, value, apart), Row("other", apart)], title="t", unit="u", line_at=value)
    )
    assert chart.count("<circle") == 2 and "nan" not in chart and "inf" not in chart
