"""Learnings: what was decided about experiments, why, by whom, and what the results said. Searchable and exported."""

import csv
import io

from sqlalchemy import Engine

from app.foundation.fields import Document
from app.foundation.formats.spreadsheet import neutral
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.impact.store import learnings as store

MOST = 5000  # lines that are searched, the newest
FIELDS = ("at", "kind", "experiment", "name", "arm", "actor", "reason", "hypothesis", "verdict", "metric", "lift")


class LearningLine(Document):
    """One thing that somebody decided, or noted."""

    at: str  # ISO 8601
    kind: str
    experiment: str | None  # key; null: it concerns the platform
    name: str
    hypothesis: str
    arm: str | None
    actor: str
    reason: str
    verdict: str | None  # of the decision rule, in the newest results
    metric: str | None
    lift: float | None  # of the best arm on the metric that decides
    lift_low: float | None
    lift_high: float | None


class Learnings(Document):
    """What was decided, newest first."""

    learnings: list[LearningLine]


def find(engine: Engine, search: str = "", experiment: str | None = None) -> Learnings:
    """The newest decisions that match.

    :param search: words; each must occur in the key, the name, the hypothesis, the reason, the arm or who it was.
    """
    with transaction(engine) as connection:
        rows = store.newest(connection, experiment, MOST)
    words = search.lower().split()
    return Learnings(learnings=[_learning(row) for row in rows if all(word in _text(row) for word in words)])


def as_csv(found: Learnings) -> str:
    """Learnings as CSV; a cell that a spreadsheet would take for a formula is a text."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(FIELDS)
    for learning in found.learnings:
        writer.writerow([neutral(getattr(learning, name)) for name in FIELDS])
    return file.getvalue()


def _learning(row: store.Decided) -> LearningLine:
    values = {name: value for name, value in row._asdict().items() if name not in ("id", "at")}
    return LearningLine(at=iso(row.at), **values)


def _text(row: store.Decided) -> str:
    parts = (row.experiment, row.name, row.hypothesis, row.reason, row.arm, row.actor)
    return " ".join(part for part in parts if part).lower()
