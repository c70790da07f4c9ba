"""The answers to planning questions. See ``app.reporting.power``."""

from typing import Literal

from app.foundation.fields import Document


class PlanBaseline(Document):
    """The control's value and spread that a plan starts from."""

    kind: str
    value: float
    unit_std: float
    correlation: float


class ComparisonPlan(Document):
    """A plan to compare two arms; values that were not requested keep their defaults."""

    n_control: int = 0
    n_treatment: int = 0
    effect: float
    relative_effect: float | None = None
    power: float
    alpha: float = 0.05
    days: int | None = None
    baseline: PlanBaseline
    sequential_factor: float  # how many times the units an interval needs that holds at every look


class SimulatedBandit(Document):
    """Means over simulated runs of a bandit."""

    power: float | None
    best_share: float
    mean_reward: float
    uniform_reward: float
    contrast_std: float | None
    coverage: float | None
    means: dict[str, float] | list[float]  # by action, where they come from a log
    reason: str = ""  # why there is no power


class PlanAnswer(Document):
    """The answer to a planning question."""

    kind: Literal["metric", "bandit"]
    method: str
    assumptions: list[str]
    plan: ComparisonPlan | SimulatedBandit
