"""The shapes of planning questions."""

from typing import Literal

from pydantic import Field

from app.foundation.fields import Key, Model


class MetricPlan(Model):
    """A comparison of two arms on one metric."""

    kind: Literal["mean", "proportion", "count", "ratio"] = "mean"
    value: float | None = Field(default=None, description="The control's expected value; or take it from `experiment`.")
    std: float | None = Field(
        default=None,
        gt=0,
        description="Standard deviation per unit; for a ratio of (numerator - ratio * denominator) / mean(denominator).",
    )
    dispersion: float = Field(default=1.0, gt=0, description="Variance over mean, for counts.")
    correlation: float = Field(default=0.0, gt=-1, lt=1, description="Of the metric with a covariate, for CUPED.")
    experiment: Key | None = Field(default=None, description="Take the baseline from this experiment's log.")
    metric: str = Field(default="reward", description="Which of its metrics.")
    test: Literal["always_valid", "one_look"] = Field(
        default="always_valid", description="The test that results run at every look, or a single look at the end."
    )
    declared: bool = Field(
        default=False,
        description="The experiment declares the planned units (`decision_rule.planned_units`), for which its always-valid "
        "intervals are then narrowest.",
    )
    solve_for: Literal["units", "effect", "power"] = "units"
    effect: float | None = Field(default=None, description="Absolute effect that must be seen.")
    relative_effect: float | None = Field(default=None, description="The same, relative to the control's value.")
    units: int | None = Field(default=None, ge=4, description="Units in both arms together.")
    power: float = Field(default=0.8, gt=0, lt=1)
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    treatment_share: float = Field(default=0.5, gt=0, lt=1)
    units_per_day: float | None = Field(default=None, gt=0)


class BanditPlan(Model):
    """A simulation of a bandit over actions with these mean rewards."""

    means: list[float] | None = Field(
        default=None, min_length=2, max_length=100, description="Mean reward per action; the first is the control."
    )
    experiment: Key | None = Field(
        default=None, description="Take the means of its actions from this experiment's log."
    )
    rounds: int = Field(default=5000, ge=100, le=100_000)
    batch: int = Field(default=100, ge=1)
    policy: Literal["uniform", "epsilon_greedy", "thompson"] = "epsilon_greedy"
    floor: float = Field(default=0.05, ge=0, le=1)
    epsilon: float = Field(default=0.1, ge=0, le=1)
    reward_std: float | None = Field(default=None, gt=0, description="For rewards that are not yes or no.")
    runs: int = Field(default=200, ge=10, le=2000)
    seed: int = Field(default=1, ge=0, le=2**63 - 1)


class PowerRequest(Model):
    """A question about a metric or about a bandit; exactly one of the two."""

    metric: MetricPlan | None = None
    bandit: BanditPlan | None = None
