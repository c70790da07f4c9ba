"""Model versions and which of them serves."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.foundation.fields import JsonObject
from app.foundation.store import tables

# How the lineage of a staged candidate begins: with what was learned from the decisions of all arms, or with a copy of a version.
STAGED, COPIED = "staged", "copied"
_m = tables.model_versions
_l = tables.lineages


class VersionInfo(NamedTuple):
    """One model version without its bytes."""

    id: int
    experiment_id: int
    arm: str
    number: int
    parent_id: int | None  # null: the untrained model
    kind: str  # initial, incremental, refit, rebuild, relearned, challenger, staged, copied, warm
    examples: int
    sha256: str
    signature: str
    manifest: JsonObject
    checks: JsonObject
    created_at: datetime
    erased_at: datetime | None  # when its bytes, or those that it had, were removed; null: they are stored

    @property
    def forgotten(self) -> bool:
        """True when there are no bytes: an erasure removed them, and they could not be learned again."""
        return self.erased_at is not None and not self.manifest.get("relearned")


class Serving(NamedTuple):
    """The serving version of a lineage."""

    experiment_id: int
    arm: str
    version_id: int
    number: int
    sha256: str
    examples: int
    created_at: datetime
    problem: str | None  # why the newest round did not go into service


_columns = [_m.c[name] for name in VersionInfo._fields]


class NewVersion(NamedTuple):
    """A model version that is about to be stored; fields as in ``VersionInfo``."""

    experiment_id: int
    arm: str
    number: int
    parent_id: int | None
    kind: str
    examples: int
    manifest: JsonObject
    checks: JsonObject


def add(connection: Connection, version: NewVersion, *, model: bytes, sha256: str, signature: str) -> int:
    """Store a version; returns its id.

    :param model: its bytes, compressed.
    """
    values = version._asdict() | {"model": model, "sha256": sha256, "signature": signature}
    return int(connection.execute(insert(_m).values(**values).returning(_m.c.id)).scalar_one())


def replace(connection: Connection, version_id: int, version: NewVersion, packed: dict[str, bytes | str]) -> None:
    """Put other bytes in the place of a version's, because they knew an erased unit.

    :param packed: model, sha256 and signature.
    """
    values = {"examples": version.examples, "manifest": version.manifest, "checks": version.checks} | packed
    erased = func.clock_timestamp()
    connection.execute(update(_m).where(_m.c.id == version_id).values(**values, erased_at=erased))


def forget(connection: Connection, version_id: int) -> None:
    """Remove the bytes of a version; its row stays."""
    manifest = _m.c.manifest.op("-")("relearned")
    values = {"model": b"", "manifest": manifest, "erased_at": func.clock_timestamp()}
    connection.execute(update(_m).where(_m.c.id == version_id).values(**values))


def by_id(connection: Connection, version_id: int) -> VersionInfo:
    """A version, which exists."""
    return VersionInfo._make(connection.execute(select(*_columns).where(_m.c.id == version_id)).one())


def of_experiment(connection: Connection, experiment_id: int, arm: str | None = None) -> list[VersionInfo]:
    """Every version of an experiment, by arm and number."""
    query = select(*_columns).where(_m.c.experiment_id == experiment_id).order_by(_m.c.arm, _m.c.number)
    if arm is not None:
        query = query.where(_m.c.arm == arm)
    return [VersionInfo._make(row) for row in connection.execute(query)]


def newest(connection: Connection, experiment_id: int, arm: str, *, before: int | None, most: int) -> list[VersionInfo]:
    """The newest versions of a lineage, or those before a number, newest first."""
    query = select(*_columns).where(_m.c.experiment_id == experiment_id, _m.c.arm == arm)
    if before is not None:
        query = query.where(_m.c.number < before)
    rows = connection.execute(query.order_by(_m.c.number.desc()).limit(most))
    return [VersionInfo._make(row) for row in rows]


def count(connection: Connection, experiment_id: int, arm: str) -> int:
    """Versions of a lineage; numbers have no gaps."""
    return next_number(connection, experiment_id, arm)


def number_of(connection: Connection, version_id: int) -> int:
    """The number of a version."""
    return int(connection.execute(select(_m.c.number).where(_m.c.id == version_id)).scalar_one())


def root_of(connection: Connection, version_id: int) -> VersionInfo:
    """The untrained version that a version came from."""
    query = """
        WITH RECURSIVE up AS (
            SELECT id, parent_id FROM model_versions WHERE id = :id
            UNION ALL
            SELECT m.id, m.parent_id FROM up JOIN model_versions m ON m.id = up.parent_id
        )
        SELECT id FROM up WHERE parent_id IS NULL
    """
    root = connection.execute(text(query), {"id": version_id}).scalar_one()
    return VersionInfo._make(connection.execute(select(*_columns).where(_m.c.id == root)).one())


def find(connection: Connection, experiment_id: int, arm: str, number: int) -> VersionInfo | None:
    """One version by its number."""
    query = select(*_columns).where(_m.c.experiment_id == experiment_id, _m.c.arm == arm, _m.c.number == number)
    row = connection.execute(query).first()
    return None if row is None else VersionInfo._make(row)


def find_kind(connection: Connection, experiment_id: int, arm: str, kind: str) -> VersionInfo | None:
    """The newest version of a kind; null: the lineage has none."""
    query = select(*_columns).where(_m.c.experiment_id == experiment_id, _m.c.arm == arm, _m.c.kind == kind)
    row = connection.execute(query.order_by(_m.c.number.desc()).limit(1)).first()
    return None if row is None else VersionInfo._make(row)


def begun_with(connection: Connection, experiment_id: int, arm: str) -> VersionInfo | None:
    """The version that an arm began with as a staged candidate; null: it began untrained."""
    query = select(*_columns).where(_m.c.experiment_id == experiment_id, _m.c.arm == arm)
    row = connection.execute(query.where(_m.c.kind.in_([STAGED, COPIED])).order_by(_m.c.number.desc()).limit(1)).first()
    return None if row is None else VersionInfo._make(row)


def load(connection: Connection, version_id: int) -> tuple[VersionInfo, bytes]:
    """One version with its compressed bytes."""
    row = connection.execute(select(*_columns, _m.c.model).where(_m.c.id == version_id)).one()
    info = VersionInfo(**{name: value for name, value in row._mapping.items() if name != "model"})
    return info, bytes(row.model)


def next_number(connection: Connection, experiment_id: int, arm: str) -> int:
    """One more than the highest number of the lineage, 0 for the first; call it under the lineage's lock."""
    query = select(func.coalesce(func.max(_m.c.number), -1)).where(_m.c.experiment_id == experiment_id, _m.c.arm == arm)
    return int(connection.execute(query).scalar_one()) + 1


def serve(connection: Connection, experiment_id: int, arm: str, version_id: int, revision: int) -> None:
    """Make a version the serving one."""
    row = {"experiment_id": experiment_id, "arm": arm, "serving_version_id": version_id, "revision": revision}
    query = upsert(_l).values(**row, problem=None)
    changed = {"serving_version_id": version_id, "revision": revision, "problem": None}
    connection.execute(query.on_conflict_do_update(index_elements=["experiment_id", "arm"], set_=changed))


def report_problem(connection: Connection, experiment_id: int, arm: str, problem: str) -> None:
    """Record why the newest round did not go into service."""
    where = (_l.c.experiment_id == experiment_id) & (_l.c.arm == arm)
    connection.execute(update(_l).where(where).values(problem=problem))


def serving(connection: Connection, *, since_revision: int = -1, experiment_id: int | None = None) -> list[Serving]:
    """The serving version of each lineage that changed after a revision (of one experiment)."""
    columns = [
        _l.c.experiment_id,
        _l.c.arm,
        _m.c.id,
        _m.c.number,
        _m.c.sha256,
        _m.c.examples,
        _m.c.created_at,
        _l.c.problem,
    ]
    query = select(*columns).join(_m, _m.c.id == _l.c.serving_version_id).where(_l.c.revision > since_revision)
    if experiment_id is not None:
        query = query.where(_l.c.experiment_id == experiment_id)
    return [Serving._make(row) for row in connection.execute(query)]


class LeftOut(NamedTuple):
    """Features that a serving model does not learn from, by what was found about them."""

    experiment: str  # key
    arm: str
    reason: str  # code of a note in the manifest
    features: int


def left_out(connection: Connection) -> list[LeftOut]:
    """Features that the serving models of running experiments do not learn from."""
    query = """
        SELECT e.key AS experiment, g.arm, note->>'code' AS reason, count(*) AS features
        FROM lineages g JOIN experiments e ON e.id = g.experiment_id JOIN model_versions m ON m.id = g.serving_version_id
            CROSS JOIN LATERAL jsonb_array_elements(m.manifest->'learner'->'notes') note
        WHERE e.status = 'running' AND note->>'code' IN ('constant', 'identifier_like', 'timestamp_like', 'crowded')
        GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    """
    return [LeftOut._make(row) for row in connection.execute(text(query))]
