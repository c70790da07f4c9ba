"""Shows what positions of lists earned, and what parts of composed messages are worth."""

from typing import NamedTuple

from app.accounts.pages.access import page
from app.design.pages.experiment import experiment_page
from app.foundation.pages import charts
from app.foundation.pages.charts import Figure, Row
from app.foundation.pages.format import NO_VALUE, interval, number, p_value, percent, signed
from app.foundation.serving import process
from app.reporting.documents.slots import ListEarned, PartValue, PositionEarned, SlotsReport, SlotValues
from app.reporting.slots import report as service

MOST_ROWS = 24  # lines of a chart; the table has all
MARK = "differs"


class Shown(NamedTuple):
    """The report, drawn."""

    positions: list[Figure]  # one for each arm
    lists: Figure | None
    slots: list[Figure]


@page("/experiments/<key>/slots", "viewer")
def slots(key: str) -> str:
    """Show the newest report of the worker."""
    report = service.stored(process().engine, key)
    return experiment_page("slots.html", key, "slots", report=report, shown=drawn(report))


def drawn(report: SlotsReport) -> Shown:
    """The figures of a report."""
    arms = list(dict.fromkeys(line.arm for line in report.positions))
    return Shown(
        positions=[
            _positions(arm, [line for line in report.positions if line.arm == arm], index)
            for index, arm in enumerate(arms)
        ],
        lists=_lists(report.lists) if report.lists else None,
        slots=[_slot(slot, index) for index, slot in enumerate(report.slots)],
    )


def _positions(arm: str, lines: list[PositionEarned], index: int) -> Figure:
    """Draw what each position of an arm's lists earned."""
    caption = f"Arm {arm}: what each position earned"
    rows = [Row(f"Position {line.position}", line.value, line.interval.low, line.interval.high) for line in lines]
    chart = charts.forest(rows[:MOST_ROWS], title=caption, unit="reward per decision")
    head = [
        "Position",
        "Shown",
        "Units",
        "With a report",
        "Reward per decision",
        "95% interval at every look",
        "Most often there",
    ]
    table = [
        [
            f"Position {line.position}",
            number(line.shown),
            number(line.units),
            percent(line.reported),
            number(line.value),
            interval(line.interval),
            ", ".join(f"{action.action} {percent(action.share, 0)}" for action in line.actions),
        ]
        for line in lines
    ]
    more = (
        f" The chart has the first {MOST_ROWS} of {len(lines)} positions, the table all."
        if len(lines) > MOST_ROWS
        else ""
    )
    return Figure(f"positions-{index}", caption, chart, head, table, f"Peek-safe 95% intervals, by unit.{more}")


def _lists(lines: list[ListEarned]) -> Figure:
    """Draw what the whole lists of each arm earned."""
    caption = "What a whole list earned"
    rows = [Row(line.arm, line.value, line.interval.low, line.interval.high) for line in lines]
    chart = charts.forest(rows[:MOST_ROWS], title=caption, unit="reward per list")
    table = [
        [line.arm, number(line.lists), number(line.units), number(line.value), interval(line.interval)]
        for line in lines
    ]
    head = ["Arm", "Lists", "Units", "Reward per list", "95% interval at every look"]
    note = "The sum of the positions of a list. Peek-safe 95% intervals, by unit."
    return Figure("whole-lists", caption, chart, head, table, note)


def _slot(slot: SlotValues, index: int) -> Figure:
    """Draw what each part of a slot is worth."""
    caption = "What saying something is worth" if slot.slot == "say" else f"Slot {slot.slot}: what each part is worth"
    rows = [
        Row(f"{part.part}{_marked(part)}", part.value, part.interval.low, part.interval.high, strong=part.differs)
        for part in slot.parts
        if part.value is not None
    ]
    chart = charts.forest(rows[:MOST_ROWS], title=caption, unit="reward per decision")
    head = [
        "Part",
        "Shown",
        "Units",
        "Value",
        "95% interval",
        "Against what is chosen now",
        "Interval at every look",
        "p, corrected",
    ]
    table = [[part.part, number(part.shown), number(part.units), *_figures(part)] for part in slot.parts]
    note = "95% intervals for one look, by unit. Bold: differs from what is chosen now, after correction."
    return Figure(f"slot-{index}", caption, chart, head, table, note)


def _figures(part: PartValue) -> list[str]:
    p, gap = p_value(part.adjusted_p_value), part.difference_interval
    known = gap.low is not None or gap.reason != part.interval.reason  # the same reason is said once
    return [
        number(part.value),
        interval(part.interval),
        signed(part.difference),
        interval(gap, "signed") if known else NO_VALUE,
        f"{p}: {MARK}" if part.differs else p,
    ]


def _marked(part: PartValue) -> str:
    if not part.differs or part.difference is None:
        return ""
    return " (earns more)" if part.difference > 0 else " (earns less)"
