"""The library of metrics: definitions that people saved once, and take into experiments.

An experiment gets a copy. So a metric that is saved again changes no experiment, and what was declared at launch stays.
"""

from collections.abc import Sequence

from pydantic import Field
from sqlalchemy import Engine

from app.design.definition_rules import problems_of_metric
from app.design.metric_config import MetricSpec
from app.design.store import saved_metrics as store
from app.design.store.saved_metrics import StoredMetric, Use
from app.foundation.errors import FieldError, NotFound
from app.foundation.fields import Document, invalid
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.foundation.times import iso

MOST = 500  # metrics that are kept


class SavedMetric(Document):
    """A metric of the library."""

    key: str
    metric: MetricSpec
    version: int = Field(description="One more each time it is saved.")
    saved_by: str
    saved_at: str
    experiments: list[str] = Field(description="Keys of the experiments that have a metric with this key.")
    differing: list[str] = Field(description="Those of them whose metric is defined in another way.")


class SavedMetrics(Document):
    """The library of metrics."""

    metrics: list[SavedMetric]


def listed(engine: Engine) -> list[SavedMetric]:
    """Every metric of the library, by key, with the experiments that have it."""
    with transaction(engine) as connection:
        rows, used = store.every(connection), store.uses(connection)
    return [_document(row, used) for row in rows]


def metrics(engine: Engine) -> list[MetricSpec]:
    """The definitions of the library, by key."""
    with transaction(engine) as connection:
        return [MetricSpec.model_validate(row.definition) for row in store.every(connection)]


def keep(engine: Engine, metric: MetricSpec, actor: str) -> SavedMetric:
    """Save a metric under its key; an older one of that key is replaced.

    :raises Unprocessable: the metric has errors, or the library is full.
    """
    if problems := [*problems_of_metric(metric)]:
        raise invalid(tuple(problems))
    with transaction(engine) as connection:
        before = store.find(connection, metric.key, lock=True)
        if before is None and store.count(connection) >= MOST:
            raise invalid((FieldError("/key", "library_full", {"limit": MOST}),))
        definition = metric.model_dump(mode="json")
        if before is None or before.definition != definition:
            store.put(connection, metric.key, definition, actor)
            shown = None if before is None else before.definition
            platform.record_change(connection, actor=actor, kind="metric_saved", before=shown, after=definition)
        row = store.find(connection, metric.key)
        assert row is not None
        return _document(row, store.uses(connection))


def remove(engine: Engine, key: str, actor: str) -> None:
    """Take a metric out of the library. Experiments that have it keep it.

    :raises NotFound: the library has no such metric.
    """
    with transaction(engine) as connection:
        row = store.find(connection, key, lock=True)
        if row is None:
            raise NotFound("unknown_saved_metric", f"The library has no metric {key!r}.")
        store.remove(connection, key)
        platform.record_change(connection, actor=actor, kind="metric_removed", before=row.definition)


def _document(row: StoredMetric, uses: Sequence[Use]) -> SavedMetric:
    metric = MetricSpec.model_validate(row.definition)
    theirs = {use.experiment: MetricSpec.model_validate(use.definition) for use in uses if use.key == row.key}
    return SavedMetric(
        key=row.key,
        metric=metric,
        version=row.version,
        saved_by=row.actor,
        saved_at=iso(row.saved_at),
        experiments=sorted(theirs),
        differing=sorted(key for key, their in theirs.items() if their != metric),
    )
