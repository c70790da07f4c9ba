"""Values over time, or over another number, each with its band."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from app.foundation.pages.charts.parts import (
    BOTTOM,
    LEFT,
    RIGHT,
    SERIES,
    TOP,
    WIDTH,
    Point,
    Write,
    axis,
    empty,
    legend,
    line,
    mark,
    runs,
    svg,
    time_ticks,
    words,
    y_axis,
)
from app.foundation.pages.format import number, zone

HEIGHT = 260
TIME = "time"  # of an axis below, on the reader's clock
MOST_MARKS = 12  # on an axis, where each has its point
MOST_DOTS = 40  # points of a series that have a dot and a tooltip


class Series(NamedTuple):
    """A line with its band."""

    name: str
    points: Sequence[Point]


class _Plane(NamedTuple):
    """Where a point lies in the picture."""

    first: float  # smallest and largest x
    last: float
    bottom: float  # of the axis of values
    top: float

    def x(self, value: float) -> float:
        if self.last == self.first:
            return (LEFT + WIDTH - RIGHT) / 2
        return LEFT + (value - self.first) / (self.last - self.first) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (min(max(value, self.bottom), self.top) - self.bottom) / (self.top - self.bottom)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def path(self, points: Sequence[tuple[float, float | None]]) -> str:
        return " ".join(f"{self.x(x):.1f},{self.y(y or 0):.1f}" for x, y in points)


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
    parts = [y_axis(ticks, plane.y, unit, write), *_x_axis(series, plane, x_unit)]
    if line_at is not None:
        parts.append(line(LEFT, plane.y(line_at), WIDTH - RIGHT, plane.y(line_at), "reference"))
    for index, curve in enumerate(series):
        parts += [*_bands(curve, plane, index), *_dots(curve, plane, index, write)]
    return Markup("{}{}").format(svg(HEIGHT, title, parts), legend([curve.name for curve in series]))


def _x_axis(series: Sequence[Series], plane: _Plane, x_unit: str) -> list[Markup]:
    first, last = plane.first, plane.last
    ticks = time_ticks(first, last) if x_unit == TIME else [(x, number(x)) for x in _marks(series, first, last)]
    parts = []
    for index, (x, text) in enumerate(ticks):
        anchor = "start" if index == 0 else "end" if index == len(ticks) - 1 else "middle"
        parts.append(words(plane.x(x), HEIGHT - 22, text, "tick", anchor))
    parts.append(
        words((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, f"{x_unit}, {zone().key}" if x_unit == TIME else x_unit, "tick")
    )
    return parts


def _marks(series: Sequence[Series], first: float, last: float) -> list[float]:
    """Where an axis has its numbers: at the points if they are few."""
    points = sorted({point.x for curve in series for point in curve.points})
    return points if len(points) <= MOST_MARKS else [x for x in axis(first, last)[2] if first <= x <= last]


def _bands(series: Series, plane: _Plane, index: int) -> list[Markup]:
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
    return [*bands, *paths]


def _dots(series: Series, plane: _Plane, index: int, write: Write) -> list[Markup]:
    """Dots with the figures as tooltips; a lone one shows its interval as a line."""
    shown = [point for point in series.points if point.y is not None]
    parts = []
    for point in shown[:: max(1, len(shown) // MOST_DOTS)]:
        text = f"{series.name}: {write(point.y)}"
        if point.low is not None and point.high is not None:
            text += f" ({write(point.low)} to {write(point.high)})"
            if len(shown) == 1:
                x = plane.x(point.x)
                parts.append(line(x, plane.y(point.low), x, plane.y(point.high), f"whisker c{index % SERIES}"))
        parts.append(mark(index, plane.x(point.x), plane.y(point.y or 0), text))
    return parts
