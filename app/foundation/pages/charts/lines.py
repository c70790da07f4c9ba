"""Values over time, or over another number, each with its band."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from markupsafe import Markup

from app.foundation.pages.charts.parts import (
    BOTTOM,
    SERIES,
    TOP,
    Point,
    Write,
    axis,
    caption,
    empty,
    fluid,
    labels,
    legend,
    mark,
    placed,
    runs,
    stroke,
    time_ticks,
    y_axis,
)
from app.foundation.pages.format import number, zone

HEIGHT = 260
TIME = "time"  # of an axis below, on the reader's clock
MOST_MARKS = 12  # on an axis, where each has its point
MOST_DOTS = 40  # points of a series that have a dot and a tooltip
UNITS = 1000  # the plane of lines and bands is stretched: this many units each way
MANY = 3  # numbers of an axis that fit side by side on a phone


class Series(NamedTuple):
    """A line with its band."""

    name: str
    points: Sequence[Point]


class _Plane(NamedTuple):
    """Where a point lies in the picture: x from 0 to 1 of its width, y in pixels."""

    first: float  # smallest and largest x
    last: float
    bottom: float  # of the axis of values
    top: float

    def x(self, value: float) -> float:
        return 0.5 if self.last == self.first else (value - self.first) / (self.last - self.first)

    def y(self, value: float) -> float:
        share = (min(max(value, self.bottom), self.top) - self.bottom) / (self.top - self.bottom)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def path(self, points: Sequence[tuple[float, float | None]]) -> str:
        scale = UNITS / (HEIGHT - TOP - BOTTOM)
        return " ".join(f"{self.x(x) * UNITS:.1f},{(self.y(y or 0) - TOP) * scale:.1f}" for x, y in points)


def lines(
    series: Sequence[Series],
    *,
    title: str,
    unit: str,
    x_unit: str = TIME,
    write: Write = number,
    line_at: float | None = None,
    edges: tuple[float | None, float | None] = (None, None),
) -> Markup:
    """Values over time (or over another number), each with its band.

    :param unit: of the values, written at the axis.
    :param x_unit: of the numbers below; ``TIME``: they are times.
    :param line_at: a horizontal line of reference, such as 0.
    :param edges: where the axis of values begins and ends, instead of at the smallest and the largest value.
    """
    points = [point for curve in series for point in curve.points if point.y is not None]
    if not points:
        return empty(title, "nothing is known yet")
    ys = [value for point in points for value in (point.y, point.low, point.high) if value is not None]
    ys += [] if line_at is None else [line_at]
    low, high = edges
    bottom, top, ticks = axis(min(ys) if low is None else low, max(ys) if high is None else high)
    plane = _Plane(min(point.x for point in points), max(point.x for point in points), bottom, top)
    inner = _x_axis(series, plane, x_unit)
    if line_at is not None:
        inner.append(stroke(0, plane.y(line_at), 1, plane.y(line_at), "reference"))
    inner += [_curve(curve, plane, index, write, x_unit) for index, curve in enumerate(series)]
    picture = fluid("time", HEIGHT, title, [y_axis(ticks, plane.y, unit, labels(ticks, write)), *inner])
    return Markup('<div class="plotted">{}{}</div>').format(picture, legend([curve.name for curve in series]))


def _x_axis(series: Sequence[Series], plane: _Plane, x_unit: str) -> list[Markup]:
    first, last = plane.first, plane.last
    ticks = time_ticks(first, last) if x_unit == TIME else [(x, number(x)) for x in _marks(series, first, last)]
    parts = []
    for index, (x, text) in enumerate(ticks):
        anchor = "middle"
        if x_unit == TIME:
            anchor = "start" if index == 0 else "end" if index == len(ticks) - 1 else "middle"
        style = "tick" if len(ticks) <= MANY or index % 2 == 0 else "tick seldom"
        parts.append(caption(plane.x(x), HEIGHT - 22, text, style, anchor))
    parts.append(caption(0.5, HEIGHT - 5, f"{x_unit}, {zone().key}" if x_unit == TIME else x_unit, "tick"))
    return parts


def _marks(series: Sequence[Series], first: float, last: float) -> list[float]:
    """Where an axis has its numbers: at the points if they are few."""
    points = sorted({point.x for curve in series for point in curve.points})
    return points if len(points) <= MOST_MARKS else [x for x in axis(first, last)[2] if first <= x <= last]


def _curve(series: Series, plane: _Plane, index: int, write: Write, x_unit: str) -> Markup:
    """One series, which its box in the legend hides, with what the script shows of the nearest point."""
    return Markup('<g class="series series-{}" data-points="{}">{}{}</g>').format(
        index,
        json.dumps([_near(point, plane, write, x_unit, series.name) for point in series.points if point.y is not None]),
        _bands(series, plane, index),
        Markup("").join(_dots(series, plane, index, write)),
    )


def _near(point: Point, plane: _Plane, write: Write, x_unit: str, name: str) -> tuple[float, str, str]:
    """A point as the script shows it: where it is, where that is on the axis, and its figures."""
    at = datetime.fromtimestamp(point.x, zone()).strftime("%Y-%m-%d %H:%M") if x_unit == TIME else point.label
    return round(plane.x(point.x), 4), at or f"{number(point.x)} {x_unit}", _said(point, write, name)


def _said(point: Point, write: Write, name: str) -> str:
    text = f"{name}: {write(point.y)}"
    if point.low is not None and point.high is not None:
        text += f" ({write(point.low)} to {write(point.high)})"
    return f"{text}, {point.size}" if point.size else text


def _bands(series: Series, plane: _Plane, index: int) -> Markup:
    """The bands of a series, and its lines over them; both break where nothing is known."""
    style, bands, paths = f"c{index % SERIES}", [], []
    for run in runs(series.points):
        band = [point for point in run if point.low is not None and point.high is not None]
        if len(band) > 1:
            upper = plane.path([(point.x, point.high) for point in band])
            lower = plane.path([(point.x, point.low) for point in reversed(band)])
            bands.append(Markup('<polygon class="band {}" points="{} {}"/>').format(style, upper, lower))
        path = plane.path([(point.x, point.y) for point in run])
        paths.append(Markup('<polyline class="line {}" points="{}"/>').format(style, path))
    return Markup(
        '<svg y="{0}" width="100%" height="{1}" viewBox="0 0 {2} {2}" preserveAspectRatio="none" overflow="visible">{3}</svg>'
    ).format(TOP, HEIGHT - TOP - BOTTOM, UNITS, Markup("").join([*bands, *paths]))


def _dots(series: Series, plane: _Plane, index: int, write: Write) -> list[Markup]:
    """Dots with the figures as tooltips; a lone one shows its interval as a line."""
    shown = [point for point in series.points if point.y is not None]
    parts = []
    for point in shown[:: max(1, len(shown) // MOST_DOTS)]:
        x = plane.x(point.x)
        if point.low is not None and point.high is not None and len(shown) == 1:
            parts.append(stroke(x, plane.y(point.low), x, plane.y(point.high), f"whisker c{index % SERIES}"))
        parts.append(placed(x, plane.y(point.y or 0), mark(index, 0, 0, _said(point, write, series.name))))
    return parts
