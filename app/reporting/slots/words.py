"""The findings about positions and parts in sentences, for pages and for callers of the API."""

from collections.abc import Sequence

from app.content.composition_config import NOTHING, SAY
from app.foundation.formats.intervals import IntervalDocument
from app.reporting.documents.slots import PartValue, PositionEarned, SlotValues

MOST_ARMS = 6  # sentences about positions


def findings(positions: Sequence[PositionEarned], slots: Sequence[SlotValues]) -> list[str]:
    """One sentence per arm of lists, and one per slot of composed messages."""
    arms = list(dict.fromkeys(line.arm for line in positions))
    sentences = [_arm([line for line in positions if line.arm == arm]) for arm in arms[:MOST_ARMS]]
    return sentences + [sentence for slot in slots for sentence in _slot(slot)]


def _arm(lines: Sequence[PositionEarned]) -> str:
    known = [line for line in lines if line.interval.low is not None]
    if not known:
        shown = sum(line.shown for line in lines)
        return f"The {shown:,} settled decisions of arm {lines[0].arm} are too few to compare its positions."
    best = max(known, key=lambda line: line.value)
    first = "the first position" if best.position == 1 else f"position {best.position}"
    return f"In arm {best.arm}, {first} earned most: {best.value:.3g} per decision{_between(best.interval)}."


def _slot(slot: SlotValues) -> list[str]:
    if slot.slot == SAY:
        return _saying(slot)
    if len(slot.parts) < 2:
        return [f"Slot {slot.slot} has one part, so there is nothing to compare."]
    clear = [part for part in slot.parts if part.differs and part.difference is not None]
    if not clear:
        if all(part.difference_interval.low is None for part in slot.parts):
            return [f"The log holds too little to compare the parts of slot {slot.slot}."]
        return [f"No part of slot {slot.slot} was shown to earn more or less than what is chosen there now."]
    return [f"In slot {slot.slot}, {_clear(part)}." for part in clear]


def _saying(slot: SlotValues) -> list[str]:
    """Whether to say something: its two parts are each other's opposite, so one sentence says both."""
    part = next(part for part in slot.parts if part.part == NOTHING)
    if part.differs and part.difference is not None:
        return [f"Saying {_clear(part)}."]
    if part.difference_interval.low is None:
        return ["The log holds too little to compare saying nothing with saying something."]
    return ["Saying nothing was not shown to earn more or less than what is chosen now."]


def _clear(part: PartValue) -> str:
    gap, ends = part.difference or 0.0, part.difference_interval
    if gap < 0 and ends.low is not None and ends.high is not None:
        ends = IntervalDocument(low=-ends.high, high=-ends.low)
    more = "more" if gap > 0 else "less"
    return f"{part.part} earns {abs(gap):.3g} {more} per decision than what is chosen now{_between(ends)}"


def _between(ends: IntervalDocument) -> str:
    return (
        ""
        if ends.low is None or ends.high is None
        else f" (95% interval {ends.low:.3g} to {ends.high:.3g}, at every look)"
    )
