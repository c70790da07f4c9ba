"""The standing audit: the worker recomputes the new part of every log, and stores the result.

A difference stays on the pages until a whole audit (`loopwise audit`) finds that everything matches again.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from pydantic import JsonValue
from sqlalchemy import Engine

from app.foundation.fields import Document
from app.foundation.isolation import each_due
from app.foundation.settings import Settings
from app.foundation.store import latest, platform
from app.foundation.store.engine import transaction
from app.foundation.store.locks import alone
from app.registry.lookup import stored_experiment
from app.verification import chain
from app.verification.audit import audit_experiment
from app.verification.audit_report import AuditReport
from app.verification.store import audit as store

KIND = "audit"
EVERY_S = 60.0
FACTOR = 50.0  # at most one part in so many of a worker's time
MOST = 100_000  # newest decisions that one run checks
OVERLAP = timedelta(minutes=1)  # a decision is stamped before it is committed


class FailedAudit(Document):
    """A run that found differences and was not cleared by a whole audit."""

    at: str
    findings: list[str]


class StandingAudit(Document):
    """The result of the newest run; the counts are those of ``AuditReport``."""

    ok: bool
    experiment: str
    decisions: int
    decisions_differ: int
    decisions_erased: int = 0
    versions: int
    versions_differ: int
    versions_erased: int = 0
    outcomes: int
    outcomes_differ: int
    ledger_rows: int
    unaccounted: int
    batches: int = 0
    batches_differ: int = 0
    before_chain: int = 0
    orphans: int = 0
    chain_broken: int = 0
    dropped_before: str | None = None
    findings: list[str]
    since: str | None  # where it began; null: with the first decision
    until: str
    failed: FailedAudit | None


def stored(engine: Engine, key: str) -> StandingAudit | None:
    """The result of the newest run; null: there was no run.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        document = latest.get(connection, stored_experiment(connection, key).id, KIND)
    return None if document is None else StandingAudit.model_validate(document.body)


def run_due(engine: Engine, settings: Settings) -> list[str]:
    """Anchor the chain, and audit the new part of each log that is due; returns the experiments' keys."""
    with alone(engine, "anchor") as granted:
        broken = chain.anchor(engine) if granted else []
    return each_due(engine, KIND, lambda key: run(engine, settings, key, broken), every_s=EVERY_S, factor=FACTOR)


def run(engine: Engine, settings: Settings, key: str, broken: Sequence[str] = ()) -> AuditReport:
    """Audit everything since the last run, and store the result.

    :param broken: what is wrong with the newest part of the chain.
    """
    before = stored(engine, key)
    with transaction(engine) as connection:
        experiment_id = stored_experiment(connection, key).id
        began, until = time.monotonic(), platform.now(connection)
        since = store.time_of_newest(connection, experiment_id, MOST)
    if before is not None:
        new = datetime.fromisoformat(before.until) - OVERLAP
        since = new if since is None else max(new, since)
    report = audit_experiment(engine, settings, key, since=since)
    chain.note(report, broken)
    failed = before.failed if before is not None else None
    _keep(engine, report, since=since, until=until, failed=failed, seconds=time.monotonic() - began)
    return report


def run_whole(
    engine: Engine, settings: Settings, key: str, progress: Callable[[int, int], None] | None = None
) -> AuditReport:
    """Audit the whole log, and store the result in place of all earlier ones.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        until = platform.now(connection)
    report = audit_experiment(engine, settings, key, progress)
    _keep(engine, report, since=None, until=until)
    return report


def _keep(
    engine: Engine,
    report: AuditReport,
    *,
    since: datetime | None,
    until: datetime,
    failed: FailedAudit | None = None,
    seconds: float = 0.0,
) -> None:
    """Store the result of an audit.

    :param since: where it began; null: with the first decision.
    :param failed: an earlier run that found differences and was not cleared by a whole audit.
    """
    if not report.ok:
        failed = FailedAudit(at=until.isoformat(), findings=report.findings)
    words = "everything matches" if failed is None else f"{failed.findings[0]} (found {failed.at[:16]} UTC)"
    times: dict[str, JsonValue] = {"since": since.isoformat() if since else None, "until": until.isoformat()}
    body = report.as_json() | times | {"failed": failed.as_json() if failed else None}
    with transaction(engine) as connection:
        experiment_id = stored_experiment(connection, report.experiment).id
        latest.put(connection, experiment_id, KIND, {"ok": failed is None, "text": words}, body, seconds)
