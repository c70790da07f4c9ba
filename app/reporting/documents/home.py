"""The summaries of an experiment that the worker stores for the list of experiments, one per kind of figures."""

from datetime import datetime

from app.foundation.fields import Document
from app.guardian.documents import WatchSummary
from app.reporting.documents.activity import ActivitySummary
from app.reporting.documents.health import HealthSummary
from app.reporting.documents.results import ResultsSummary


class ActivityNow(ActivitySummary):
    """The summary of an experiment's activity, with its time."""

    computed_at: datetime


class AuditSummary(Document):
    """The newest outcome of the standing audit."""

    ok: bool
    text: str = ""


class Summaries(Document):
    """The newest summaries; null when the worker has not computed that kind yet."""

    results: ResultsSummary | None = None
    activity: ActivityNow | None = None
    health: HealthSummary | None = None
    audit: AuditSummary | None = None
    guardian: WatchSummary | None = None
