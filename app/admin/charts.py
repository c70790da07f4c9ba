"""Charts as SVG made on the server: no script, the strictest CSP, light and dark by the page's style sheet, printable.

Every chart names its unit, draws its intervals and has a text for those who cannot see it. The page puts a table of the
same figures under it (``macros.html``: figure). Numbers outside of what is drawn are cut at the edge, never dropped.
"""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from markupsafe import Markup

from app.admin.format import number

WIDTH = 480
TOP, BOTTOM, LEFT, RIGHT = 12, 40, 66, 12
SERIES = 6  # styles in admin.css: c0 to c5, told apart by dashes and marks as well as by colour
Write = Callable[[float | None], str]


class Point(NamedTuple):
    """One point of a series."""

    x: float  # seconds since the epoch, or any number
    y: float | None  # null: nothing is known here; the line breaks
    low: float | None = None
    high: float | None = None


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
    bottom, top, ticks = _axis(min(ys) if low is None else low, max(ys) if high is None else high)
    first, last = min(xs), max(xs)
    height = 260
    span = (last - first) or 1.0

    def at_x(x: float) -> float:
        middle = (LEFT + WIDTH - RIGHT) / 2
        return middle if last == first else LEFT + (x - first) / span * (WIDTH - LEFT - RIGHT)

    def at_y(y: float) -> float:
        share = (min(max(y, bottom), top) - bottom) / (top - bottom)
        return height - BOTTOM - share * (height - TOP - BOTTOM)

    parts = [_y_axis(ticks, at_y, unit, write)]
    x_ticks = (
        _time_ticks(first, last) if times else [(x, number(x)) for x in _axis(first, last)[2] if first <= x <= last]
    )
    for place, (x, text) in enumerate(x_ticks):
        anchor = "start" if place == 0 else "end" if place == len(x_ticks) - 1 else "middle"
        parts.append(_text(at_x(x), height - 22, text, "tick", anchor))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, height - 5, x_unit or ("time, UTC" if times else ""), "tick"))
    if line_at is not None:
        parts.append(_line(LEFT, at_y(line_at), WIDTH - RIGHT, at_y(line_at), "reference"))
    for place, one in enumerate(series):
        style = f"c{place % SERIES}"
        for run in _runs(one.points):
            band = [p for p in run if p.low is not None and p.high is not None]
            if len(band) > 1:
                upper = [f"{at_x(p.x):.1f},{at_y(p.high or 0):.1f}" for p in band]
                lower = [f"{at_x(p.x):.1f},{at_y(p.low or 0):.1f}" for p in reversed(band)]
                parts.append(Markup('<polygon class="band {}" points="{}"/>').format(style, " ".join(upper + lower)))
        for run in _runs(one.points):
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
                    parts.append(_line(x, at_y(point.low), x, at_y(point.high), f"whisker {style}"))
            parts.append(_mark(place, at_x(point.x), at_y(point.y or 0), told))
    return Markup("{}{}").format(_svg(height, title, parts), legend([one.name for one in series]))


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
    left_edge, right_edge, ticks = _axis(min(known) if low is None else low, max(known) if high is None else high)
    step, label = 40, 16
    height = TOP + step * len(rows) + BOTTOM

    def at_x(value: float) -> float:
        share = (min(max(value, left_edge), right_edge) - left_edge) / (right_edge - left_edge)
        return 14 + share * (WIDTH - 28)

    parts = []
    for place, tick in enumerate(ticks):
        anchor = "start" if place == 0 else "end" if place == len(ticks) - 1 else "middle"
        parts.append(_line(at_x(tick), TOP, at_x(tick), height - BOTTOM + 4, "grid"))
        parts.append(
            _text(at_x(tick) + {"start": -10, "end": 10}.get(anchor, 0), height - 22, write(tick), "tick", anchor)
        )
    parts.append(_text(WIDTH / 2, height - 5, unit, "tick"))
    if line_at is not None:
        parts.append(_line(at_x(line_at), TOP, at_x(line_at), height - BOTTOM + 4, "reference"))
    for place, row in enumerate(rows):
        y = TOP + place * step + label
        style = "strong" if row.strong else "plain"
        parts.append(_text(14, y - 3, _short(row.label, 60), f"label {style}", "start"))
        if row.value is None:
            parts.append(_text(14, y + 13, "no estimate", "tick", "start"))
            continue
        bar = y + 9
        told = f"{row.label}: {write(row.value)}"
        if row.low is not None or row.high is not None:
            low_x = at_x(row.low) if row.low is not None else 14
            high_x = at_x(row.high) if row.high is not None else WIDTH - 14
            told += f" ({write(row.low)} to {write(row.high)})"
            parts.append(_line(low_x, bar, high_x, bar, f"whisker {style}"))
            for edge, given in ((low_x, row.low), (high_x, row.high)):
                if given is not None and left_edge <= given <= right_edge:
                    parts.append(_line(edge, bar - 5, edge, bar + 5, f"whisker {style}"))
        parts.append(
            Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="4.5"><title>{}</title></circle>').format(
                style, at_x(row.value), bar, told
            )
        )
    return _svg(height, title, parts)


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
        parts.append(_text(14, y + 10, _short(row.label, 44), f"label {style}", "start"))
        parts.append(_text(WIDTH - 14, y + 10, write(row.value), f"label {style}", "end"))
        value = row.value or 0.0
        x, width = min(at_x(0), at_x(value)), abs(at_x(value) - at_x(0))
        parts.append(Markup('<rect class="track" x="14" y="{}" width="{}" height="10"/>').format(y + 16, WIDTH - 28))
        parts.append(
            Markup(
                '<rect class="bar {}" x="{:.1f}" y="{}" width="{:.1f}" height="10"><title>{}: {}</title></rect>'
            ).format(style, x, y + 16, max(width, 0.5 if value else 0.0), row.label, write(row.value))
        )
    parts.append(_text(WIDTH / 2, height - 5, unit, "tick"))
    return _svg(height, title, parts)


def histogram(labels: Sequence[str], counts: Sequence[float], *, title: str, unit: str, x_unit: str) -> Markup:
    """Counts in bins."""
    if not sum(counts):
        return empty(title, "there is nothing to count")
    height = 240
    bottom, top, ticks = _axis(0.0, float(max(counts)))
    width = (WIDTH - LEFT - RIGHT) / len(counts)

    def at_y(y: float) -> float:
        return height - BOTTOM - (y - bottom) / (top - bottom) * (height - TOP - BOTTOM)

    parts = [_y_axis(ticks, at_y, unit, number)]
    for place, (text, count) in enumerate(zip(labels, counts, strict=True)):
        x = LEFT + place * width
        parts.append(
            Markup(
                '<rect class="bar plain" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
                "<title>{}: {}</title></rect>"
            ).format(x + 1, at_y(count), width - 2, max(0.0, height - BOTTOM - at_y(count)), text, number(count))
        )
        if len(labels) <= 12 or place % math.ceil(len(labels) / 12) == 0:
            parts.append(_text(x + width / 2, height - 24, _short(text, 10), "tick small"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, height - 5, x_unit, "tick"))
    return _svg(height, title, parts)


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
    parts.append(_line(x, 24, x, 64, "needle"))
    parts.append(_text(min(max(x, 60), WIDTH - 60), 18, f"draw {draw:.4f}", "label strong"))
    parts += [_text(at_x(tick), 80, number(tick), "tick") for tick in (0.0, 0.25, 0.5, 0.75, 1.0)]
    parts.append(_text(WIDTH / 2, 97, "cumulative probability", "tick"))
    return _svg(104, title, [ground, *parts])


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
            parts.append(_line(start, 24 + 26 * lanes[one.parent], turn, y, "edge"))
            parts.append(_line(turn, y, x, y, "edge"))
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
            parts.append(_text(x, height - 22, str(one.number), "label strong" if one.strong else "tick", anchor))
    parts.append(_text(WIDTH / 2, height - 5, "model version; the large dot serves", "tick"))
    return _svg(height, title, parts)


def interval_bar(
    value: float | None,
    low: float | None,
    high: float | None,
    *,
    start: float,
    end: float,
    line_at: float | None = None,
    text: str = "",
) -> Markup:
    """A small interval for a table's cell; the cell beside it has the figures.

    :param start: of the scale that all cells of the column share.
    """
    if value is None or end <= start:
        return Markup("")

    def at_x(number_: float) -> float:
        return 4 + (min(max(number_, start), end) - start) / (end - start) * 132

    parts = []
    if line_at is not None:
        parts.append(_line(at_x(line_at), 1, at_x(line_at), 17, "reference"))
    if low is not None or high is not None:
        low_x, high_x = at_x(start if low is None else low), at_x(end if high is None else high)
        parts.append(_line(low_x, 9, high_x, 9, "whisker plain"))
    parts.append(Markup('<circle class="dot plain" cx="{:.1f}" cy="9" r="3.5"/>').format(at_x(value)))
    return Markup(
        '<svg class="chart cell" viewBox="0 0 140 18" width="140" height="18" role="img" aria-label="{}">{}</svg>'
    ).format(text or "interval", Markup("").join(parts))


def empty(title: str, why: str) -> Markup:
    """What stands where a chart has nothing to show yet."""
    return Markup('<p class="chart-empty" role="note">{}: {}.</p>').format(title, why)


def legend(names: Sequence[str]) -> Markup:
    """Which line is which, in words; each with the mark that it has in the chart."""
    items = [
        Markup(
            '<li><svg class="chart key" viewBox="0 0 26 12" width="26" height="12" aria-hidden="true">{}{}</svg>{}</li>'
        ).format(_line(1, 6, 25, 6, f"line c{place % SERIES}"), _mark(place, 13, 6, ""), name)
        for place, name in enumerate(names)
    ]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))


def scale(values: Sequence[float | None], *include: float) -> tuple[float, float]:
    """The range that holds all of them, with a little room."""
    known = [value for value in values if value is not None and math.isfinite(value)] + list(include)
    if not known:
        return (0.0, 1.0)
    low, high = min(known), max(known)
    room = (high - low) * 0.05 or abs(high) * 0.05 or 0.5
    return (low - room, high + room)


def _svg(height: float, title: str, parts: Sequence[Markup]) -> Markup:
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {:.0f}" role="img" aria-label="{}" xmlns="http://www.w3.org/2000/svg">'
        "<title>{}</title>{}</svg>"
    ).format(WIDTH, height, title, title, Markup("").join(parts))


def _y_axis(ticks: Sequence[float], at_y: Callable[[float], float], unit: str, write: Write) -> Markup:
    parts = []
    for tick in ticks:
        parts.append(_line(LEFT, at_y(tick), WIDTH - RIGHT, at_y(tick), "grid"))
        parts.append(_text(LEFT - 6, at_y(tick) + 4, write(tick), "tick", "end"))
    middle = (at_y(ticks[0]) + at_y(ticks[-1])) / 2
    turned = Markup(
        '<text class="tick" x="{0:.1f}" y="{1:.1f}" text-anchor="middle" transform="rotate(-90 {0:.1f} {1:.1f})">{2}</text>'
    )
    return Markup("").join([*parts, turned.format(12.0, middle, unit)])


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(style, x1, y1, x2, y2)


def _text(x: float, y: float, text: str, style: str, anchor: str = "middle") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(style, x, y, anchor, text)


def _mark(place: int, x: float, y: float, told: str) -> Markup:
    """Circle, square, triangle, diamond: series can be told apart without colours."""
    style, kind = f"mark c{place % SERIES}", place % 4
    title = Markup("<title>{}</title>").format(told) if told else Markup("")
    if kind == 0:
        return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="3">{}</circle>').format(style, x, y, title)
    corners = {
        1: ((-2.7, -2.7), (2.7, -2.7), (2.7, 2.7), (-2.7, 2.7)),
        2: ((0, -3.6), (3.4, 2.6), (-3.4, 2.6)),
        3: ((0, -3.8), (3.8, 0), (0, 3.8), (-3.8, 0)),
    }[kind]
    path = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return Markup('<polygon class="{}" points="{}">{}</polygon>').format(style, path, title)


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    """Stretches without a gap."""
    found: list[list[Point]] = [[]]
    for point in points:
        if point.y is None:
            found.append([])
        else:
            found[-1].append(point)
    return [run for run in found if run]


def _axis(low: float, high: float) -> tuple[float, float, list[float]]:
    """Round limits around a range, and the four to seven ticks between them."""
    if high <= low:
        room = abs(low) * 0.1 or 0.5
        low, high = low - room, high + room
    rough = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    start, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [round(place * step, 12) for place in range(start, end + 1)]
    return ticks[0], ticks[-1], ticks


def _time_ticks(first: float, last: float) -> list[tuple[float, str]]:
    """Beginning, middle and end of a stretch of time, as precise as it needs."""
    span = last - first
    form = "%H:%M:%S" if span < 600 else "%m-%d %H:%M" if span < 5 * 86_400 else "%Y-%m-%d"
    places = [first] if span == 0 else [first, (first + last) / 2, last]
    return [(place, datetime.fromtimestamp(place, UTC).strftime(form)) for place in places]


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"
