"""Bars and histograms."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from app.foundation.pages.charts.parts import (
    BOTTOM,
    TOP,
    Row,
    Write,
    axis,
    caption,
    empty,
    fluid,
    labels,
    row_height,
    row_label,
    short,
    words,
    y_axis,
)
from app.foundation.pages.format import number

STEP = 26  # least height of a bar's row


def bars(rows: Sequence[Row], *, title: str, unit: str, write: Write = number, high: float | None = None) -> Markup:
    """Horizontal bars from 0, with labels in the left gutter and values in the right one; negative values go to the left."""
    values = [row.value for row in rows if row.value is not None]
    if not values:
        return empty(title, "there is nothing to draw")
    low = min(0.0, *values)
    top = max(0.0, *values) if high is None else high
    span = (top - low) or 1.0
    step = row_height(rows, STEP)
    height = TOP + step * len(rows) + 22

    def at_x(value: float) -> float:
        return (min(max(value, low), low + span) - low) / span

    names, inner = [], []
    for index, row in enumerate(rows):
        y = TOP + index * step + (step - STEP) / 2
        style = row.tone or ("strong" if row.strong else "plain")
        names.append(row_label(row, y + 8))
        value = row.value or 0.0
        x, width = min(at_x(0), at_x(value)), abs(at_x(value) - at_x(0))
        inner.append(Markup('<rect class="track" x="0" y="{}" width="100%" height="12"/>').format(y + 2))
        inner.append(
            Markup(
                '<rect class="bar {}" x="{:.2f}%" y="{}" width="{:.2f}%" height="12"><title>{}: {}</title></rect>'
            ).format(style, 100 * x, y + 2, max(100 * width, 0.1 if value else 0.0), row.label, write(row.value))
        )
        inner.append(
            Markup('<svg x="100%" y="{}" width="1" height="1" overflow="visible">{}</svg>').format(
                y, words(8, 12, write(row.value), f"label {'strong' if row.strong else 'plain'}", "start")
            )
        )
    inner.append(caption(0.5, height - 5, unit, "tick"))
    return fluid("bars", height, title, [*names, *inner])


def histogram(names: Sequence[str], counts: Sequence[float], *, title: str, unit: str, x_unit: str) -> Markup:
    """Counts in bins."""
    if not sum(counts):
        return empty(title, "there is nothing to count")
    height = 240
    bottom, top, ticks = axis(0.0, float(max(counts)))
    width = 1 / len(counts)

    def at_y(y: float) -> float:
        return height - BOTTOM - (y - bottom) / (top - bottom) * (height - TOP - BOTTOM)

    inner = []
    for index, (text, count) in enumerate(zip(names, counts, strict=True)):
        inner.append(
            Markup(
                '<rect class="bar plain" x="{:.2f}%" y="{:.1f}" width="{:.2f}%" height="{:.1f}">'
                "<title>{}: {}</title></rect>"
            ).format(
                100 * (index + 0.04) * width,
                at_y(count),
                92 * width,
                max(0.0, height - BOTTOM - at_y(count)),
                text,
                number(count),
            )
        )
        if len(names) <= 12 or index % math.ceil(len(names) / 12) == 0:
            inner.append(caption((index + 0.5) * width, height - 24, short(text, 10), "tick small"))
    inner.append(caption(0.5, height - 5, x_unit, "tick"))
    return fluid("time", height, title, [y_axis(ticks, at_y, unit, labels(ticks, number)), *inner])
