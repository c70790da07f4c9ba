"""The long-term view of an experiment as it is stored, answered and shown. See ``app.reporting.long_term``."""

from datetime import datetime

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


class LongTerm(Document):
    """How units come back and what they earn over time."""

    experiment: str
    step_s: float
    arms: list[LongTermArm]
    surrogate: SurrogateCheck | None  # null: no unit was followed for three steps yet
    assumptions: list[str]


class StoredLongTerm(LongTerm):
    """The long-term view that the worker computed, with its time."""

    computed_at: datetime
