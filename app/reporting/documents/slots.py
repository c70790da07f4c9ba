"""The report of positions and parts as it is stored, answered and shown. See ``app.reporting.slots.report``."""

from app.foundation.fields import Document
from app.foundation.formats.intervals import IntervalDocument


class ActionAtPosition(Document):
    """An action at a position of an arm's lists."""

    action: str
    shown: int  # settled decisions
    share: float  # of the position's decisions


class PositionEarned(Document):
    """What an arm's lists earned at one position, as the arm filled them."""

    arm: str
    position: int  # from 1
    shown: int  # settled decisions
    units: int
    reported: float  # share of the decisions with a report; the others count as the reward's default
    value: float  # mean reward per decision at this position
    interval: IntervalDocument  # holds at every look
    actions: list[ActionAtPosition]  # the three most frequent ones


class ListEarned(Document):
    """What an arm's whole lists earned: the sum of their positions."""

    arm: str
    lists: int
    units: int
    value: float  # mean per list
    interval: IntervalDocument  # holds at every look


class PartValue(Document):
    """What a part of a composed message is worth."""

    part: str
    shown: int  # decisions with this part
    units: int
    value: float | None  # mean reward per decision, had the slot always had this part; null: the log cannot tell
    interval: IntervalDocument  # for one look
    effective_units: float  # that had it
    difference: float | None  # against what is chosen in the slot now
    difference_interval: IntervalDocument  # holds at every look
    p_value: float | None  # of the difference, holds at every look
    adjusted_p_value: float | None  # Benjamini-Hochberg, over all parts of all slots
    differs: bool  # the adjusted p-value is at most 5%


class SlotValues(Document):
    """The parts of one slot."""

    slot: str
    parts: list[PartValue]  # the highest value first; without a value last


class SlotsWindow(Document):
    """The decisions behind the figures."""

    decisions: int
    units: int
    limit: int  # the newest so many decisions are read at most


class StoredSlots(Document):
    """The report without its age."""

    window: SlotsWindow
    reason: str  # why there are no values of parts; empty: there are, or the experiment composes nothing
    positions: list[PositionEarned]  # by arm, then from the top
    lists: list[ListEarned]
    slots: list[SlotValues]  # of composed messages, in the order of the slots
    findings: list[str]  # in words
    assumptions: list[str]


class SlotsReport(StoredSlots):
    """The report with its age."""

    experiment: str
    computed_at: str | None  # null: not computed yet
    age_s: float | None
    seconds: float | None
