"""The difference of the arms over time: at every look, and day by day."""

from datetime import UTC, datetime

from app.foundation.pages import charts
from app.foundation.pages.charts import Figure, Series
from app.foundation.pages.charts.parts import SERIES, Point
from app.foundation.pages.format import interval, number, p_value, signed, when
from app.reporting.documents.results import ComparisonLine, DailyEffect, Results
from app.reporting.results import Look


def looks(history: list[Look]) -> Figure:
    """Draw the peek-safe interval of the primary metric over time."""
    arms = list(dict.fromkeys(line.arm for look in history for line in look.comparisons))[:SERIES]
    opened = _opened(history)
    series = [Series(arm, [_point(look, arm) for look in opened]) for arm in arms]
    name = history[-1].name if history else "The metric that decides"
    low, high = _room(series)
    chart = charts.lines(
        series,
        title=f"{name}: difference to control at every look",
        unit="difference to control",
        line_at=0.0,
        edges=(low, high),
    )
    rows = [_look(look, line) for look in history for line in look.comparisons]
    head = ["Computed", "Arm", "Difference to control", "Peek-safe interval", "p, any look"]
    note = "Bands: peek-safe intervals. Where a band does not touch the line at 0, a difference was shown."
    return Figure("looks", f"{name}: the difference to control as it became known", chart, head, rows, note)


def _opened(history: list[Look]) -> list[Look]:
    """The looks from the first that has an interval on: before, a line would show nothing but noise."""
    known = [any(line.always_valid.interval.low is not None for line in look.comparisons) for look in history]
    return history[known.index(True) :] if True in known else []


def daily(results: Results) -> Figure | None:
    """Draw the difference on each day; null with fewer than two days."""
    effects = results.daily[:SERIES]
    if max((len(effect.days) for effect in effects), default=0) < 2:
        return None
    series = [Series(effect.arm, [_day_point(day) for day in effect.days]) for effect in effects]
    name = results.primary()[0].name
    low, high = _room(series)
    caption = f"{name}: difference to {results.control} by day"
    chart = charts.lines(series, title=caption, unit="difference to control", line_at=0.0, edges=(low, high))
    rows = [
        [day.day, effect.arm, signed(day.difference), interval(day.interval, "signed")]
        for effect in effects
        for day in effect.days
    ]
    note = "Bands: intervals for one look. Days are small: read the whole, not the single day."
    return Figure("daily", caption, chart, ["Day (UTC)", "Arm", "Difference", "Interval for one look"], rows, note)


def _day_point(day: DailyEffect) -> Point:
    at = datetime.fromisoformat(day.day).replace(tzinfo=UTC).timestamp()
    return Point(at, day.difference, day.interval.low, day.interval.high, label=day.day)


def _look(look: Look, line: ComparisonLine) -> list[str]:
    given = interval(line.always_valid.interval, "signed")
    return [when(look.computed_at), line.arm, signed(line.difference), given, p_value(line.running_p)]


def _point(look: Look, arm: str) -> Point:
    at = look.computed_at.timestamp()
    line = next((line for line in look.comparisons if line.arm == arm), None)
    if line is None or line.difference is None:
        return Point(at, None)
    given = line.always_valid.interval
    units = sum(line.units.values()) if line.units else None
    return Point(at, line.difference, given.low, given.high, size=f"{number(units)} units" if units else "")


def _room(series: list[Series]) -> tuple[float | None, float | None]:
    """The edges of the axis. They ignore the intervals of the first looks, which are very wide and are cut."""
    ends: list[float] = []
    for arm in series:
        later = arm.points[len(arm.points) // 5 :]
        ends += [y for p in later for y in (p.low, p.high, p.y) if y is not None]
        ends += [p.y for p in arm.points if p.y is not None]
    return (min([*ends, 0.0]), max([*ends, 0.0])) if ends else (None, None)
