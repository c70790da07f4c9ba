"""The health checks of an experiment as they are stored, answered and shown. See ``app.reporting.health_checks``."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from app.foundation.fields import Document
from app.reporting.documents.results import SampleRatio


class SampleRatioCheck(SampleRatio):
    """Units against the arms' shares."""

    check: Literal["sample_ratio"]


class ChoicesCheck(Document):
    """Choices against their logged propensities, in one arm, model version or segment."""

    check: Literal["choices"]
    group: str
    name: str
    alert: bool
    text: str
    decisions: int
    p_value: float | None
    anytime_p_value: float | None


class ConcentrationCheck(Document):
    """How evenly an arm shows the actions; never an alert."""

    check: Literal["concentration"]
    group: str
    name: str
    alert: bool
    text: str
    largest_share: float
    gini: float


class MissingRewardsCheck(Document):
    """Whether the arms miss rewards alike."""

    check: Literal["missing_rewards"]
    alert: bool
    text: str
    share: dict[str, float]  # by arm, of settled decisions with a reward
    p_value: float | None = None
    differs: bool = False


class ModelCheck(Document):
    """Whether an arm's newest model serves."""

    check: Literal["model"]
    group: str
    name: str
    alert: bool
    text: str


Check = Annotated[
    SampleRatioCheck | ChoicesCheck | ConcentrationCheck | MissingRewardsCheck | ModelCheck,
    Field(discriminator="check"),
]


class HealthSummary(Document):
    """What the list of experiments shows."""

    ok: bool
    choices: str | None = None  # the first alert of a check of choices, in words


class Health(Document):
    """All health checks of an experiment."""

    experiment: str
    ok: bool
    checks: list[Check]
    waiting_for_rewards: int
    late_rewards: int
    assumptions: list[str]

    def summary(self) -> HealthSummary:
        odd = (check for check in self.checks if isinstance(check, ChoicesCheck) and check.alert)
        return HealthSummary(
            ok=self.ok, choices=next((f"{check.text} ({check.group} {check.name})" for check in odd), None)
        )


class StoredHealth(Health):
    """Health checks that the worker computed, with their time."""

    computed_at: datetime
