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


class HeavyUnit(Document):
    """A unit that makes many of an arm's decisions."""

    arm: str
    unit_id: str
    decisions: int
    share: float  # of the arm's decisions


class HeavyUnitsCheck(Document):
    """Whether a few units make most of an arm's decisions."""

    check: Literal["heavy_units"]
    group: str
    name: str  # arm
    alert: bool
    text: str
    units: int
    effective_units: float
    heaviest: list[HeavyUnit]


class MovedUnitsCheck(Document):
    """Whether changes of the shares moved units from arm to arm."""

    check: Literal["moved_units"]
    alert: bool
    text: str
    moved: int
    share: float


class ClocksCheck(Document):
    """Whether reports carry times that cannot be; never an alert, because the time of receipt takes their place."""

    check: Literal["clocks"]
    alert: bool
    text: str
    reports: int
    impossible: int


class ModelCheck(Document):
    """Whether an arm's newest model serves."""

    check: Literal["model"]
    group: str
    name: str
    alert: bool
    text: str


Check = Annotated[
    SampleRatioCheck
    | ChoicesCheck
    | ConcentrationCheck
    | MissingRewardsCheck
    | HeavyUnitsCheck
    | MovedUnitsCheck
    | ClocksCheck
    | ModelCheck,
    Field(discriminator="check"),
]


class HealthSummary(Document):
    """What the list of experiments shows."""

    ok: bool
    choices: str | None = None  # the first alert of a check of choices, in words
    units: str | None = None  # the first alert about heavy or moved units, in words


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
        units = (check for check in self.checks if isinstance(check, HeavyUnitsCheck | MovedUnitsCheck) and check.alert)
        return HealthSummary(
            ok=self.ok,
            choices=next((f"{check.text} ({check.group} {check.name})" for check in odd), None),
            units=next((check.text for check in units), None),
        )


class StoredHealth(Health):
    """Health checks that the worker computed, with their time."""

    computed_at: datetime
