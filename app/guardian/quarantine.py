"""The quarantine: whose decisions rounds do not learn, until a person releases them or excludes them for good.

An exclusion also reaches what was learned: the worker learns the models again without these decisions, as an erasure does, and
nothing is erased. The receipt has the hashes of the models before and after.
"""

from datetime import datetime

import structlog
from sqlalchemy import Connection, Engine

from app.foundation.errors import FieldError, NotFound
from app.foundation.fields import invalid
from app.foundation.isolation import each
from app.foundation.settings import Settings
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.guardian import openings
from app.guardian.quarantine_documents import (
    ExclusionReceipt,
    HeldUnit,
    ModelVersion,
    Quarantine,
    QuarantineRequest,
    Relearned,
    Suspect,
)
from app.guardian.store import quarantine as store
from app.guardian.store.quarantine import Criteria, StoredSuspect
from app.learning.holding import UNIT_SHARE
from app.learning.rebuild import rebuild_lineage
from app.learning.store import training
from app.people.receipts import sign
from app.registry.lookup import stored_experiment
from app.registry.store import experiments, models

KIND = "quarantine"
PERSON = "person"  # the rule of suspects that a person named
MOST = 200  # suspects and units that are listed
KINDS = {"hold": "quarantine_held", "release": "quarantine_released", "exclude": "quarantine_excluded"}
STATUSES = {"hold": ["released"], "release": ["held", "excluded"], "exclude": ["held", "released"]}

log = structlog.get_logger()


def listed(engine: Engine, key: str) -> Quarantine:
    """What is held out of an experiment's rounds, and for whom.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        return Quarantine(
            experiment=key,
            held=store.counts(connection, experiment.id),
            suspects=[_document(row) for row in store.listed(connection, experiment.id, MOST)],
            units=[
                HeldUnit(unit_id=row.unit_id, held=row.held)
                for row in store.heavy(connection, experiment.id, UNIT_SHARE, MOST)
            ],
        )


def change(engine: Engine, key: str, asked: QuarantineRequest, actor: str) -> Quarantine:
    """Hold decisions out, release them, or exclude them for good. The worker learns models again after an exclusion.

    :raises NotFound: no such experiment; or nothing that is held out fits.
    :raises Unprocessable: it is not said whose decisions are meant.
    """
    criteria = Criteria(asked.suspect, asked.rule, asked.unit_id, asked.key_id, asked.since, asked.until)
    if criteria == Criteria():
        raise invalid((FieldError("/unit_id", "missing"),))
    if asked.since is not None and asked.until is not None and asked.until <= asked.since:
        raise invalid((FieldError("/until", "ends_before_it_begins"),))
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key, lock=True)
        known = store.fitting(connection, experiment.id, criteria, STATUSES[asked.do])
        if asked.do == "release":
            count = _release(connection, experiment.id, criteria, known)
        elif asked.suspect is not None or asked.rule is not None:
            count = len(known)
            status = "excluded" if asked.do == "exclude" else "held"
            store.decide(connection, known, status, everything=asked.do == "exclude")
        else:
            count = 1
            hold(connection, experiment.id, criteria._replace(rule=PERSON), asked.reason, actor, do=asked.do)
        if not count:
            raise NotFound("unknown_suspect", f"Nothing that fits is held out of the rounds of {key!r}.")
        if asked.do != "hold":
            openings.close_of_suspects(connection, experiment.id, known, f"{asked.do}d", actor)
        platform.record_change(
            connection,
            actor=actor,
            kind=KINDS[asked.do],
            experiment_id=experiment.id,
            after={"suspects": known, "rule": asked.rule, "decisions": count if asked.do == "release" else None},
            reason=asked.reason,
        )
    return listed(engine, key)


def hold(
    connection: Connection, experiment_id: int, criteria: Criteria, why: str, actor: str, *, do: str = "hold"
) -> int:
    """Hold the decisions that fit out of rounds from now on; returns the suspect's id. The criteria name the rule."""
    return store.add(connection, experiment_id, criteria, "excluded" if do == "exclude" else "held", why, actor)


def _release(connection: Connection, experiment_id: int, criteria: Criteria, known: list[int]) -> int:
    """Release decisions, and whole suspects unless only some of their time is meant."""
    released = store.release(connection, experiment_id, criteria)
    if criteria.since is None and criteria.until is None:
        store.decide(connection, known, "released", everything=False)
        return released or len(known)
    return released


def run_waiting(engine: Engine, settings: Settings) -> list[str]:
    """Learn models again without what was excluded; returns the keys of experiments. One that fails is tried again later.

    :raises Unavailable: the database is away.
    """
    with transaction(engine) as connection:
        waiting = {experiment_id for experiment_id, _ in store.to_exclude(connection)}
        keys = sorted(experiments.keys_of(connection, waiting).values())
    return each(engine, KIND, keys, lambda key: _exclude(engine, settings, key))


def _exclude(engine: Engine, settings: Settings, key: str) -> None:
    with transaction(engine) as connection:
        experiment_id = stored_experiment(connection, key).id
        training.lock_every_lineage(connection, experiment_id)
        for _, suspect in store.to_exclude(connection, experiment_id):
            decisions = store.hold_past(connection, suspect)
            relearned = [
                _relearned(connection, settings, experiment_id, arm, suspect)
                for arm in store.taught(connection, suspect)
            ]
            plain = ExclusionReceipt(suspect=suspect, decisions=decisions, models=relearned, signature="").as_json()
            receipt = plain | {"signature": sign(settings.secret_key, plain)}
            store.finish(connection, suspect, receipt)
            platform.record_change(
                connection, actor="worker", kind="quarantine_relearned", experiment_id=experiment_id, after=receipt
            )
            log.info("excluded", experiment=key, suspect=suspect, decisions=decisions, models=len(relearned))


def _relearned(connection: Connection, settings: Settings, experiment_id: int, arm: str, suspect: int) -> Relearned:
    (serving,) = (row for row in models.serving(connection, experiment_id=experiment_id) if row.arm == arm)
    done = rebuild_lineage(connection, settings, experiment_id, arm, reason=f"exclusion of suspect {suspect}")
    return Relearned(
        arm=arm,
        old=ModelVersion(version=serving.number, sha256=done.old_sha256),
        new=ModelVersion(version=done.number, sha256=done.new_sha256),
        learned=done.decisions,
        promoted=done.promoted,
    )


def _document(row: StoredSuspect) -> Suspect:
    def moment(at: datetime | None) -> str | None:
        return None if at is None else iso(at)

    return Suspect.model_validate(
        row._asdict() | {name: moment(getattr(row, name)) for name in ("since", "until", "opened_at", "decided_at")}
    )
