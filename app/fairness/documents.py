"""The report *Fairness and diversity* as it is stored, answered and shown. See ``app.fairness.report``."""

from app.foundation.fields import Document
from app.foundation.formats.intervals import IntervalDocument


class Share(Document):
    """What one action, or one group of actions, got in an arm."""

    name: str  # an action's id, or the value of a feature; empty: actions without the feature
    exposed: float  # mean of the logged probabilities over the arm's decisions
    drawn: float  # share of the arm's decisions that drew it


class ExposureReport(Document):
    """How an arm's exposure spreads over the actions, or over the values of one feature of them."""

    arm: str
    by: str  # "action", or the name of a text feature of the actions
    decisions: int
    shares: list[Share]  # largest first, at most 100
    others: int  # groups that are not listed
    gini: float  # 0: all get the same
    smallest: float
    entropy: float  # between 0 and 1; 1: all get the same
    coverage: float  # share of the known groups that were drawn at least once


class PopularityReport(Document):
    """Whether an arm's exposure runs ahead of what actions are worth."""

    arm: str
    slope: float | None  # relative exposure per relative value; 1: in proportion
    interval: IntervalDocument  # for every look


class GroupGap(Document):
    """How an arm treats a group of people, compared with everybody else, and with the reference arm."""

    arm: str
    field: str
    group: str
    units: int  # of the group in the arm
    reward: float  # per decision of the group in the arm
    gap: float  # to everybody else in the arm
    reference_gap: float  # the same in the reference arm: the world's gap
    excess: float  # the gap minus the reference's
    interval: IntervalDocument  # of the excess, for every look
    p_value: float | None
    adjusted_p_value: float | None
    differs: bool


class GroupCalibration(Document):
    """Whether predictions of the reward are right for a group of people."""

    field: str
    group: str
    decisions: int
    predicted: float
    realised: float
    interval: IntervalDocument  # of predicted minus realised, for every look


class PathStage(Document):
    """What an arm's people were shown in one stage of their own decisions."""

    stage: int  # from 1
    people: int
    entropy: float  # mean over people, between 0 and 1
    entropy_error: float  # standard error over people
    repeats: float | None  # share of decisions that repeat the person's decision before; null: none has one before
    variety: float  # different groups that were drawn, as a share of the most possible


class PathArm(Document):
    """An arm's curve, and how much more it narrows than the reference arm."""

    arm: str
    by: str  # "action", or the name of a text feature of the actions
    stages: list[PathStage]
    people: int  # with two stages or more
    change: float | None  # mean over people: entropy of the last stage minus that of the first; null: no people
    excess: float | None  # the change minus the reference's; null for the reference itself
    interval: IntervalDocument | None  # of the excess, for every look
    adjusted_p_value: float | None
    narrows: bool


class GroupTarget(Document):
    """What a group of actions reached of an arm's target over a window."""

    name: str  # an action's id, or the value of a feature; empty: actions without the feature
    share: float  # of the window's decisions
    least: float  # the target
    most: float
    eligible: float  # share of the decisions in which the group could be drawn
    possible: float  # the share that a target may ask for: an equal share of each of these decisions
    out_of_reach: bool  # `least` is above that


class TargetReport(Document):
    """What an arm reached of its target over a window; see the policy's `exposure`."""

    arm: str
    by: str  # "action", or the name of a text feature of the actions
    window: int | None  # newest decisions
    window_s: float | None
    decisions: int  # that were counted
    age_s: float | None  # of the counts; null: there are none yet
    rests: bool  # the counts are missing or old, and the bounds hold in every decision
    groups: list[GroupTarget]  # furthest below its target first, at most 100
    others: int  # groups that are not listed


class StoredFairness(Document):
    """The report as the worker stores it."""

    reference: str  # the arm that gaps and changes are compared with
    stage: int  # decisions of a person in a stage
    fields: list[str]  # of people
    exposure: list[ExposureReport]
    popularity: list[PopularityReport]
    gaps: list[GroupGap]
    calibration: list[GroupCalibration]
    paths: list[PathArm]
    findings: list[str]
    assumptions: list[str]


class FairnessReport(StoredFairness):
    """The newest report with its age."""

    experiment: str
    computed_at: str | None  # null: none is computed yet
    age_s: float | None
    seconds: float | None
    targets: list[TargetReport]  # of this moment, not of `computed_at`
