"""Bars and histograms."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from app.foundation.pages.charts.parts import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Row,
    Write,
    axis,
    empty,
    short,
    svg,
    words,
    y_axis,
)
from app.foundation.pages.format import number


def bars(rows: Sequence[Row], *, title: str, unit: str, write: Write = number, high: float | None = None) -> Markup:
    """Horizontal bars from 0; negative values go to the left."""
    values = [row.value for row in rows if row.value is not None]
    if not values:
        return empty(title, "there is nothing to draw")
    low = min(0.0, *values)
    top = max(0.0, *values) if high is None else high
    span = (top - low) or 1.0
    step = 36
    height = TOP + step * len(rows) + 22

    def at_x(value: float) -> float:
        return 14 + (min(max(value, low), low + span) - low) / span * (WIDTH - 28)

    parts = []
    for index, row in enumerate(rows):
        y = TOP + index * step
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
    for index, (text, count) in enumerate(zip(labels, counts, strict=True)):
        x = LEFT + index * width
        parts.append(
            Markup(
                '<rect class="bar plain" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
                "<title>{}: {}</title></rect>"
            ).format(x + 1, at_y(count), width - 2, max(0.0, height - BOTTOM - at_y(count)), text, number(count))
        )
        if len(labels) <= 12 or index % math.ceil(len(labels) / 12) == 0:
            parts.append(words(x + width / 2, height - 24, short(text, 10), "tick small"))
    parts.append(words((LEFT + WIDTH - RIGHT) / 2, height - 5, x_unit, "tick"))
    return svg(height, title, parts)
