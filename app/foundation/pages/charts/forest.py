"""Estimates with their intervals, one line each, on one scale."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from app.foundation.pages.charts.parts import (
    BOTTOM,
    TOP,
    Row,
    Write,
    axis,
    caption,
    dot,
    empty,
    fluid,
    labels,
    placed,
    row_height,
    row_label,
    stroke,
)
from app.foundation.pages.format import number

STEP = 30  # least height of a row
CELL = 34  # height of a plot in a row of a table
ROOM = 0.2  # of the width, between the numbers of the scale in a table's head


class Scale(NamedTuple):
    """Where a value lies from left to right."""

    low: float
    high: float
    ticks: Sequence[float]

    def x(self, value: float) -> float:
        return (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)


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
    """Estimates with their intervals, one line each, on one scale; labels stand in the left gutter.

    :param line_at: a vertical line of reference, such as 0 for differences.
    """
    scale = scale_of(rows, line_at, low, high)
    if scale is None:
        return empty(title, "there is no estimate to draw")
    step = row_height(rows, STEP)
    height = TOP + step * len(rows) + BOTTOM
    inner = _grid(scale, height, labels(scale.ticks, write))
    inner.append(caption(0.5, height - 5, unit, "tick"))
    if line_at is not None:
        inner.append(stroke(scale.x(line_at), TOP, scale.x(line_at), height - BOTTOM + 4, "reference"))
    names = []
    for index, row in enumerate(rows):
        y = TOP + index * step + step / 2
        names.append(row_label(row, y))
        inner += _estimate(row, scale, y, write)
    return fluid("rows", height, title, [*names, *inner])


def scale_of(
    rows: Sequence[Row], line_at: float | None, low: float | None = None, high: float | None = None
) -> Scale | None:
    """The scale that all rows share; null where nothing is estimated."""
    values = [value for row in rows for value in (row.value, row.low, row.high) if value is not None]
    if not values:
        return None
    values += [] if line_at is None else [line_at]
    left, right, ticks = axis(min(values) if low is None else low, max(values) if high is None else high)
    return Scale(left, right, ticks)


def cell(row: Row, scale: Scale, write: Write, line_at: float = 0.0) -> Markup:
    """One estimate with its interval, for a row of a table; all rows of a column share their scale."""
    at = scale.x(line_at)
    inner = [stroke(at, 0, at, CELL, "reference"), *_estimate(row, scale, CELL / 2, write)]
    return Markup('<span class="cell-plot">{}</span>').format(
        fluid("cell", CELL, f"{row.label}: {said(row, write)}", inner)
    )


def cell_axis(scale: Scale, write: Write) -> Markup:
    """The scale of such a column, for its head: both ends and 0."""
    short_write = labels(scale.ticks, write)
    marks = [(0.0, scale.low, "start"), (1.0, scale.high, "end")]
    if scale.low < 0 < scale.high and ROOM < scale.x(0.0) < 1 - ROOM:
        marks.append((scale.x(0.0), 0.0, "middle"))
    inner = [caption(x, 12, short_write(value), "tick", anchor) for x, value, anchor in marks]
    return Markup('<span class="cell-plot" aria-hidden="true">{}</span>').format(fluid("cell", 16, "scale", inner))


def said(row: Row, write: Write) -> str:
    """The estimate in figures, for a tooltip."""
    ends = f" ({write(row.low)} to {write(row.high)})" if row.low is not None or row.high is not None else ""
    return f"{write(row.value)}{ends}" + (f", {row.tone}" if row.tone in ("better", "worse") else "")


def _grid(scale: Scale, height: float, write: Write) -> list[Markup]:
    parts = []
    every = 2 if len(scale.ticks) > 5 else 1
    for index, tick in enumerate(scale.ticks):
        parts.append(stroke(scale.x(tick), TOP, scale.x(tick), height - BOTTOM + 4, "grid"))
        if index % every == 0:
            parts.append(caption(scale.x(tick), height - 22, write(tick), "tick"))
    return parts


def _estimate(row: Row, scale: Scale, y: float, write: Write) -> list[Markup]:
    if row.value is None:
        return [caption(0.5, y + 4, "no estimate", "tick")]
    style = row.tone or ("strong" if row.strong else "plain")
    parts = _whisker(row, scale, y, f"whisker {style}") if row.low is not None or row.high is not None else []
    return [*parts, placed(scale.x(row.value), y, dot(row.tone, style, f"{row.label}: {said(row, write)}"))]


def _whisker(row: Row, scale: Scale, y: float, style: str) -> list[Markup]:
    """The interval as a line; an end that lies outside of the picture, or nowhere, has no cap."""
    low = scale.x(row.low) if row.low is not None else 0.0
    high = scale.x(row.high) if row.high is not None else 1.0
    caps = [
        stroke(edge, y - 5, edge, y + 5, style)
        for edge, value in ((low, row.low), (high, row.high))
        if value is not None and scale.low <= value <= scale.high
    ]
    return [stroke(low, y, high, y, style), *caps]
