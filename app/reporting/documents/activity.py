"""An experiment's activity as it is stored and shown. See ``app.reporting.activity``."""

from datetime import datetime
from typing import Literal

from app.foundation.fields import Document


class Volume(Document):
    """The decisions in one stretch of time; times in seconds since the epoch."""

    start: float
    end: float
    decisions: int
    settled: int


class Rate(Document):
    """Reward per settled decision in one stretch, with its one-look interval; null with too few units."""

    start: float
    end: float
    so_far: float  # settled decisions of all arms up to the stretch's middle
    settled: int
    units: int
    rate: float | None
    low: float | None
    high: float | None

    @property
    def reason(self) -> str:
        return "too few units" if self.rate is None else ""


class ArmActivity(Document):
    """One arm over time; stretches without a decision are left out."""

    arm: str
    decisions: int
    settled: int
    reward: float  # sum over settled decisions
    points: list[Volume]
    rates: list[Rate]
    learns: bool = False


class Provisional(Document):
    """What one arm's decisions with an open reward window have earned so far. Nothing of it is tested."""

    arm: str
    open: int  # decisions whose window is open
    units: int
    rewarded: int  # of them with a reward so far
    rate: float | None  # reward per open decision, if every window closed now; null: none is open
    limited: bool  # only the decisions that close first were read


class Waiting(Document):
    """The decisions whose reward window is open."""

    arms: list[Provisional]
    first_closes: str | None  # null: no window is open
    last_closes: str | None

    @property
    def open(self) -> int:
        return sum(arm.open for arm in self.arms)


class Chosen(Document):
    """What an arm chose in a run of decisions."""

    decisions: int
    chosen: dict[str, int]  # by action

    def share(self, action: str) -> float:
        return self.chosen.get(action, 0) / self.decisions if self.decisions else 0.0


class ArmChoices(Document):
    """What a learning arm chooses now, and what it chose at first."""

    arm: str
    now: Chosen
    before: Chosen | None  # null: the two runs would overlap


class Learning(Document):
    """Is an arm better in the last third of the decisions than in the first?"""

    arm: str
    control: str
    answer: Literal["yes", "worse", "not_shown", "too_early"]
    first: float | None  # reward per decision in the first third
    last: float | None
    change: float | None  # beyond what the control changed
    interval: tuple[float, float] | None  # of the change
    control_change: float | None = None  # null: it was not subtracted


class ActivitySummary(Document):
    """The few figures that the list of experiments shows."""

    day: str
    decisions_today: int
    rewards_today: int
    decisions: int
    missing_rewards: str | None = None  # in words, when rewards do not arrive
    settled: int = 0


class StoredActivity(ActivitySummary):
    """What an experiment does now."""

    rewarded: int
    first: str | None
    last: str | None
    stretch_s: float
    arms: list[ArmActivity]
    choices: list[ArmChoices]
    learning: list[Learning]
    waiting: Waiting | None = None  # null: computed before there was one

    def summary(self) -> ActivitySummary:
        return ActivitySummary(
            day=self.day,
            decisions_today=self.decisions_today,
            rewards_today=self.rewards_today,
            decisions=self.decisions,
            missing_rewards=self.missing_rewards,
            settled=self.settled,
        )


class Activity(StoredActivity):
    """Activity with its age."""

    computed_at: datetime
    age_s: float
