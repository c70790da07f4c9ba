"""What the worker keeps of each experiment for the list of experiments: one small summary of each kind of figures."""

from datetime import datetime

from app.foundation.fields import Document
from app.reporting.documents.activity import ActivitySummary
from app.reporting.documents.health import HealthSummary
from app.reporting.documents.results import ResultsSummary


class ActivityNow(ActivitySummary):
    """The summary of an experiment's activity, with its time."""

    computed_at: datetime


class AuditSummary(Document):
    """What the standing audit says."""

    ok: bool
    text: str = ""


class Summaries(Document):
    """Null: the worker has not computed figures of that kind yet."""

    results: ResultsSummary | None = None
    activity: ActivityNow | None = None
    health: HealthSummary | None = None
    audit: AuditSummary | None = None
