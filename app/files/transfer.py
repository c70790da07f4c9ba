"""Import logs. An imported log becomes a concluded experiment that can be evaluated like any other.

All rows are checked before any row is stored, and all are stored in one transaction. Imported decisions are marked:
Loopwise did not draw them, so the audit does not claim to have recomputed them. A log that Loopwise exported comes back
with its arms, their shares, and what each arm would have done.
"""

import math
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import orjson
from sqlalchemy import Connection, Engine

from app.design.definition_rules import parse_config
from app.design.experiment_config import MAX_ACTIONS, ExperimentConfig
from app.files.context_columns import Mapping
from app.files.log_files import format_of
from app.files.records import AS_EXPORTED, LoggedAction, LoggedDecision, read_decisions
from app.files.refused import FileRefused
from app.files.store import transfer
from app.files.store.transfer import ImportedDecision
from app.files.values import number_of
from app.foundation.errors import Conflict
from app.foundation.fields import JsonObject
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.registry.store import experiments

ARM: Final = "imported"
SLICE: Final = 2000
MIXTURE_TOLERANCE: Final = 1e-6


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
    versions: dict[bytes, JsonObject]  # what the file says about the experiment, by its JSON, in order of appearance
    left_out: Counter[str]


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
    configs = _configs(path, experiment_key, summary, reward_range)
    with transaction(engine) as connection:
        revision = platform.next_revision(connection)
        if experiments.find(connection, experiment_key) is not None:
            raise Conflict(
                "experiment_exists", f"There is already an experiment {experiment_key!r}; import under another key."
            )
        first, *later = [config.model_dump(mode="json") for config in configs]
        experiment_id = experiments.add(
            connection, key=experiment_key, salt=secrets.token_bytes(32), config=first, revision=revision, owner="cli"
        )
        for version, config in enumerate(later, start=2):
            experiments.add_config(connection, experiment_id, version, config, revision)
        experiments.set_status(connection, experiment_id, "concluded", revision, f"Imported from {path.name}.")
        _store(connection, experiment_id, _to_store(path, format_, mapping, summary), summary.rows, progress)
        plain = (later or [first])[-1]
        platform.record_change(connection, actor="cli", kind="log_imported", experiment_id=experiment_id, after=plain)
    return Imported(experiment_key, summary.rows, len(summary.actions), dict(summary.left_out))


def _configs(
    path: Path, key: str, summary: _Summary, reward_range: tuple[float, float] | None
) -> list[ExperimentConfig]:
    """Return the configurations of the new experiment, one per version of what the file says about its own."""
    known = [version.get("reward") for version in summary.versions.values()]
    own: JsonObject = known[-1] if known and isinstance(known[-1], dict) else {}
    low, high = summary.low, summary.high if summary.high > summary.low else summary.low + 1.0
    if reward_range is not None:
        low, high = reward_range
    elif {"min", "max"} <= own.keys():
        low, high = (math.nan if (end := number_of(own[name])) is None else end for name in ("min", "max"))
    if not low <= summary.low <= summary.high <= high:
        raise FileRefused(
            f"{path.name}: rewards go from {summary.low:g} to {summary.high:g}, outside of {low:g} to {high:g}"
        )
    reward = {"default": min(max(0.0, low), high)} | own | {"min": low, "max": high}
    alone: JsonObject = {"arms": [{"key": ARM, "share": 1.0, "policy": {"type": "uniform"}}]}
    return [
        parse_config(
            {
                "key": key,
                "name": f"Imported from {path.name}"[:200],
                "actions": _catalogue(summary.actions, version),
                "arms": version["arms"],
                "control_arm": version.get("control_arm"),
                "reward": reward,
            }
        )
        for version in (summary.versions.values() or [alone])
    ]


def _catalogue(actions: list[str], version: JsonObject) -> list[JsonObject]:
    """Return the definition's actions: those of the file, and those that a fixed arm always takes."""
    fixed = {str(arm["policy"].get("action")) for arm in version["arms"] if arm["policy"].get("type") == "fixed"}
    names = sorted({*actions, *fixed})
    return [{"id": name} for name in names] if len(names) <= MAX_ACTIONS else []


def _first_reading(path: Path, kind: str, mapping: Mapping) -> _Summary:
    """Check every row, and collect the actions, the range of rewards, and the arms."""
    actions: dict[str, None] = {}
    ids: set[str] = set()
    versions: dict[bytes, JsonObject] = {}
    left_out = Counter[str]()
    rows, low, high = 0, math.inf, -math.inf
    for position, decision in read_decisions(path, kind, mapping, left_out):
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
        if decision.experiment is not None:
            _check_mixture(path, position, decision)
            versions.setdefault(_name_of(decision.experiment), decision.experiment)
        if (decision.experiment is None) != (not versions):
            raise FileRefused(f"{path.name}, {position}: some rows have the column experiment, and others do not")
    if not rows:
        why = "; ".join(f"left out, {count:,} times: {reason}" for reason, count in left_out.items())
        raise FileRefused(f"{path.name} has no rows{f' ({why})' if why else ''}")
    return _Summary(rows, sorted(actions), low, high, versions, left_out)


def _name_of(experiment: JsonObject) -> bytes:
    return orjson.dumps(experiment, option=orjson.OPT_SORT_KEYS)


def _check_mixture(path: Path, position: str, decision: LoggedDecision) -> None:
    """Refuse an export in which the shares, the arms' distributions and the platform's do not belong together."""
    arms = (decision.experiment or {}).get("arms")
    shaped = isinstance(arms, list) and all(
        isinstance(arm, dict) and isinstance(arm.get("policy"), dict) and isinstance(arm.get("share"), int | float)
        for arm in arms
    )
    if not shaped or not isinstance(arms, list):
        raise FileRefused(f"{path.name}, {position}: experiment needs arms, each with key, share and policy")
    shares = {str(arm.get("key")): float(arm["share"]) for arm in arms}
    if decision.arm not in shares:
        raise FileRefused(f"{path.name}, {position}: the arm {decision.arm!r} is none of experiment's arms")
    if decision.arm_distributions is None or decision.distribution is None:
        if len(shares) == 1:
            return
        raise FileRefused(f"{path.name}, {position}: arm_distributions is missing; without it the shares mean nothing")
    total = math.fsum(shares.values()) or 1.0
    for index, chance in enumerate(decision.distribution):
        mixed = math.fsum(shares.get(arm, 0.0) * own[index] for arm, own in decision.arm_distributions.items()) / total
        if abs(mixed - chance) > MIXTURE_TOLERANCE:
            raise FileRefused(f"{path.name}, {position}: distribution is not the arms' distributions by their shares")


def _to_store(path: Path, kind: str, mapping: Mapping, summary: _Summary) -> Iterator[ImportedDecision]:
    """Yield the decisions as the log stores them."""
    numbers = {name: number for number, name in enumerate(summary.versions, start=1)}
    for _, decision in read_decisions(path, kind, mapping):
        yield _row(
            decision, summary.actions, 1 if decision.experiment is None else numbers[_name_of(decision.experiment)]
        )


def _row(decision: LoggedDecision, actions: list[str], version: int) -> ImportedDecision:
    """Return a decision as the log stores it: with the distribution of its own arm.

    :param actions: ids of all actions in the file, for rows that do not list their actions.
    """
    if decision.actions is None:
        eligible = actions
        own = None if len(actions) <= MAX_ACTIONS else [LoggedAction(id=name, features={}) for name in actions]
    else:
        eligible, own = [action["id"] for action in decision.actions], decision.actions
    chosen, arm = eligible.index(decision.action), decision.arm or ARM
    known = decision.distribution
    if decision.arm_distributions is not None:
        known = decision.arm_distributions[arm]
    propensity = decision.propensity if known is None else known[chosen]
    # The file may hold the propensity only. Nothing is put in place of the other probabilities.
    unknown: list[float | None] = [propensity if index == chosen else None for index in range(len(eligible))]
    return ImportedDecision(
        decision_id=decision.decision_id,
        unit_id=decision.unit_id,
        decided_at=decision.decided_at,
        context=decision.context,
        own=own,
        eligible=eligible,
        distribution=unknown if known is None else [*known],
        chosen=chosen,
        propensity=propensity,
        reward=decision.reward,
        arm=arm,
        config_version=version,
        arm_distributions=decision.arm_distributions,
        stands_for=decision.stands_for,
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
        transfer.add_imported(connection, experiment_id, part, start, done)
        done += len(part)
        if progress is not None:
            progress(done, total)
