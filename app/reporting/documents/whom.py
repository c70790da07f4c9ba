"""The report "What works for whom" as it is stored, answered and shown. See ``app.reporting.whom.report``."""

from typing import Literal

from app.foundation.fields import Document
from app.foundation.formats.intervals import IntervalDocument


class ChosenShare(Document):
    """How often an arm chose an action among its decisions with a value."""

    arm: str
    share: float
    interval: IntervalDocument  # for one look


class ActionInValue(Document):
    """One action among the decisions with one value of a field."""

    action: str
    chosen: list[ChosenShare]  # by learning arm
    value: float | None  # mean reward per decision, had it always been chosen there; null: the log cannot tell
    interval: IntervalDocument  # for one look
    effective_units: float  # that had it
    difference: float | None  # that minus what the control's way of choosing earns there
    difference_interval: IntervalDocument  # holds at every look
    p_value: float | None  # of the difference, holds at every look
    adjusted_p_value: float | None  # Benjamini-Hochberg, over all actions, values and fields
    differs: bool  # the adjusted p-value is at most 5%


class ArmInValue(Document):
    """What an arm's way of choosing earns among the decisions with one value of a field."""

    arm: str
    value: float | None  # mean reward per decision
    interval: IntervalDocument  # for one look


class FieldValue(Document):
    """The decisions with one value of a context field."""

    value: str
    decisions: int
    units: int
    arms: list[ArmInValue]  # the control and the learning arms
    actions: list[ActionInValue]


class FieldReport(Document):
    """One context field."""

    field: str
    edges: list[float]  # upper ends of the bins of numbers, without the last; empty: values as they are
    values: list[FieldValue]


class FeatureImportance(Document):
    """How much the predictions of the reward lean on one feature."""

    side: Literal["context", "action"]
    feature: str | None  # null: which action it was, with all of its features
    increase: float  # of the mean squared error when the feature is permuted
    interval: IntervalDocument  # holds at every look
    p_value: float | None  # holds at every look
    adjusted_p_value: float | None  # Benjamini-Hochberg, over all features
    matters: bool  # the adjusted p-value is at most 5%, and the error rises


class SegmentDifference(Document):
    """A learning arm against the control among the units of one segment."""

    arm: str
    field: str
    segment: str
    units: int
    difference: float | None  # arm minus control, in the metric's unit
    interval: IntervalDocument  # holds at every look
    shrunk: float | None  # the difference, pulled towards that of the field's other segments
    shrunk_interval: IntervalDocument | None  # for one look
    p_value: float | None  # holds at every look
    adjusted_p_value: float | None  # Holm, over all segments of all fields and arms
    differs: bool


class WhomWindow(Document):
    """The decisions behind the figures of actions and features."""

    decisions: int
    units: int
    first: str | None
    last: str | None
    limit: int  # the newest so many decisions are read at most


class StoredWhom(Document):
    """The report without its age."""

    control: str
    arms: list[str]  # that learn; without one, all arms but the control
    window: WhomWindow
    reason: str  # why there are no figures of actions and features; empty: there are
    fields: list[FieldReport]  # the ones that predictions lean on most come first
    other_actions: int  # that are not listed because they are chosen less often
    explained: float | None  # share of the rewards' variance that predictions explain
    importance: list[FeatureImportance]  # largest first
    metric: str | None  # of the segments; null: no result was computed yet
    metric_name: str
    segments: list[
        SegmentDifference
    ]  # those that differ first, then those with a p-value, by size of the shrunk difference
    findings: list[str]  # in words
    assumptions: list[str]


class WhomReport(StoredWhom):
    """The report with its age."""

    experiment: str
    computed_at: str | None  # null: not computed yet
    age_s: float | None
    seconds: float | None
