"""What charts are drawn from: the frame, axes, lines, words and marks, as SVG; and the rows that several charts draw."""

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from markupsafe import Markup

from app.foundation.pages.format import zone

WIDTH = 480
TOP, BOTTOM, LEFT, RIGHT = 12, 40, 66, 12
SERIES = 6  # styles in admin.css: c0 to c5, told apart by dashes and marks as well as by colour
NOTHING = 1e-9  # an axis around a smaller value is drawn as around 0
Write = Callable[[float | None], str]


class Point(NamedTuple):
    """One point of a series."""

    x: float  # seconds since the epoch, or any number
    y: float | None  # null: nothing is known here; the line breaks
    low: float | None = None
    high: float | None = None


class Row(NamedTuple):
    """A line of an interval plot or a bar."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    strong: bool = False  # emphasised: chosen, running, best


class Figure(NamedTuple):
    """A chart with the same figures as a table, for macro ``figure``."""

    id: str
    caption: str
    chart: Markup
    head: list[str]
    rows: list[list[str]]  # texts; the first of each names the row
    note: str = ""


def empty(title: str, why: str) -> Markup:
    """The note in place of a chart that has nothing to show yet."""
    return Markup('<p class="chart-empty" role="note">{}: {}.</p>').format(title, why)


def legend(names: Sequence[str]) -> Markup:
    """The names of the lines, each with its mark in the chart."""
    items = [
        Markup(
            '<li><svg class="chart key" viewBox="0 0 26 12" width="26" height="12" aria-hidden="true">{}{}</svg>{}</li>'
        ).format(line(1, 6, 25, 6, f"line c{index % SERIES}"), mark(index, 13, 6, ""), name)
        for index, name in enumerate(names)
    ]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def svg(height: float, title: str, parts: Sequence[Markup]) -> Markup:
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {:.0f}" role="img" aria-label="{}" xmlns="http://www.w3.org/2000/svg">'
        "<title>{}</title>{}</svg>"
    ).format(WIDTH, height, title, title, Markup("").join(parts))


def y_axis(ticks: Sequence[float], at_y: Callable[[float], float], unit: str, write: Write) -> Markup:
    parts = []
    for tick in ticks:
        parts.append(line(LEFT, at_y(tick), WIDTH - RIGHT, at_y(tick), "grid"))
        parts.append(words(LEFT - 6, at_y(tick) + 4, write(tick), "tick", "end"))
    middle = (at_y(ticks[0]) + at_y(ticks[-1])) / 2
    turned = Markup(
        '<text class="tick" x="{0:.1f}" y="{1:.1f}" text-anchor="middle" transform="rotate(-90 {0:.1f} {1:.1f})">{2}</text>'
    )
    return Markup("").join([*parts, turned.format(12.0, middle, unit)])


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(style, x1, y1, x2, y2)


def words(x: float, y: float, text: str, style: str, anchor: str = "middle") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(style, x, y, anchor, text)


def mark(index: int, x: float, y: float, tooltip: str) -> Markup:
    """Circle, square, triangle, diamond: series can be told apart without colours."""
    style, kind = f"mark c{index % SERIES}", index % 4
    title = Markup("<title>{}</title>").format(tooltip) if tooltip else Markup("")
    if kind == 0:
        return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="3">{}</circle>').format(style, x, y, title)
    corners = {
        1: ((-2.7, -2.7), (2.7, -2.7), (2.7, 2.7), (-2.7, 2.7)),
        2: ((0, -3.6), (3.4, 2.6), (-3.4, 2.6)),
        3: ((0, -3.8), (3.8, 0), (0, 3.8), (-3.8, 0)),
    }[kind]
    path = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return Markup('<polygon class="{}" points="{}">{}</polygon>').format(style, path, title)


def runs(points: Sequence[Point]) -> list[list[Point]]:
    """Stretches without a gap."""
    stretches: list[list[Point]] = [[]]
    for point in points:
        if point.y is None:
            stretches.append([])
        else:
            stretches[-1].append(point)
    return [run for run in stretches if run]


def axis(low: float, high: float) -> tuple[float, float, list[float]]:
    """Round limits around a range, and the four to seven ticks between them."""
    if high - low <= max(1e-11, 1e-12 * abs(low)):  # the values are equal, or differ only by rounding
        room = abs(low) * 0.1 if abs(low) > NOTHING else 0.5
        low, high = low - room, high + room
    rough = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    start, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [round(multiple * step, 12) for multiple in range(start, end + 1)]
    return ticks[0], ticks[-1], ticks


def time_ticks(first: float, last: float) -> list[tuple[float, str]]:
    """Beginning, middle and end of a stretch of time, as precise as it needs."""
    span = last - first
    form = "%H:%M:%S" if span < 600 else "%m-%d %H:%M" if span < 5 * 86_400 else "%Y-%m-%d"
    places = [first] if span == 0 else [first, (first + last) / 2, last]
    return [(at, datetime.fromtimestamp(at, zone()).strftime(form)) for at in places]


def short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"
