"""Reports with differential privacy as they are stored, answered and shown. See ``app.reporting.privacy``."""

from app.foundation.fields import Document


class PrivateArm(Document):
    """The figures of one arm, with noise; a suppressed arm has no figures."""

    arm: str
    suppressed: bool
    units: int | None = None
    mean_reward: float | None = None
    noise_of_mean: float | None = None


class StoredPrivateReport(Document):
    """A report as it is stored."""

    arms: list[PrivateArm]
    noise_of_units: float
    estimand: str
    privacy: str
    notes: list[str]


class PrivateReport(StoredPrivateReport):
    """A new report, and the budget that is left."""

    epsilon: float
    budget_left: float


class GivenReport(StoredPrivateReport):
    """An earlier report, and who asked for it."""

    epsilon: float
    actor: str
    at: str


class PrivateReports(Document):
    """All reports of an experiment, newest first."""

    budget: float
    budget_left: float
    reports: list[GivenReport]
