"""What an experiment measures beside the reward that it learns from, and its decision rule.

Metrics and rule are written down before the data is seen; reports only evaluate them.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.foundation.fields import Key

MAX_METRICS = 30


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class RewardSource(_Strict):
    """The joined reward, per decision."""

    type: Literal["reward"]


class ValueSource(_Strict):
    """Sum of a reported metric's values, per decision or per unit."""

    type: Literal["value"]
    metric: Key
    per: Literal["decision", "unit"] = "decision"


class CountSource(_Strict):
    """Number of reports of a metric, per decision or per unit."""

    type: Literal["count"]
    metric: Key
    per: Literal["decision", "unit"] = "decision"


class RatioSource(_Strict):
    """Sum of one reported metric over the sum of another."""

    type: Literal["ratio"]
    numerator: Key
    denominator: Key


class RetentionSource(_Strict):
    """Share of units that are seen again, at least ``days`` days after they were first seen."""

    type: Literal["retention"]
    days: float = Field(gt=0, le=365)


class SessionsSource(_Strict):
    """Visits per unit: runs of decisions with gaps of at most ``gap_s``."""

    type: Literal["sessions"]
    gap_s: float = Field(default=1800, ge=1, le=86_400 * 7)


Source = Annotated[
    RewardSource | ValueSource | CountSource | RatioSource | RetentionSource | SessionsSource,
    Field(discriminator="type"),
]


class MetricSpec(_Strict):
    """One metric."""

    key: Key
    name: str = Field(default="", max_length=200)
    role: Literal["primary", "secondary", "guardrail"] = "secondary"
    source: Source
    direction: Literal["increase", "decrease"] = Field(default="increase", description="Which way is better.")
    window_s: float | None = Field(
        default=None, ge=1, le=365 * 86_400, description="Seconds after the decision during which reports count."
    )
    winsorize: float | None = Field(
        default=None, gt=0.5, lt=1, description="Values per unit above this quantile of all units are set to it."
    )
    min_effect: float = Field(
        default=0.0, ge=0, le=10, description="Relative change that matters; the margin of a guardrail."
    )


class DecisionRule(_Strict):
    """When to ship and when to stop, written down at launch."""

    alpha: float = Field(default=0.05, gt=0, lt=0.5, description="Share of false alarms that is accepted.")
    min_units: int = Field(default=100, ge=2, description="Smallest number of units per arm for a verdict.")
    min_days: float = Field(default=0, ge=0, le=365, description="Smallest number of days for a verdict.")
    max_days: float | None = Field(
        default=None, gt=0, le=3650, description="Days after which to stop, whatever the results."
    )


DEFAULT_METRIC = MetricSpec(
    key="reward", name="Reward per decision", role="primary", source=RewardSource(type="reward")
)
