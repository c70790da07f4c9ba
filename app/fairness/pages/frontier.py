"""Draws what bounds on exposure would cost: the value of an arm along the frontier."""

from typing import NamedTuple

from app.fairness.words import by_name
from app.foundation.pages import charts
from app.foundation.pages.charts import Figure, Series
from app.foundation.pages.charts.parts import Point
from app.foundation.pages.format import interval, number, percent, signed
from app.off_policy.documents import Price, PricePoint

BOUNDS = {
    "least": "each group gets at least",
    "most": "each group gets at most",
    "parity": "equal shares, give or take",
}
UNBOUND = {"least": 0.0, "most": 1.0, "parity": 1.0}  # where the chart has the value without a bound


class Priced(NamedTuple):
    """The answer in sentences and as a chart."""

    told: list[str]
    figure: Figure


def frontier(price: Price) -> Priced:
    """Draw the value of an arm by its bound, and say what the tightest costs."""
    caption = f"Arm {price.arm} by its {'bound' if price.window is None else 'target'} on {by_name(price.by)}"
    points = [
        Point(
            100.0 * (UNBOUND[price.bound] if point.bound is None else point.bound),
            point.value,
            point.interval.low if point.interval else None,
            point.interval.high if point.interval else None,
        )
        for point in price.points
    ]
    points.sort(key=lambda point: point.x)
    chart = charts.lines(
        [Series(price.arm, points)],
        title=caption,
        unit="reward per decision",
        x_unit=f"{BOUNDS[price.bound]} (% of {'a decision' if price.window is None else f'the last {price.window:,}'})",
    )
    head = ["Bound", "Smallest exposure", "Value", "Interval at every look", "Cost", "95% interval of the cost"]
    rows = [
        [
            "none" if point.bound is None else percent(point.bound),
            percent(point.smallest),
            number(point.value),
            interval(point.interval) if point.interval else "; ".join(point.reasons),
            signed(point.cost) if point.bound is not None else "",
            interval(point.cost_interval, "signed") if point.cost_interval else "",
        ]
        for point in price.points
    ]
    note = "Bands hold at every look. Costs are paired on the same decisions; their intervals hold for one look each."
    return Priced([_told(price)], Figure("frontier", caption, chart, head, rows, note))


def _told(price: Price) -> str:
    last = price.points[-1]
    if last.cost is None or last.bound is None:
        return "The log does not tell what the tightest bound would cost: see the reasons in the table."
    over = "" if price.window is None else f" of the last {price.window:,} decisions"
    return (
        f"With the tightest bound, {BOUNDS[price.bound]} {percent(last.bound)}{over}, the arm would have earned "
        f"{_amount(last)} per decision than without. Its smallest group would have had {percent(last.smallest)}."
    )


def _amount(point: PricePoint) -> str:
    cost = point.cost or 0.0
    ends = interval(point.cost_interval, "signed") if point.cost_interval else ""
    return f"{number(abs(cost))} {'less' if cost >= 0 else 'more'} (cost {ends})"
