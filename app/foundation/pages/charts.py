"""Charts as SVG made on the server: no script, the strictest CSP, light and dark by the page's style sheet, printable.

Every chart names its unit, draws its intervals and has a text for those who cannot see it. The page puts a table of the
same figures under it (``macros.html``: figure). Numbers outside of what is drawn are cut at the edge, never dropped.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from app.foundation.pages.chart_parts import (
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
    short,
    svg,
    time_ticks,
    words,
    y_axis,
)
from app.foundation.pages.format import number

MOST_MARKS = 12  # on an axis, where each has its point


class Series(NamedTuple):
    """A line with its band."""

    name: str
    points: Sequence[Point]


class Row(NamedTuple):
    """A line of an interval plot or a bar."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    strong: bool = False  # stands out: chosen, running, best


class Figure(NamedTuple):
    """A chart with the same figures as a table, for macro ``figure``."""

    id: str
    caption: str
    chart: Markup
    head: list[str]
    rows: list[list[Any]]  # texts; the first of each names the row
    note: str = ""


def _marks(series: Sequence[Series], first: float, last: float) -> list[float]:
    """Where an axis has its numbers: at the points if they are few."""
    points = sorted({point.x for one in series for point in one.points})
    return points if len(points) <= MOST_MARKS else [x for x in axis(first, last)[2] if first <= x <= last]


def lines(
    series: Sequence[Series],
    *,
    title: str,
    unit: str,
    times: bool = True,
    x_unit: str = "",
    write: Write = number,
    line_at: float | None = None,
    low: float | None = None,
    high: float | None = None,
) -> Markup:
    """Values over time (or over another number), each with its band.

    :param unit: of the values, written at the axis.
    :param line_at: a horizontal line of reference, such as 0.
    :param low: the axis begins here instead of at the smallest value.
    """
    points = [point for one in series for point in one.points if point.y is not None]
    if not points:
        return empty(title, "nothing is known yet")
    xs = [point.x for point in points]
    ys = [value for point in points for value in (point.y, point.low, point.high) if value is not None]
    ys += [] if line_at is None else [line_at]
    bottom, top, ticks = axis(min(ys) if low is None else low, max(ys) if high is None else high)
    first, last = min(xs), max(xs)
    height = 260
    span = (last - first) or 1.0

    def at_x(x: float) -> float:
        middle = (LEFT + WIDTH - RIGHT) / 2
        return middle if last == first else LEFT + (x - first) / span * (WIDTH - LEFT - RIGHT)

    def at_y(y: float) -> float:
        share = (min(max(y, bottom), top) - bottom) / (top - bottom)
        return height - BOTTOM - share * (height - TOP - BOTTOM)

    parts = [y_axis(ticks, at_y, unit, write)]
    x_ticks = time_ticks(first, last) if times else [(x, number(x)) for x in _marks(series, first, last)]
    for place, (x, text) in enumerate(x_ticks):
        anchor = "start" if place == 0 else "end" if place == len(x_ticks) - 1 else "middle"
        parts.append(words(at_x(x), height - 22, text, "tick", anchor))
    parts.append(words((LEFT + WIDTH - RIGHT) / 2, height - 5, x_unit or ("time, UTC" if times else ""), "tick"))
    if line_at is not None:
        parts.append(line(LEFT, at_y(line_at), WIDTH - RIGHT, at_y(line_at), "reference"))
    for place, one in enumerate(series):
        style = f"c{place % SERIES}"
        for run in runs(one.points):
            band = [p for p in run if p.low is not None and p.high is not None]
            if len(band) > 1:
                upper = [f"{at_x(p.x):.1f},{at_y(p.high or 0):.1f}" for p in band]
                lower = [f"{at_x(p.x):.1f},{at_y(p.low or 0):.1f}" for p in reversed(band)]
                parts.append(Markup('<polygon class="band {}" points="{}"/>').format(style, " ".join(upper + lower)))
        for run in runs(one.points):
            path = " ".join(f"{at_x(p.x):.1f},{at_y(p.y or 0):.1f}" for p in run)
            parts.append(Markup('<polyline class="line {}" points="{}"/>').format(style, path))
        shown = [point for point in one.points if point.y is not None]
        step = max(1, len(shown) // 40)
        for point in shown[::step]:
            told = f"{one.name}: {write(point.y)}"
            if point.low is not None and point.high is not None:
                told += f" ({write(point.low)} to {write(point.high)})"
                if len(shown) == 1:
                    x = at_x(point.x)
                    parts.append(line(x, at_y(point.low), x, at_y(point.high), f"whisker {style}"))
            parts.append(mark(place, at_x(point.x), at_y(point.y or 0), told))
    return Markup("{}{}").format(svg(height, title, parts), legend([one.name for one in series]))


def forest(
    rows: Sequence[Row],
    *,
    title: str,
    unit: str,
    write: Write = number,
    line_at: float | None = None,
    low: float | None = None,
    high: float | None = None,
) -> Markup:
    """Estimates with their intervals, one line each, on one scale.

    :param line_at: a vertical line of reference, such as 0 for differences.
    """
    known = [value for row in rows for value in (row.value, row.low, row.high) if value is not None]
    if not known:
        return empty(title, "there is no estimate to draw")
    known += [] if line_at is None else [line_at]
    left_edge, right_edge, ticks = axis(min(known) if low is None else low, max(known) if high is None else high)
    step, label = 40, 16
    height = TOP + step * len(rows) + BOTTOM

    def at_x(value: float) -> float:
        share = (min(max(value, left_edge), right_edge) - left_edge) / (right_edge - left_edge)
        return 14 + share * (WIDTH - 28)

    parts = []
    for place, tick in enumerate(ticks):
        anchor = "start" if place == 0 else "end" if place == len(ticks) - 1 else "middle"
        parts.append(line(at_x(tick), TOP, at_x(tick), height - BOTTOM + 4, "grid"))
        parts.append(
            words(at_x(tick) + {"start": -10, "end": 10}.get(anchor, 0), height - 22, write(tick), "tick", anchor)
        )
    parts.append(words(WIDTH / 2, height - 5, unit, "tick"))
    if line_at is not None:
        parts.append(line(at_x(line_at), TOP, at_x(line_at), height - BOTTOM + 4, "reference"))
    for place, row in enumerate(rows):
        y = TOP + place * step + label
        style = "strong" if row.strong else "plain"
        parts.append(words(14, y - 3, short(row.label, 60), f"label {style}", "start"))
        if row.value is None:
            parts.append(words(14, y + 13, "no estimate", "tick", "start"))
            continue
        bar = y + 9
        told = f"{row.label}: {write(row.value)}"
        if row.low is not None or row.high is not None:
            low_x = at_x(row.low) if row.low is not None else 14
            high_x = at_x(row.high) if row.high is not None else WIDTH - 14
            told += f" ({write(row.low)} to {write(row.high)})"
            parts.append(line(low_x, bar, high_x, bar, f"whisker {style}"))
            for edge, given in ((low_x, row.low), (high_x, row.high)):
                if given is not None and left_edge <= given <= right_edge:
                    parts.append(line(edge, bar - 5, edge, bar + 5, f"whisker {style}"))
        parts.append(
            Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="4.5"><title>{}</title></circle>').format(
                style, at_x(row.value), bar, told
            )
        )
    return svg(height, title, parts)


def bars(rows: Sequence[Row], *, title: str, unit: str, write: Write = number, high: float | None = None) -> Markup:
    """Horizontal bars from 0; negative values go to the left."""
    known = [row.value for row in rows if row.value is not None]
    if not known:
        return empty(title, "there is nothing to draw")
    low = min(0.0, *known)
    top = max(0.0, *known) if high is None else high
    span = (top - low) or 1.0
    step = 36
    height = TOP + step * len(rows) + 22

    def at_x(value: float) -> float:
        return 14 + (min(max(value, low), low + span) - low) / span * (WIDTH - 28)

    parts = []
    for place, row in enumerate(rows):
        y = TOP + place * step
        style = "strong" if row.strong else "plain"
        parts.append(words(14, y + 10, short(row.label, 44), f"label {style}", "start"))
        parts.append(words(WIDTH - 14, y + 10, write(row.value), f"label {style}", "end"))
        value = row.value or 0.0
        x, width = min(at_x(0), at_x(value)), abs(at_x(value) - at_x(0))
        parts.append(Markup('<rect class="track" x="14" y="{}" width="{}" height="10"/>').format(y + 16, WIDTH - 28))
        parts.append(
            Markup(
                '<rect class="bar {}" x="{:.1f}" y="{}" width="{:.1f}" height="10"><title>{}: {}</title></rect>'
            ).format(style, x, y + 16, max(width, 0.5 if value else 0.0), row.label, write(row.value))
        )
    parts.append(words(WIDTH / 2, height - 5, unit, "tick"))
    return svg(height, title, parts)


def histogram(labels: Sequence[str], counts: Sequence[float], *, title: str, unit: str, x_unit: str) -> Markup:
    """Counts in bins."""
    if not sum(counts):
        return empty(title, "there is nothing to count")
    height = 240
    bottom, top, ticks = axis(0.0, float(max(counts)))
    width = (WIDTH - LEFT - RIGHT) / len(counts)

    def at_y(y: float) -> float:
        return height - BOTTOM - (y - bottom) / (top - bottom) * (height - TOP - BOTTOM)

    parts = [y_axis(ticks, at_y, unit, number)]
    for place, (text, count) in enumerate(zip(labels, counts, strict=True)):
        x = LEFT + place * width
        parts.append(
            Markup(
                '<rect class="bar plain" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
                "<title>{}: {}</title></rect>"
            ).format(x + 1, at_y(count), width - 2, max(0.0, height - BOTTOM - at_y(count)), text, number(count))
        )
        if len(labels) <= 12 or place % math.ceil(len(labels) / 12) == 0:
            parts.append(words(x + width / 2, height - 24, short(text, 10), "tick small"))
    parts.append(words((LEFT + WIDTH - RIGHT) / 2, height - 5, x_unit, "tick"))
    return svg(height, title, parts)


def cumulative(chances: Sequence[float], chosen: int, draw: float, *, title: str) -> Markup:
    """Probabilities laid end to end from 0 to 1, and the drawn number where it fell."""

    def at_x(value: float) -> float:
        return 14 + min(max(value, 0.0), 1.0) * (WIDTH - 28)

    parts, below = [], 0.0
    for place, chance in enumerate(chances):
        if place == chosen or (place < 60 and chance > 0):  # of a long list the rest stays plain ground
            style = "bar strong" if place == chosen else "segment"
            parts.append(
                Markup('<rect class="{}" x="{:.1f}" y="34" width="{:.1f}" height="22"/>').format(
                    style, at_x(below), max(at_x(below + chance) - at_x(below), 0.5)
                )
            )
        below += chance
    ground = Markup('<rect class="track" x="14" y="34" width="{}" height="22"/>').format(WIDTH - 28)
    x = at_x(draw)
    parts.append(line(x, 24, x, 64, "needle"))
    parts.append(words(min(max(x, 60), WIDTH - 60), 18, f"draw {draw:.4f}", "label strong"))
    parts += [words(at_x(tick), 80, number(tick), "tick") for tick in (0.0, 0.25, 0.5, 0.75, 1.0)]
    parts.append(words(WIDTH / 2, 97, "cumulative probability", "tick"))
    return svg(104, title, [ground, *parts])


class Version(NamedTuple):
    """A dot of a lineage."""

    number: int
    parent: int | None  # null: nobody's child, or its parent is not drawn
    strong: bool  # serves
    failed: bool = False  # did not pass its checks


def lineage(versions: Sequence[Version], *, title: str) -> Markup:
    """Versions from left to right, each tied to the one that it was trained from; a branch takes a line of its own."""
    if not versions:
        return empty(title, "there is no version yet")
    ordered = sorted(versions, key=lambda one: one.number)
    lanes: dict[int, int] = {}
    tips: dict[int, int] = {}  # lane -> its newest version
    for one in ordered:
        mine = next((lane for lane, tip in tips.items() if tip == one.parent), None)
        lanes[one.number] = len(tips) if mine is None else mine
        tips[lanes[one.number]] = one.number
    step = (WIDTH - 44) / max(len(ordered) - 1, 1)
    x_of = {one.number: 22 + place * step if len(ordered) > 1 else WIDTH / 2 for place, one in enumerate(ordered)}
    height = 60 + 26 * len(tips)
    parts = []
    for one in ordered:
        x, y = x_of[one.number], 24 + 26 * lanes[one.number]
        if one.parent in x_of:  # down beside the parent, then along the branch's own line
            start = x_of[one.parent]
            turn = min(start + step, x) if lanes[one.number] != lanes[one.parent] else start
            parts.append(line(start, 24 + 26 * lanes[one.parent], turn, y, "edge"))
            parts.append(line(turn, y, x, y, "edge"))
    room = 14 + 8 * len(str(ordered[-1].number))  # of a label
    every = math.ceil(room / step) if len(ordered) > 1 else 1
    stressed = [x_of[one.number] for one in ordered if one.strong]
    for place, one in enumerate(ordered):
        x, y = x_of[one.number], 24 + 26 * lanes[one.number]
        told = f"version {one.number}" + (", serves" if one.strong else ", failed its checks" if one.failed else "")
        style = "dot strong" if one.strong else "dot failed" if one.failed else "dot plain"
        parts.append(
            Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"><title>{}</title></circle>').format(
                style, x, y, 7 if one.strong else 4.5, told
            )
        )
        if one.strong or (place % every == 0 and all(abs(x - other) >= room for other in stressed)):
            anchor = "end" if x > WIDTH - room / 2 else "start" if x < room / 2 else "middle"
            parts.append(words(x, height - 22, str(one.number), "label strong" if one.strong else "tick", anchor))
    parts.append(words(WIDTH / 2, height - 5, "model version; the large dot serves", "tick"))
    return svg(height, title, parts)
