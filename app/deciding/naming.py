"""Finds what a call names: an experiment by its key, a decision by its id.

A decision's id is unique within its experiment. A call that has only the id means the experiment of its API key; a key that is
bound to none means the one experiment that has such a decision.
"""

from collections.abc import Collection

from pydantic import BaseModel, Field
from sqlalchemy import Engine

from app.accounts.keys import Caller
from app.deciding.prepare import SLOT, position_id
from app.deciding.runtime import Runtime
from app.deciding.snapshot import Experiment, Snapshot
from app.deciding.store import decisions
from app.design.experiment_config import MAX_POSITIONS
from app.foundation.errors import Conflict, NotFound
from app.foundation.fields import Key
from app.foundation.running.steps import Blocking, Steps
from app.foundation.store.engine import transaction
from app.foundation.store.fragments import DecisionKey
from app.registry.lookup import unknown_experiment


class DecisionPath(BaseModel):
    """The part of an address that names a decision."""

    decision_id: str


class ExperimentQuery(BaseModel):
    """The experiment of the decision that an address names."""

    experiment: Key | None = Field(
        default=None,
        description="The decision's experiment. A key that may use several needs it if several have that id.",
    )


def find_experiment(runtime: Runtime, caller: Caller, key: str) -> Steps[Experiment]:
    """Return the experiment with this key, if the caller may use it.

    :raises NotFound: no experiment has this key.
    :raises Forbidden: the caller's API key is bound to another experiment. It does not learn whether this one exists.
    """
    if caller.experiment_id is not None:
        bound = runtime.snapshots.current.by_id.get(caller.experiment_id)
        if bound is not None and bound.key != key:
            caller.check_bound(None)
    experiment = runtime.snapshots.current.experiments.get(key)
    if experiment is None or experiment.status != "running":  # another process may just have started it
        snapshot: Snapshot = yield Blocking(runtime.refresh)
        experiment = snapshot.experiments.get(key)
    if experiment is None:
        caller.check_bound(None)
        raise unknown_experiment(key)
    caller.check_bound(experiment.id)
    return experiment


def experiment_of(runtime: Runtime, experiment_id: int) -> Experiment:
    """Return the experiment of a stored decision, even if another process has just created it."""
    experiment = runtime.snapshots.current.by_id.get(experiment_id)
    return experiment or runtime.refresh().by_id[experiment_id]


def find_decision(
    runtime: Runtime, caller: Caller, decision_id: str, experiment: str | None, having: Collection[int]
) -> DecisionKey:
    """Return the decision that a call means.

    :param experiment: key of the experiment that the call names; None: it names none.
    :param having: ids of the experiments that have a decision of that id.
    :raises NotFound: none of them is one that the caller may use and means. It does not learn of the others.
    :raises Conflict: several are.
    """
    meant = [
        id_
        for id_ in having
        if caller.sees(id_) and (experiment is None or experiment_of(runtime, id_).key == experiment)
    ]
    if not meant:
        raise unknown_decision(decision_id)
    if len(meant) > 1:
        message = f"{len(meant)} experiments have a decision {decision_id!r}; name one of them as `experiment`."
        raise Conflict("decision_id_ambiguous", message)
    return meant[0], decision_id


def unknown_decision(decision_id: str) -> NotFound:
    """Return the error for an id that no decision has."""
    return NotFound("unknown_decision", f"There is no decision {decision_id!r}.")


def slots_of_list(engine: Engine, experiment_id: int, decision_id: str) -> dict[str, str]:
    """Return the id of each slot's decision, by the id of the slot, from the top.

    :raises NotFound: the experiment has no list of slots with that id.
    """
    keys = [(experiment_id, position_id(decision_id, position)) for position in range(1, 1 + MAX_POSITIONS)]
    with transaction(engine) as connection:
        rows = decisions.find_many(connection, keys)
    by_slot: dict[str, str] = {}
    for key in keys:
        place = rows[key].context.get(SLOT) if key in rows else None
        if isinstance(place, dict) and isinstance(name := place.get("id"), str):
            by_slot[name] = key[1]
    if not by_slot:
        raise unknown_decision(decision_id)
    return by_slot
