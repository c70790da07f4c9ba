"""Import and export logs. An imported log becomes a concluded experiment that can be evaluated like any other.

All rows are checked before any row is stored, and all are stored in one transaction. Imported decisions are marked:
Loopwise did not draw them, so the audit does not claim to have recomputed them.
"""

import math
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from app.design.definition_rules import parse_config
from app.design.experiment_config import MAX_ACTIONS, ExperimentConfig
from app.files.log_files import Record, format_of, skipped, write
from app.files.records import AS_EXPORTED, LoggedAction, Mapping, read_decisions
from app.files.refused import FileRefused
from app.files.store import transfer
from app.files.store.transfer import ImportedDecision
from app.foundation.errors import Conflict
from app.foundation.fields import JsonObject
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.registry.lookup import stored_experiment
from app.registry.store import experiments

ARM = "imported"
SLICE = 2000


class Imported(NamedTuple):
    """The result of an import."""

    experiment: str
    decisions: int
    actions: int
    skipped: dict[str, int]  # what the file holds beside decisions, by the reason for leaving it out


class _Summary(NamedTuple):
    """The summary of a file after the first reading."""

    rows: int
    actions: list[str]
    low: float
    high: float


def import_log(
    engine: Engine,
    path: Path,
    experiment_key: str,
    *,
    kind: str | None = None,
    mapping: Mapping = AS_EXPORTED,
    reward_range: tuple[float, float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Import a log as a new experiment.

    :raises FileRefused: a line cannot be imported; the error names it, and nothing is stored.
    :raises Conflict: the experiment exists.
    """
    format_ = format_of(path, kind)
    summary = _first_reading(path, format_, mapping)
    low, high = reward_range or (summary.low, summary.high if summary.high > summary.low else summary.low + 1.0)
    if summary.low < low or summary.high > high:
        raise FileRefused(
            f"{path.name}: rewards go from {summary.low:g} to {summary.high:g}, outside of {low:g} to {high:g}"
        )
    config = parse_config(
        {
            "key": experiment_key,
            "name": f"Imported from {path.name}"[:200],
            "actions": [{"id": name} for name in summary.actions] if len(summary.actions) <= MAX_ACTIONS else [],
            "arms": [{"key": ARM, "share": 1.0, "policy": {"type": "uniform"}}],
            "reward": {"min": low, "max": high, "default": min(max(0.0, low), high)},
        }
    )
    with transaction(engine) as connection:
        revision = platform.next_revision(connection)
        if experiments.find(connection, experiment_key) is not None:
            raise Conflict(
                "experiment_exists", f"There is already an experiment {experiment_key!r}; import under another key."
            )
        plain = config.model_dump(mode="json")
        experiment_id = experiments.add(
            connection, key=experiment_key, salt=secrets.token_bytes(32), config=plain, revision=revision, owner="cli"
        )
        experiments.set_status(connection, experiment_id, "concluded", revision, f"Imported from {path.name}.")
        _store(connection, experiment_id, _to_store(path, format_, mapping, summary.actions), summary.rows, progress)
        platform.record_change(connection, actor="cli", kind="log_imported", experiment_id=experiment_id, after=plain)
    return Imported(experiment_key, summary.rows, len(summary.actions), skipped(path, format_))


def export_log(engine: Engine, experiment_key: str, path: Path, *, kind: str | None = None) -> int:
    """Write the settled decisions of an experiment to a file, and return their number.

    :raises NotFound: the experiment does not exist.
    """
    format_ = format_of(path, kind)
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, experiment_key)
        return write(path, format_, _records(connection, experiment.id))


def _records(connection: Connection, experiment_id: int) -> Iterator[Record]:
    features: dict[int, JsonObject] = {}
    shares: dict[int, dict[str, float]] = {}
    for row in transfer.settled(connection, experiment_id):
        if row.config_version not in features:
            config = ExperimentConfig.model_validate(
                experiments.config_of(connection, experiment_id, row.config_version)
            )
            features[row.config_version] = {action.id: action.features for action in config.all_actions()}
            shares[row.config_version] = {arm.key: arm.share for arm in config.arms}
        own = features[row.config_version]
        if row.actions is not None:
            own = {action["id"]: action.get("features", {}) for action in row.actions}
        yield {
            "decision_id": row.id,
            "decided_at": row.decided_at.isoformat(),
            "unit_id": row.unit_id,
            "arm": row.arm,
            "arm_probability": shares[row.config_version][row.arm],
            "policy_version": row.policy_version,
            "context": row.context,
            "actions": [{"id": name, "features": own.get(name, {})} for name in row.eligible],
            "distribution": row.distribution,
            "action": row.eligible[row.chosen],
            "propensity": row.propensity,
            "reward": row.reward,
        }


def _first_reading(path: Path, kind: str, mapping: Mapping) -> _Summary:
    """Check every row, and collect the actions and the range of rewards."""
    actions: dict[str, None] = {}
    ids: set[str] = set()
    rows, low, high = 0, math.inf, -math.inf
    for position, decision in read_decisions(path, kind, mapping):
        rows += 1
        low, high = min(low, decision.reward), max(high, decision.reward)
        actions.setdefault(decision.action)
        for action in decision.actions or ():
            actions.setdefault(action["id"])
        if decision.decision_id in ids:
            raise FileRefused(
                f"{path.name}, {position}: decision_id {decision.decision_id!r} is repeated; ids must be unique"
            )
        ids.add(decision.decision_id or f"\0{rows}")
    if not rows:
        raise FileRefused(f"{path.name} has no rows")
    return _Summary(rows, sorted(actions), low, high)


def _to_store(path: Path, kind: str, mapping: Mapping, actions: list[str]) -> Iterator[ImportedDecision]:
    """Yield the decisions as the log stores them.

    :param actions: ids of all actions in the file, for rows that do not list their actions.
    """
    all_actions = [LoggedAction(id=name, features={}) for name in actions]
    for _, decision in read_decisions(path, kind, mapping):
        if decision.actions is None:
            eligible, own = actions, None if len(actions) <= MAX_ACTIONS else all_actions
        else:
            eligible, own = [action["id"] for action in decision.actions], decision.actions
        chosen, distribution = eligible.index(decision.action), decision.distribution
        if distribution is None:  # the file has only the propensity; 0 means "unknown"
            distribution = [decision.propensity if index == chosen else 0.0 for index in range(len(eligible))]
        yield ImportedDecision(
            decision_id=decision.decision_id,
            unit_id=decision.unit_id,
            decided_at=decision.decided_at,
            context=decision.context,
            own=own,
            eligible=eligible,
            distribution=distribution,
            chosen=chosen,
            propensity=decision.propensity,
            reward=decision.reward,
        )


def _store(
    connection: Connection,
    experiment_id: int,
    rows: Iterator[ImportedDecision],
    total: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    start = datetime.now(UTC)
    done = 0
    while part := list(islice(rows, SLICE)):
        transfer.add_imported(connection, experiment_id, ARM, part, start, done)
        done += len(part)
        if progress is not None:
            progress(done, total)
