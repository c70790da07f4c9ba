"""The audit that never ends: the worker recomputes what is new in every log, and keeps what it found.

What was found once stays on the pages until a whole audit (`loopwise audit`) finds that everything matches again.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from app.foundation.settings import Settings
from app.foundation.store import latest, platform
from app.foundation.store.engine import transaction
from app.registry.lookup import stored_experiment
from app.verification.audit import AuditReport, audit_experiment
from app.verification.store import audit as store

KIND = "audit"
EVERY_S = 60.0
FACTOR = 50.0  # at most one part in so many of a worker's time
MOST = 100_000  # newest decisions that one run looks at
OVERLAP = timedelta(minutes=1)  # a decision is stamped before it is committed


def stored(engine: Engine, key: str) -> dict[str, Any] | None:
    """What the newest run found (see ``AuditReport.as_json``), with ``since``, ``until`` and ``failed``; null: none ran.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        found = latest.get(connection, stored_experiment(connection, key).id, KIND)
    return None if found is None else found.body


def run_due(engine: Engine, settings: Settings) -> list[str]:
    """Audit what is new wherever it is due; returns the experiments' keys."""
    with transaction(engine) as connection:
        keys = latest.due(connection, KIND, every_s=EVERY_S, factor=FACTOR, statuses=latest.ANY_STATUS)
    for key in keys:
        run(engine, settings, key)
    return keys


def run(engine: Engine, settings: Settings, key: str) -> AuditReport:
    """Audit what is new since the last run, and keep what was found."""
    before = stored(engine, key)
    with transaction(engine) as connection:
        experiment_id = stored_experiment(connection, key).id
        began, until = time.monotonic(), platform.now(connection)
        since = store.time_of_newest(connection, experiment_id, MOST)
    if before is not None:
        new = datetime.fromisoformat(before["until"]) - OVERLAP
        since = new if since is None else max(new, since)
    report = audit_experiment(engine, settings, key, since=since)
    failed = before["failed"] if before is not None else None
    _keep(engine, report, since=since, until=until, failed=failed, seconds=time.monotonic() - began)
    return report


def run_whole(
    engine: Engine, settings: Settings, key: str, progress: Callable[[int, int], None] | None = None
) -> AuditReport:
    """Audit the whole log, and keep what was found in place of all earlier findings.

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
    failed: dict[str, Any] | None = None,
    seconds: float = 0.0,
) -> None:
    """Keep what an audit found.

    :param since: where it began; null: with the first decision.
    :param failed: an earlier run that found differences and was not cleared by a whole audit.
    """
    body = report.as_json() | {"since": since and since.isoformat(), "until": until.isoformat()}
    if not report.ok:
        failed = {"at": until.isoformat(), "findings": report.findings}
    words = "everything matches" if failed is None else f"{failed['findings'][0]} (found {failed['at'][:16]} UTC)"
    with transaction(engine) as connection:
        experiment_id = stored_experiment(connection, report.experiment).id
        summary = {"ok": failed is None, "text": words}
        latest.put(connection, experiment_id, KIND, summary, body | {"failed": failed}, seconds)
