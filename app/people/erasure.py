"""Erasure: every trace of a unit is removed, and the models that learned from it are learned again without it.

From the request on, no personal decision is made for the unit. The worker does the rest in one transaction: if it is killed
in the middle, it has changed nothing and begins again. The receipt says what was removed and, for each model, the
hash before and after; it names the unit only by a keyed hash.
"""

import structlog
from sqlalchemy import Connection, Engine

from app.accounts.keys import Caller, check_unbound
from app.deciding.store import units
from app.design.people_config import PURPOSES
from app.foundation.errors import NotFound, Unavailable
from app.foundation.ids import new_id
from app.foundation.secrets import Purpose, derive
from app.foundation.settings import Settings
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.learning.rebuild import why_not
from app.learning.relearn import relearn
from app.learning.store import training, warm
from app.people.documents import ErasedDecisions, ErasureAnswer, Receipt, ReceiptVersion, RelearnedModel
from app.people.receipts import sign
from app.people.store import erasures as store
from app.people.store.erasures import Erasure, Learned
from app.registry.store import experiments, models
from app.registry.store.models import Serving

log = structlog.get_logger()


def ask(engine: Engine, settings: Settings, caller: Caller, unit_id: str) -> ErasureAnswer:
    """Ask for the erasure of a unit. Asking again returns the erasure that waits.

    :raises Forbidden: the caller's key is bound to one experiment.
    """
    check_unbound(caller)
    unit_hash = hash_of(settings.secret_key, unit_id)
    with transaction(engine) as connection:
        units.hold(connection, [unit_id])
        waiting = store.waiting(connection, unit_hash)
        if not waiting:
            store.add(connection, new_id(), unit_hash, unit_id, caller.key_id)
            units.restrict(connection, unit_id, list(PURPOSES))
            waiting = store.waiting(connection, unit_hash)
    return _answer(waiting[0])


def look_up(engine: Engine, caller: Caller, erasure_id: str) -> ErasureAnswer:
    """An erasure, with its receipt once it is done.

    :raises NotFound: no erasure has that id.
    :raises Forbidden: the caller's key is bound to one experiment.
    """
    check_unbound(caller)
    with transaction(engine) as connection:
        row = store.find(connection, erasure_id)
    if row is None:
        raise NotFound("unknown_erasure", f"There is no erasure {erasure_id!r}.")
    return _answer(row)


def newest(engine: Engine, most: int = 50) -> list[Erasure]:
    """The newest erasures."""
    with transaction(engine) as connection:
        return store.newest(connection, most)


def run_waiting(engine: Engine, settings: Settings) -> list[str]:
    """Do every requested erasure; returns the ids of the finished ones. An erasure that fails is tried again later.

    :raises Unavailable: the database is away.
    """
    with transaction(engine) as connection:
        now = platform.now(connection)
        due = [row.id for row in store.waiting(connection) if row.retry_at is None or row.retry_at <= now]
    return [erasure_id for erasure_id in due if _tried(engine, settings, erasure_id)]


def hash_of(secret: str, unit_id: str) -> str:
    """The keyed hash by which a receipt names its unit. Anybody who knows the unit and the secret can check it."""
    return derive(secret, Purpose.ERASED_UNIT, unit_id.encode()).hex()


def _answer(erasure: Erasure) -> ErasureAnswer:
    return ErasureAnswer.model_validate(
        {
            "erasure_id": erasure.id,
            "status": erasure.status,
            "problem": erasure.problem,
            "requested_at": iso(erasure.requested_at),
            "done_at": iso(erasure.done_at) if erasure.done_at else None,
            "retry_at": iso(erasure.retry_at) if erasure.retry_at else None,
            "receipt": erasure.receipt,
        }
    )


def _tried(engine: Engine, settings: Settings, erasure_id: str) -> bool:
    """Try an erasure. False: it failed; the failure is shown, and other erasures go on."""
    try:
        _erase(engine, settings, erasure_id)
    except Unavailable:
        raise
    except Exception as error:
        log.exception("erasure_failed", erasure_id=erasure_id)
        with transaction(engine) as connection:
            store.note_failure(connection, erasure_id, why_not(error))
        return False
    return True


def _erase(engine: Engine, settings: Settings, erasure_id: str) -> None:
    with transaction(engine) as connection:
        erasure = store.find(connection, erasure_id)
        if erasure is None or erasure.unit_id is None:
            return  # another process did it in the meantime
        experiment_ids = store.experiments_of(connection, erasure.unit_id)
        _hold_learners(connection, experiment_ids)
        store.hold_sums(connection, experiment_ids)
        decisions = store.decisions_of(connection, erasure.unit_id)
        learned = store.learned_from(connection, decisions)
        lessons = store.forget_lessons(connection, decisions)
        warm_lessons = warm.forget(connection, decisions)
        relearned = _relearn(connection, settings, learned)
        # Locked only now, and briefly, because writers of the unit's rows wait. Decisions in the meantime were never learned.
        store.hold_writers(connection, erasure.unit_id)
        decisions = store.decisions_of(connection, erasure.unit_id)
        counts = store.decisions_by_arm(connection, decisions)
        removed = store.remove(connection, erasure.unit_id, decisions)
        removed["training_ledger"] += lessons
        removed["warm_lessons"] = warm_lessons
        receipt = Receipt(
            erasure_id=erasure.id,
            unit_hash=erasure.unit_hash,
            removed=removed,
            decisions=[ErasedDecisions(**count._asdict()) for count in counts],
            models=relearned,
        ).as_json()
        store.finish(connection, erasure.id, receipt | {"signature": sign(settings.secret_key, receipt)})
    with transaction(engine) as connection:
        store.sample_again(connection)


def _hold_learners(connection: Connection, experiment_ids: list[int]) -> None:
    """Let nothing learn in these experiments, and in those whose arms began with what was decided here.

    A warm start holds the experiment that it learns from. So what began meanwhile is seen once these are locked.
    """
    held: set[int] = set()
    while wanted := {*experiment_ids, *warm.learners(connection, experiment_ids)} - held:
        for experiment_id in sorted(wanted):
            training.lock_every_lineage(connection, experiment_id)
        held |= wanted


def _relearn(connection: Connection, settings: Settings, learned: list[Learned]) -> list[RelearnedModel]:
    """Replace the models of every arm that learned from the unit, and their descendants, by models without it.

    An arm may begin with a copy of another's version. Arms come in the order of their oldest such version, so that the one
    that was copied is learned again before its copy.
    """
    by_arm: dict[tuple[int, str], set[int]] = {}
    for version in store.descendants(connection, [version.version_id for version in learned]):
        by_arm.setdefault((version.experiment_id, version.arm), set()).add(version.version_id)
    models_without = []
    for (experiment_id, arm), tainted in by_arm.items():
        old = _serving(connection, experiment_id, arm)
        done = relearn(connection, settings, experiment_id, arm, tainted)
        new = _serving(connection, experiment_id, arm)
        models_without.append(
            RelearnedModel(
                experiment=experiments.key_of(connection, experiment_id),
                arm=arm,
                old=ReceiptVersion(version=old.number, sha256=old.sha256),
                new=ReceiptVersion(version=new.number, sha256=new.sha256, learned=new.examples),
                forgotten_versions=done.tainted,
                relearned_versions=done.relearned,
            )
        )
    return sorted(models_without, key=lambda model: (model.experiment, model.arm))


def _serving(connection: Connection, experiment_id: int, arm: str) -> Serving:
    (serving,) = (row for row in models.serving(connection, experiment_id=experiment_id) if row.arm == arm)
    return serving
