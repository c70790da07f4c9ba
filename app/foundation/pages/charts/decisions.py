"""The draw of one decision, and the lineage of a model's versions."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from app.foundation.pages.charts.parts import WIDTH, empty, line, svg, words
from app.foundation.pages.format import number


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
