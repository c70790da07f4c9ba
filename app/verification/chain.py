"""Compare the log with its chain: what was deleted, added or changed after its commit.

A link for each commit batch counts its rows; anchors join links. Somebody who can write everything can put an older state of the
whole database in place, chain included. So `loopwise audit` prints the newest anchor, and compares one that was noted elsewhere.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Engine

from app.foundation.store import chain as store
from app.foundation.store import orphans
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.verification.audit_report import AuditReport

NEW_ANCHORS = 20  # that the standing audit checks again
NO_EXPERIMENT = 0  # changes of keys, people and settings


def check_links(connection: Connection, experiment_id: int, since: datetime | None, report: AuditReport) -> None:
    """Compare each kind of rows of an experiment with their links, and look for rows without a decision.

    Decisions of dropped months are not looked for.
    """
    until = store.dropped(connection, experiment_id).until
    decided = max((moment for moment in (since, until) if moment is not None), default=None)
    report.dropped_before = None if until is None else iso(until)
    for kind in store.KINDS:
        compared = store.compare(connection, kind, experiment_id, decided if kind is store.DECISIONS else since)
        report.batches += compared.moments
        report.before_chain += compared.before
        report.batches_differ += len(compared.differences)
        for found in compared.differences:
            same = "of another content" if found.rows == found.linked else f"the chain has {found.linked}"
            report.add(f"{kind.table} stored at {found.at}: {found.rows} rows, {same}")
    for table, decision_id in orphans.orphans(connection, experiment_id, since):
        report.orphans += 1
        report.add(f"a row of {table} belongs to decision {decision_id!r}, which is not there, or is younger")
    for decision_id in orphans.unnamed(connection, experiment_id, decided):
        report.orphans += 1
        report.add(f"decision {decision_id!r} is not in decision_ids, so that nobody finds it by its id")


def check_chain(connection: Connection, report: AuditReport) -> None:
    """Check every link and every anchor of the installation."""
    note(report, _problems(connection, 0, None))


def audit_installation(engine: Engine, known: str | None = None) -> AuditReport:
    """Check the chain itself, and the trail of changes that belong to no experiment.

    :param known: an anchor that was noted elsewhere, as ``number:tag``.
    """
    report = AuditReport("the installation")
    with transaction(engine) as connection:
        check_links(connection, NO_EXPERIMENT, None, report)
        check_chain(connection, report)
        for decision_id in orphans.free_ids(connection):
            report.orphans += 1
            report.add(f"a row of decision_ids belongs to decision {decision_id!r}, which is not there")
        number, _, tag = (known or "").partition(":")
        if known and (not number.isdecimal() or store.anchor_tag(connection, int(number)) != tag):
            note(report, [f"the anchor {known} is not in the chain: an older state of the database was put in place"])
    return report


def newest_anchor(engine: Engine) -> str:
    """The newest anchor, as ``number:tag``."""
    with transaction(engine) as connection:
        number, tag = store.newest_anchor(connection)
    return f"{number}:{tag}"


def anchor(engine: Engine) -> list[str]:
    """Anchor the new links; returns what is wrong with the newest part of the chain. One process at a time."""
    with transaction(engine) as connection:
        store.anchor_new(connection)
        first = max(0, store.newest_anchor(connection)[0] - NEW_ANCHORS)
        return _problems(connection, first, store.anchored_at(connection, first))


def _problems(connection: Connection, first: int, since: datetime | None) -> list[str]:
    anchors = [
        f"anchor {number} of the chain: {problem}" for number, problem in store.broken_anchors(connection, first)
    ]
    links = store.forged_links(connection, since)
    return anchors + [f"link {number} of the chain does not match its signature" for number in links]


def note(report: AuditReport, problems: Sequence[str]) -> None:
    """Add problems of the chain itself to a report."""
    report.chain_broken += len(problems)
    for problem in problems:
        report.add(problem)
