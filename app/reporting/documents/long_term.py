"""The long-term view of an experiment as it is stored, answered and shown. See ``app.reporting.long_term``."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from app.foundation.fields import Document
from app.foundation.formats.intervals import IntervalDocument


class LongTermStep(Document):
    """An arm's units in one step since they were first seen."""

    step: int  # 0: the step that begins with the first decision
    followed: int  # units that were followed through it
    seen: int  # of them, with a decision in it
    share: float
    share_interval: IntervalDocument  # Wilson's, for one look
    reward: float  # sum of rewards in it per followed unit
    reward_error: float  # standard error


class LongTermArm(Document):
    """One arm's curves."""

    arm: str
    steps: list[LongTermStep]


class SurrogateArm(Document):
    """An arm's early and late values."""

    arm: str
    units: int
    early: float  # mean reward per decision in the first step
    late: float  # sum of rewards in the later steps per unit


class SurrogateCheck(Document):
    """Whether the early reward tells what comes later."""

    last: int  # the late value is the sum over the steps 1 to this one
    units: int
    correlation: float | None
    interval: IntervalDocument  # for one look
    arms: list[SurrogateArm]
    over_arms: float | None = None  # correlation of the arms' early and late values
    over_arms_interval: IntervalDocument | None = None  # Fisher's, for one look; null in views from before it existed


class AgeLine(Document):
    """An arm against the control in one step since the first exposure, in one cohort, or over one window."""

    arm: str
    control: str
    at: float  # step, cohort (both from 0), or the window in seconds
    units: int  # of both arms
    control_value: float | None
    arm_value: float | None
    difference: float | None
    interval: IntervalDocument  # at every look together
    one_look: IntervalDocument


class AgeCurve(Document):
    """The effect on one thing, by step, cohort or window."""

    kind: Literal["reward", "seen", "cohorts", "window", "sessions", "session_length"]
    name: str  # of the metric
    lines: list[AgeLine]


class AgeChange(Document):
    """What becomes of an arm's effect on the reward per unit and step."""

    arm: str
    control: str
    verdict: Literal["novelty", "wear_out", "growth", "cohorts", "calendar", "steady", "unknown"]
    steps: int  # after the first one that the units were followed for
    first_effect: float | None  # in the first step, of units that were followed through all
    first: IntervalDocument  # change from the first step to the later ones; all three hold together at every look
    further: IntervalDocument  # change from the earlier to the later half of the later steps
    cohorts: IntervalDocument  # units that came later minus units that came earlier
    calendar_ruled_out: bool = False  # later cohorts do not differ as they would if the calendar were the reason


class LongTerm(Document):
    """How units come back and what they earn over time."""

    experiment: str
    step_s: float
    arms: list[LongTermArm]
    surrogate: SurrogateCheck | None  # null: no unit was followed for three steps yet
    curves: list[AgeCurve] = Field(default_factory=list)
    changes: list[AgeChange] = Field(default_factory=list)
    began_at: datetime | None = None  # of the first cohort
    gap_s: float | None = None  # silence that ends a session
    assumptions: list[str]


class StoredLongTerm(LongTerm):
    """The long-term view that the worker computed, with its time."""

    computed_at: datetime
