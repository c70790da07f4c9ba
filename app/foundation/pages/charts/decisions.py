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
    for index, chance in enumerate(chances):
        if index == chosen or (index < 60 and chance > 0):  # the end of a long list is not drawn
            style = "bar strong" if index == chosen else "segment"
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
    parent: int | None  # null: it has no parent, or the parent is not drawn
    strong: bool  # serves
    failed: bool = False  # did not pass its checks


def lineage(versions: Sequence[Version], *, title: str) -> Markup:
    """Versions from left to right, each tied to the one that it was trained from; a branch takes a line of its own."""
    if not versions:
        return empty(title, "there is no version yet")
    ordered = sorted(versions, key=lambda version: version.number)
    lanes: dict[int, int] = {}
    tips: dict[int, int] = {}  # lane -> its newest version
    for version in ordered:
        parents_lane = next((lane for lane, tip in tips.items() if tip == version.parent), None)
        lanes[version.number] = len(tips) if parents_lane is None else parents_lane
        tips[lanes[version.number]] = version.number
    step = (WIDTH - 44) / max(len(ordered) - 1, 1)
    x_of = {
        version.number: 22 + index * step if len(ordered) > 1 else WIDTH / 2 for index, version in enumerate(ordered)
    }
    height = 60 + 26 * len(tips)
    parts = []
    for version in ordered:
        x, y = x_of[version.number], 24 + 26 * lanes[version.number]
        if version.parent in x_of:  # down beside the parent, then along the branch's own line
            start = x_of[version.parent]
            turn = min(start + step, x) if lanes[version.number] != lanes[version.parent] else start
            parts.append(line(start, 24 + 26 * lanes[version.parent], turn, y, "edge"))
            parts.append(line(turn, y, x, y, "edge"))
    room = 14 + 8 * len(str(ordered[-1].number))  # of a label
    every = math.ceil(room / step) if len(ordered) > 1 else 1
    stressed = [x_of[version.number] for version in ordered if version.strong]
    for index, version in enumerate(ordered):
        x, y = x_of[version.number], 24 + 26 * lanes[version.number]
        title_text = f"version {version.number}" + (
            ", serves" if version.strong else ", failed its checks" if version.failed else ""
        )
        style = "dot strong" if version.strong else "dot failed" if version.failed else "dot plain"
        parts.append(
            Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{}"><title>{}</title></circle>').format(
                style, x, y, 7 if version.strong else 4.5, title_text
            )
        )
        if version.strong or (index % every == 0 and all(abs(x - label_x) >= room for label_x in stressed)):
            anchor = "end" if x > WIDTH - room / 2 else "start" if x < room / 2 else "middle"
            parts.append(
                words(x, height - 22, str(version.number), "label strong" if version.strong else "tick", anchor)
            )
    parts.append(words(WIDTH / 2, height - 5, "model version; the large dot serves", "tick"))
    return svg(height, title, parts)
