"""Takes logs in and out: an imported log becomes a concluded experiment that can be evaluated like an own one.

Everything is checked before anything is stored, in one transaction. Imported decisions are marked: nobody's draw stands
behind them, so the audit does not claim to have recomputed them.
"""

import math
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, Engine

from app.design.definition_rules import parse_config
from app.design.experiment_config import ExperimentConfig
from app.files.log_files import FileRefused, Record, format_of, read, write
from app.files.store import transfer
from app.foundation.errors import Conflict
from app.foundation.fields import MAX_ID_BYTES
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.foundation.words import api_sentence
from app.registry.lookup import stored_experiment
from app.registry.store import experiments
from bandits.encoding import FeatureError, encode_action, encode_context

ARM = "imported"
SUM_TOLERANCE = 1e-6
SLICE = 2000


class Mapping(NamedTuple):
    """How a file's columns become our fields."""

    columns: dict[str, str]  # our field -> the file's column
    context_columns: tuple[str, ...]  # columns that become context fields


AS_EXPORTED = Mapping({}, ())


class Imported(NamedTuple):
    """What an import stored."""

    experiment: str
    decisions: int
    actions: int


class _Known(NamedTuple):
    """What the first reading found."""

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
    """Read a log into a new experiment.

    :raises FileRefused: naming the line; then nothing was stored.
    :raises Conflict: the experiment exists.
    """
    found = format_of(path, kind)
    known = _first_reading(path, found, mapping)
    low, high = reward_range or (known.low, known.high if known.high > known.low else known.low + 1.0)
    if known.low < low or known.high > high:
        raise FileRefused(
            f"{path.name}: rewards go from {known.low:g} to {known.high:g}, outside of {low:g} to {high:g}"
        )
    config = parse_config(
        {
            "key": experiment_key,
            "name": f"Imported from {path.name}"[:200],
            "actions": [{"id": name} for name in known.actions] if len(known.actions) <= 1000 else [],
            "arms": [{"key": ARM, "share": 1.0, "policy": {"type": "uniform"}}],
            "reward": {"min": low, "max": high, "default": min(max(0.0, low), high)},
        }
    )
    with transaction(engine) as connection:
        revision = platform.next_revision(connection)
        if experiments.find(connection, experiment_key) is not None:
            raise Conflict(
                "experiment_exists", f"There is an experiment {experiment_key!r} already; import under another key."
            )
        plain = config.model_dump(mode="json")
        experiment_id = experiments.add(
            connection, key=experiment_key, salt=secrets.token_bytes(32), config=plain, revision=revision, owner="cli"
        )
        experiments.set_status(connection, experiment_id, "concluded", revision, f"Imported from {path.name}.")
        _store(connection, experiment_id, _checked(path, found, mapping, known.actions), known.rows, progress)
        platform.record_change(connection, actor="cli", kind="log_imported", experiment_id=experiment_id, after=plain)
    return Imported(experiment_key, known.rows, len(known.actions))


def export_log(engine: Engine, experiment_key: str, path: Path, *, kind: str | None = None) -> int:
    """Write the settled decisions of an experiment; returns how many.

    :raises NotFound: no such experiment.
    """
    found = format_of(path, kind)
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, experiment_key)
        return write(path, found, _records(connection, experiment.id))


def _records(connection: Connection, experiment_id: int) -> Iterator[Record]:
    features: dict[int, dict[str, Any]] = {}
    for row in transfer.settled(connection, experiment_id):
        if row.config_version not in features:
            config = experiments.config_of(connection, experiment_id, row.config_version)
            actions = ExperimentConfig.model_validate(config).all_actions()
            features[row.config_version] = {action.id: action.features for action in actions}
        own = features[row.config_version]
        if row.actions is not None:
            own = {action["id"]: action.get("features", {}) for action in row.actions}
        yield {
            "decision_id": row.id,
            "decided_at": row.decided_at.isoformat(),
            "unit_id": row.unit_id,
            "arm": row.arm,
            "policy_version": row.policy_version,
            "context": row.context,
            "actions": [{"id": name, "features": own.get(name, {})} for name in row.eligible],
            "distribution": row.distribution,
            "action": row.eligible[row.chosen],
            "propensity": row.propensity,
            "reward": row.reward,
        }


def _first_reading(path: Path, kind: str, mapping: Mapping) -> _Known:
    """Check every row, and see what there is."""
    actions: dict[str, None] = {}
    ids: set[str] = set()
    rows, low, high = 0, math.inf, -math.inf
    for place, raw in read(path, kind):
        row = _row(path, place, raw, mapping)
        rows += 1
        low, high = min(low, row["reward"]), max(high, row["reward"])
        actions.setdefault(row["action"])
        for action in row["actions"] or ():
            actions.setdefault(action["id"])
        if row["decision_id"] in ids:
            raise FileRefused(f"{path.name}, {place}: decision_id {row['decision_id']!r} stands twice; ids are unique")
        ids.add(row["decision_id"] or f"\0{rows}")
    if not rows:
        raise FileRefused(f"{path.name} has no rows")
    return _Known(rows, sorted(actions), low, high)


def _checked(path: Path, kind: str, mapping: Mapping, actions: list[str]) -> Iterator[Record]:
    everything = [{"id": name, "features": {}} for name in actions]
    for place, raw in read(path, kind):
        row = _row(path, place, raw, mapping)
        if row["actions"] is None:
            row["eligible"], row["own"] = actions, None if len(actions) <= 1000 else everything
        else:
            row["eligible"], row["own"] = [action["id"] for action in row["actions"]], row["actions"]
        row["chosen"] = row["eligible"].index(row["action"])
        if row["distribution"] is None:  # only what the file tells: 0 stands for "not known"
            known = [0.0] * len(row["eligible"])
            known[row["chosen"]] = row["propensity"]
            row["distribution"] = known
        yield row


def _row(path: Path, place: str, raw: Record, mapping: Mapping) -> Record:
    """One record with our field names, every value checked."""

    def refuse(what: str) -> FileRefused:
        return FileRefused(f"{path.name}, {place}: {what}")

    def field(name: str) -> Any:
        column = mapping.columns.get(name, name)
        if column not in raw and name in mapping.columns:
            raise refuse(f"there is no column {column!r}; there are {', '.join(map(str, raw))}")
        value = raw.get(column)
        return None if value == "" else value

    def number(name: str) -> float:
        value = field(name)
        try:
            found = float(value)
        except (TypeError, ValueError):
            given = "nothing" if value is None else repr(value)
            raise refuse(f"{name} is {given}; give a number, or name its column with --column {name}=...") from None
        if not math.isfinite(found):
            raise refuse(f"{name} is {value!r}; give a finite number")
        return found

    propensity = number("propensity")
    if not 0 < propensity <= 1:
        raise refuse(f"propensity is {propensity:g}; give a probability above 0 and up to 1")
    action = field("action")
    if action is None:
        raise refuse("there is no action; name its column with --column action=...")
    row = {
        "decision_id": None if field("decision_id") is None else str(field("decision_id")),
        "unit_id": str(field("unit_id") if field("unit_id") is not None else field("decision_id") or place),
        "action": str(action),
        "propensity": propensity,
        "reward": number("reward"),
        "decided_at": _time(field("decided_at"), refuse),
        "context": _json(field("context"), (dict, list), refuse, "context") or {},
        "actions": _actions(_json(field("actions"), list, refuse, "actions"), refuse),
        "distribution": _json(field("distribution"), list, refuse, "distribution"),
    }
    if mapping.context_columns and not isinstance(row["context"], dict):
        raise refuse("context is a list, to which no column can be added")
    for column in mapping.context_columns:
        if column not in raw:
            raise refuse(f"there is no column {column!r}; there are {', '.join(map(str, raw))}")
        row["context"][column] = _plain(raw[column])
    _check(row, refuse)
    return row


def _check(row: Record, refuse: Callable[[str], FileRefused]) -> None:
    for name in ("decision_id", "unit_id", "action"):
        if row[name] is not None and not 0 < len(row[name].encode()) <= MAX_ID_BYTES:
            raise refuse(f"{name} has {len(row[name].encode())} bytes; give from 1 to {MAX_ID_BYTES}")
    if _has_nul((row["decision_id"], row["unit_id"], row["action"], row["context"], row["actions"])):
        raise refuse("a text holds the character U+0000, which cannot be stored; take it out")
    try:
        encode_context(row["context"])
        for action in row["actions"] or ():
            encode_action(action["id"], action["features"])
    except FeatureError as error:
        raise refuse(f"{error.path}: {api_sentence(error.code, error.params)}") from None
    ids = None if row["actions"] is None else [action["id"] for action in row["actions"]]
    if ids is not None and (row["action"] not in ids or len(set(ids)) != len(ids)):
        raise refuse(f"action {row['action']!r} must stand once among the actions, and every id once")
    chances = row["distribution"]
    if chances is None:
        return
    if ids is None or len(chances) != len(ids) or not all(isinstance(p, int | float) and 0 <= p <= 1 for p in chances):
        raise refuse("distribution needs one probability per action of the column actions")
    if abs(math.fsum(chances) - 1) > SUM_TOLERANCE:
        raise refuse(f"distribution sums to {math.fsum(chances):.9g}; it must sum to 1")
    if abs(chances[ids.index(row["action"])] - row["propensity"]) > 1e-9:
        raise refuse("propensity differs from the action's probability in distribution")


def _json(value: Any, kind: type | tuple[type, ...], refuse: Callable[[str], FileRefused], name: str) -> Any:
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise refuse(f"{name} is not JSON: {error}") from None
    if value is not None and not isinstance(value, kind):
        raise refuse(f"{name} must be a JSON {'list' if kind is list else 'object'}")
    return value


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return _has_nul([*value, *value.values()])
    return isinstance(value, list | tuple) and any(_has_nul(item) for item in value)


def _actions(value: list[Any] | None, refuse: Callable[[str], FileRefused]) -> list[dict[str, Any]] | None:
    if value is None:
        return None
    found = []
    for item in value:
        named = item if isinstance(item, dict) else {"id": item}
        if "id" not in named:
            raise refuse("every action needs an id")
        found.append({"id": str(named["id"]), "features": named.get("features") or {}})
    return found


def _time(value: Any, refuse: Callable[[str], FileRefused]) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        raise refuse(f"decided_at is {value!r}; give ISO 8601, such as 2026-01-31T12:00:00Z") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _plain(value: Any) -> Any:
    """A cell of a text file as a number where it is one."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _store(
    connection: Connection,
    experiment_id: int,
    rows: Iterator[Record],
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
