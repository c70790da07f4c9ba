"""What charts are drawn from: the frame, axes, lines, words and marks, as SVG; and the rows that several charts draw.

A fluid chart has no view box: it is as wide as its card, places things from left to right by percent, and keeps the size of its
words. What stands in its gutters lies outside of its frame, for which the style sheet leaves room. ``svg`` makes the frame of
the few pictures that scale as a whole.
"""

import math
import textwrap
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from markupsafe import Markup

from app.foundation.pages.format import fixed, number, signed, zone

WIDTH = 480
TOP, BOTTOM, LEFT = 12, 40, 66
SERIES = 6  # styles in admin.css: c0 to c5, told apart by dashes and marks as well as by colour
LETTERS, MOST_LINES, LINE = 18, 3, 13  # of a label in the gutter, which is 7rem wide on a phone; height of a line
NOTHING = 1e-9  # an axis around a smaller value is drawn as around 0
Write = Callable[[float | None], str]
Tone = Literal["better", "worse", "open"]  # green, red or grey; and a triangle up, a triangle down or a circle


class Point(NamedTuple):
    """One point of a series."""

    x: float  # seconds since the epoch, or any number
    y: float | None  # null: nothing is known here; the line breaks
    low: float | None = None
    high: float | None = None
    size: str = ""  # what the value is computed from, as in "400 decisions"
    label: str = ""  # of its place on the axis below, where the number itself does not say it


class Row(NamedTuple):
    """A line of an interval plot or a bar."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    strong: bool = False  # emphasised: chosen, running, best
    tone: Tone | None = None  # null: nothing is better or worse here


def tone_of(low: float | None, high: float | None, *, higher_is_better: bool = True) -> Tone:
    """Better or worse where the interval of a difference does not touch 0; open otherwise."""
    if low is not None and low > 0:
        return "better" if higher_is_better else "worse"
    if high is not None and high < 0:
        return "worse" if higher_is_better else "better"
    return "open"


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
    """The names of the lines, each with its mark in the chart and a box that hides the line; style sheets do it, no script."""
    items = [
        Markup(
            '<li><label><input type="checkbox" class="toggle toggle-{}" checked>'
            '<svg class="chart key" viewBox="0 0 26 12" width="26" height="12" aria-hidden="true">{}{}</svg>{}</label></li>'
        ).format(index, line(1, 6, 25, 6, f"line c{index % SERIES}"), mark(index, 13, 6, ""), name)
        for index, name in enumerate(names)
    ]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def fluid(kind: str, height: float, title: str, parts: Sequence[Markup]) -> Markup:
    """The frame of a chart that is as wide as its card. In it, 0% is the left edge of the plot and 100% the right one.

    :param kind: which gutters the style sheet leaves: time (for an axis of values), rows (for labels), bars (and values), cell.
    """
    return Markup(
        '<svg class="chart fluid {}" width="100%" height="{:.0f}" role="img" aria-label="{}" '
        'xmlns="http://www.w3.org/2000/svg"><title>{}</title>{}</svg>'
    ).format(kind, height, title, title, Markup("").join(parts))


def stroke(x1: float, y1: float, x2: float, y2: float, style: str) -> Markup:
    """A line; x from 0 to 1 of the plot's width, y in pixels."""
    return Markup('<line class="{}" x1="{:.2f}%" y1="{:.1f}" x2="{:.2f}%" y2="{:.1f}"/>').format(
        style, 100 * x1, y1, 100 * x2, y2
    )


def caption(x: float, y: float, text: str, style: str, anchor: str = "middle") -> Markup:
    """Words at ``x`` from 0 to 1 of the plot's width."""
    return Markup('<text class="{}" x="{:.2f}%" y="{:.1f}" text-anchor="{}">{}</text>').format(
        style, 100 * x, y, anchor, text
    )


def placed(x: float, y: float, shape: Markup) -> Markup:
    """A shape around the origin, at ``x`` from 0 to 1 of the plot's width."""
    return Markup('<svg x="{:.2f}%" y="{:.1f}" width="1" height="1" overflow="visible">{}</svg>').format(
        100 * x, y, shape
    )


def dot(tone: Tone | None, style: str, tooltip: str) -> Markup:
    """The mark of an estimate around the origin: better is a green triangle up, worse a red one down, all else a circle."""
    if tone in ("better", "worse"):
        corners = "0,-6 5.5,4.5 -5.5,4.5" if tone == "better" else "0,6 5.5,-4.5 -5.5,-4.5"
        return Markup('<polygon class="dot {}" points="{}"><title>{}</title></polygon>').format(tone, corners, tooltip)
    return Markup('<circle class="dot {}" r="4.5"><title>{}</title></circle>').format(tone or style, tooltip)


def svg(height: float, title: str, parts: Sequence[Markup]) -> Markup:
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {:.0f}" role="img" aria-label="{}" xmlns="http://www.w3.org/2000/svg">'
        "<title>{}</title>{}</svg>"
    ).format(WIDTH, height, title, title, Markup("").join(parts))


def y_axis(ticks: Sequence[float], at_y: Callable[[float], float], unit: str, write: Write) -> Markup:
    """The axis of values in the gutter, with a line across the plot at each of its numbers."""
    grid = [stroke(0, at_y(tick), 1, at_y(tick), "grid") for tick in ticks]
    numbers = [words(-6, at_y(tick) + 4, write(tick), "tick", "end") for tick in ticks]
    middle = (at_y(ticks[0]) + at_y(ticks[-1])) / 2
    turned = Markup(
        '<text class="tick" x="{0:.1f}" y="{1:.1f}" text-anchor="middle" transform="rotate(-90 {0:.1f} {1:.1f})">{2}</text>'
    )
    return Markup("").join([*grid, *numbers, turned.format(12.0 - LEFT, middle, unit)])


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(style, x1, y1, x2, y2)


def words(x: float, y: float, text: str, style: str, anchor: str = "middle") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(style, x, y, anchor, text)


def row_label(row: Row, y: float) -> Markup:
    """The label of a row in the left gutter, in as many lines as it needs, around ``y``; its tooltip has all of it."""
    lines = label_lines(row.label)
    top = y + 4 - LINE * (len(lines) - 1) / 2
    style = f"label {'strong' if row.strong else 'plain'}"
    texts = [words(-12, top + LINE * index, text, style, "end") for index, text in enumerate(lines)]
    return Markup("<g><title>{}</title>{}</g>").format(row.label, Markup("").join(texts))


def row_height(rows: Sequence[Row], least: float) -> float:
    """The height that every row needs, so that the lines of no label meet those of the next."""
    return max(least, *(LINE * len(label_lines(row.label)) + 6 for row in rows))


def label_lines(text: str) -> list[str]:
    """A label in lines of at most LETTERS letters; what does not fit into MOST_LINES lines is cut."""
    return textwrap.wrap(text, LETTERS, max_lines=MOST_LINES, placeholder="\N{HORIZONTAL ELLIPSIS}") or [""]


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


def labels(ticks: Sequence[float], write: Write) -> Callable[[float | None], str]:
    """How the numbers of one axis look: all with the same decimals. Percentages and other words stay as ``write`` has them."""
    if write not in (number, signed):
        return write
    step = ticks[1] - ticks[0]
    digits = next((count for count in range(12) if abs(round(step, count) - step) < step * 1e-6), 12)
    return lambda value: fixed(value, digits, sign=write is signed)


def time_ticks(first: float, last: float) -> list[tuple[float, str]]:
    """Beginning, middle and end of a stretch of time, as precise as it needs."""
    span = last - first
    form = "%H:%M:%S" if span < 600 else "%m-%d %H:%M" if span < 5 * 86_400 else "%Y-%m-%d"
    places = [first] if span == 0 else [first, (first + last) / 2, last]
    return [(at, datetime.fromtimestamp(at, zone()).strftime(form)) for at in places]


def short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"
