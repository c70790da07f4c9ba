"""What an experiment measures beside the reward that it learns from, and its decision rule.

Metrics and rule are written down before the data is seen; reports only evaluate them.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from app.foundation.fields import Key, Model, PropertyPath, Sparse, wrong

MAX_METRICS = 30


class RewardSource(Sparse):
    """The joined reward: its mean over decisions, or over units (each unit's own mean, so that each has one voice)."""

    newer: ClassVar = {"per": "decision"}

    type: Literal["reward"]
    per: Literal["decision", "unit"] = "decision"


class ValueSource(Model):
    """Sum of a reported metric's values, per decision or per unit."""

    type: Literal["value"]
    metric: Key
    per: Literal["decision", "unit"] = "decision"


class CountSource(Model):
    """Number of reports of a metric, per decision or per unit."""

    type: Literal["count"]
    metric: Key
    per: Literal["decision", "unit"] = "decision"


class RatioSource(Model):
    """Sum of one reported metric over the sum of another."""

    type: Literal["ratio"]
    numerator: Key
    denominator: Key


class RetentionSource(Sparse):
    """Share of units that are seen again from so many days after they were first seen until so many.

    All units are followed for the same time; a unit counts when that time is over.
    """

    newer: ClassVar = {"until_days": None}

    type: Literal["retention"]
    days: float = Field(gt=0, le=365)
    until_days: float | None = Field(default=None, gt=0, le=730, description="The end; by default twice as many days.")

    @model_validator(mode="after")
    def _ends_after_its_begin(self) -> "RetentionSource":
        if self.end_days <= self.days:
            raise wrong("retention_ends_early", {"days": self.days})
        return self

    @property
    def end_days(self) -> float:
        """Until how many days after it was first seen a unit may return."""
        return 2 * self.days if self.until_days is None else self.until_days


class SessionsSource(Model):
    """Visits per unit: runs of decisions with gaps of at most ``gap_s``."""

    type: Literal["sessions"]
    gap_s: float = Field(default=1800, ge=1, le=86_400 * 7)


class QuantileSource(Model):
    """A quantile over units of the sum of a reported metric's values per unit: the median, or the slowest tenth."""

    type: Literal["quantile"]
    metric: Key
    quantile: float = Field(gt=0, lt=1, description="0.5 is the median, 0.9 what nine of ten units stay below.")


class EventSource(Model):
    """What a unit's own events say (``POST /v1/events``), within the metric's window from its first exposure.

    An event needs no decision. It belongs to the arm where the unit was first seen, and counts if it happened in the
    window. A unit counts once its window, and the time that reports may take, are over.
    """

    type: Literal["event"]
    event: Key
    value: Literal["happened", "count", "sum"] = Field(
        default="happened", description="Whether there was such an event, how many, or the sum of a property."
    )
    field: PropertyPath | None = Field(default=None, description="The property that is summed, for value sum alone.")
    late_s: float = Field(
        default=3600,
        ge=0,
        le=30 * 86_400,
        description="Seconds after the window during which a report of an event in it still counts.",
    )


Source = Annotated[
    RewardSource
    | ValueSource
    | CountSource
    | RatioSource
    | RetentionSource
    | SessionsSource
    | QuantileSource
    | EventSource,
    Field(discriminator="type"),
]


class ContextCovariate(Model):
    """A number in the context of a unit's first decision, which the arm cannot have changed."""

    type: Literal["context"]
    field: str = Field(min_length=1, max_length=200)


class HistoryCovariate(Model):
    """What the unit's decisions in other experiments earned in so many days before its first decision in this one."""

    type: Literal["history"]
    days: float = Field(default=28, gt=0, le=365)


Covariate = Annotated[ContextCovariate | HistoryCovariate, Field(discriminator="type")]


class MetricSpec(Sparse):
    """One metric."""

    newer: ClassVar = {"covariate": None, "on_crossed": "fall_back"}

    key: Key
    name: str = Field(default="", max_length=200)
    role: Literal["primary", "secondary", "guardrail"] = "secondary"
    source: Source
    direction: Literal["increase", "decrease"] = Field(default="increase", description="Which way is better.")
    window_s: float | None = Field(
        default=None,
        ge=1,
        le=365 * 86_400,
        description="Seconds after the decision during which reports count; of an event, after a unit's first exposure.",
    )
    winsorize: float | None = Field(
        default=None,
        gt=0.5,
        lt=1,
        description="Values per unit beyond this quantile of all units, on either side, are set to it.",
    )
    min_effect: float = Field(
        default=0.0, ge=0, le=10, description="Relative change that matters; the margin of a guardrail."
    )
    on_crossed: Literal["fall_back", "stop_arm", "pause", "tell"] = Field(
        default="fall_back",
        description="Of a guardrail that an arm crosses: its fallback decides, if it has one; the control gets its share; the "
        "experiment pauses; or nothing is changed.",
    )
    covariate: Covariate | None = Field(
        default=None,
        description="Known before a unit was assigned; what it explains is taken out of the noise (CUPED).",
    )


class DecisionRule(Sparse):
    """When to ship and when to stop, written down at launch."""

    newer: ClassVar = {"planned_units": None, "max_decisions_per_day": None}

    alpha: float = Field(default=0.05, gt=0, lt=0.5, description="Share of false alarms that is accepted.")
    min_units: int = Field(default=100, ge=2, description="Smallest number of units per arm for a verdict.")
    min_days: float = Field(
        default=7, ge=0, le=365, description="Smallest number of days for a verdict: weekdays differ from weekends."
    )
    max_days: float | None = Field(
        default=None, gt=0, le=3650, description="Days after which to stop, whatever the results."
    )
    planned_units: int | None = Field(
        default=None,
        ge=4,
        description="Planned units of all arms. Always-valid intervals are narrowest there.",
    )
    max_decisions_per_day: int | None = Field(
        default=None,
        ge=1,
        description="Reports leave out units with more decisions than that on a day (UTC).",
    )


DEFAULT_METRIC = MetricSpec(
    key="reward", name="Reward per decision", role="primary", source=RewardSource(type="reward")
)
