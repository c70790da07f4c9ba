"""Estimates with their intervals, one line each, on one scale."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from app.foundation.pages.charts.parts import BOTTOM, TOP, WIDTH, Row, Write, axis, empty, line, short, svg, words
from app.foundation.pages.format import number

MARGIN = 14
STEP = 40  # height of a row
LABEL = 16  # height of its label


class _Scale(NamedTuple):
    """Where a value lies from left to right."""

    low: float
    high: float

    def x(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return MARGIN + share * (WIDTH - 2 * MARGIN)


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
    values = [value for row in rows for value in (row.value, row.low, row.high) if value is not None]
    if not values:
        return empty(title, "there is no estimate to draw")
    values += [] if line_at is None else [line_at]
    left, right, ticks = axis(min(values) if low is None else low, max(values) if high is None else high)
    scale, height = _Scale(left, right), TOP + STEP * len(rows) + BOTTOM
    parts = _grid(ticks, scale, height, write)
    parts.append(words(WIDTH / 2, height - 5, unit, "tick"))
    if line_at is not None:
        parts.append(line(scale.x(line_at), TOP, scale.x(line_at), height - BOTTOM + 4, "reference"))
    for index, row in enumerate(rows):
        parts += _row(row, scale, TOP + index * STEP + LABEL, write)
    return svg(height, title, parts)


def _grid(ticks: Sequence[float], scale: _Scale, height: float, write: Write) -> list[Markup]:
    parts = []
    for index, tick in enumerate(ticks):
        anchor = "start" if index == 0 else "end" if index == len(ticks) - 1 else "middle"
        x, shift = scale.x(tick), {"start": -10, "end": 10}.get(anchor, 0)
        parts.append(line(x, TOP, x, height - BOTTOM + 4, "grid"))
        parts.append(words(x + shift, height - 22, write(tick), "tick", anchor))
    return parts


def _row(row: Row, scale: _Scale, y: float, write: Write) -> list[Markup]:
    style = "strong" if row.strong else "plain"
    parts = [words(MARGIN, y - 3, short(row.label, 60), f"label {style}", "start")]
    if row.value is None:
        return [*parts, words(MARGIN, y + 13, "no estimate", "tick", "start")]
    bar, text = y + 9, f"{row.label}: {write(row.value)}"
    if row.low is not None or row.high is not None:
        text += f" ({write(row.low)} to {write(row.high)})"
        parts += _whisker(row, scale, bar, f"whisker {style}")
    dot = Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="4.5"><title>{}</title></circle>')
    return [*parts, dot.format(style, scale.x(row.value), bar, text)]


def _whisker(row: Row, scale: _Scale, bar: float, style: str) -> list[Markup]:
    """The interval as a line; an end that lies outside of the picture, or nowhere, has no cap."""
    low = scale.x(row.low) if row.low is not None else MARGIN
    high = scale.x(row.high) if row.high is not None else WIDTH - MARGIN
    caps = [
        line(edge, bar - 5, edge, bar + 5, style)
        for edge, value in ((low, row.low), (high, row.high))
        if value is not None and scale.low <= value <= scale.high
    ]
    return [line(low, bar, high, bar, style), *caps]
