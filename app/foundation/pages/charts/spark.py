"""A small line without axes, for a row of a table; the row says the same in figures."""

from collections.abc import Sequence

from markupsafe import Markup

WIDE, HIGH, EDGE = 120.0, 28.0, 3.0


def spark(title: str, series: Sequence[tuple[str, Sequence[float]]]) -> Markup:
    """Small lines on one scale; nothing where no line has two points.

    :param series: for each line its style in the style sheet, as c0, and its values from left to right.
    """
    drawn = [(style, values) for style, values in series if len(values) > 1]
    if not drawn:
        return Markup("")
    low = min(min(values) for _, values in drawn)
    room = max(max(values) for _, values in drawn) - low or 1.0
    parts = [_line(style, values, low, room) for style, values in drawn]
    return Markup('<svg class="chart spark" viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}">{}</svg>').format(
        WIDE, HIGH, title, Markup("").join(parts)
    )


def _line(style: str, values: Sequence[float], low: float, room: float) -> Markup:
    step = (WIDE - 2 * EDGE) / (len(values) - 1)
    points = " ".join(
        f"{EDGE + index * step:.1f},{HIGH - EDGE - (value - low) / room * (HIGH - 2 * EDGE):.1f}"
        for index, value in enumerate(values)
    )
    return Markup('<polyline class="line {}" points="{}"/>').format(style, points)
