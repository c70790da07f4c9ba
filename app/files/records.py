"""Turn each record of a log file into a logged decision. Every value is checked, and an error names its line."""

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import orjson

from app.files.log_files import Record, read
from app.files.refused import FileRefused
from app.foundation.fields import MAX_ID_BYTES, JsonObject
from app.foundation.words import api_sentence
from bandits.encoding import FeatureError, encode_action, encode_context

SUM_TOLERANCE = 1e-6
PROPENSITY_TOLERANCE = 1e-9


# Codes lose what makes them different as numbers: leading zeros, underscores, and an "e" without a sign (12e4).
_NUMBER = re.compile(r"|-?(0|[1-9]\d*)(\.\d*)?([eE][+-]\d+)?|-?(nan|inf|infinity)", re.IGNORECASE)


class Mapping(NamedTuple):
    """Which columns of a file become which fields."""

    columns: dict[str, str]  # from our field to the file's column
    context_columns: tuple[str, ...]  # columns that become context fields


AS_EXPORTED = Mapping({}, ())


class LoggedAction(TypedDict):
    """One action that could be chosen."""

    id: str
    features: Any  # JSON, as the file has it


class LoggedDecision(NamedTuple):
    """One decision with its reward, as it is in the file."""

    decision_id: str | None
    unit_id: str
    action: str
    propensity: float
    reward: float
    decided_at: datetime | None
    context: Any  # a JSON object, or a list of them
    actions: list[LoggedAction] | None  # None: the file does not list the eligible actions
    distribution: list[float] | None  # over the actions


def read_decisions(path: Path, kind: str, mapping: Mapping) -> Iterator[tuple[str, LoggedDecision]]:
    """Yield the decisions of a file, each with its position ("line 7").

    :raises FileRefused: a value cannot be used; the error names the line.
    """
    numbers = _number_columns(path, mapping) if kind == "csv" and mapping.context_columns else frozenset()
    for position, raw in read(path, kind):
        decision = _Reader(path, position, raw, mapping, numbers).decision()
        yield position, decision


class _Reader:
    """Reads one record."""

    def __init__(self, path: Path, position: str, raw: Record, mapping: Mapping, numbers: frozenset[str]) -> None:
        self._where = f"{path.name}, {position}"
        self._position = position
        self._raw = raw
        self._mapping = mapping
        self._numbers = numbers  # context columns of a text file that hold numbers

    def decision(self) -> LoggedDecision:
        """:raises FileRefused: a value is missing or impossible."""
        propensity = self._number("propensity")
        if not 0 < propensity <= 1:
            raise self._refused(f"propensity is {propensity:g}; give a probability above 0 and up to 1")
        action, decision_id, unit_id = (self._field(name) for name in ("action", "decision_id", "unit_id"))
        if action is None:
            raise self._refused("there is no action; name its column with --column action=...")
        decision = LoggedDecision(
            decision_id=None if decision_id is None else str(decision_id),
            unit_id=str(unit_id if unit_id is not None else decision_id or self._position),
            action=str(action),
            propensity=propensity,
            reward=self._number("reward"),
            decided_at=self._time("decided_at"),
            context=self._context(),
            actions=self._actions(),
            distribution=self._json("distribution", list),
        )
        self._check_texts(decision)
        self._check_features(decision)
        self._check_distribution(decision)
        return decision

    def _refused(self, what: str) -> FileRefused:
        return FileRefused(f"{self._where}: {what}")

    def _field(self, name: str) -> Any:
        column = self._mapping.columns.get(name, name)
        if column not in self._raw and name in self._mapping.columns:
            raise self._no_column(column)
        value = self._raw.get(column)
        return None if value == "" else value

    def _no_column(self, column: str) -> FileRefused:
        return self._refused(f"there is no column {column!r}; there are {', '.join(map(str, self._raw))}")

    def _number(self, name: str) -> float:
        value = self._field(name)
        try:
            number = float(value)
        except (TypeError, ValueError):
            given = "nothing" if value is None else repr(value)
            message = f"{name} is {given}; give a number, or name its column with --column {name}=..."
            raise self._refused(message) from None
        if not math.isfinite(number):
            raise self._refused(f"{name} is {value!r}; give a finite number")
        return number

    def _time(self, name: str) -> datetime | None:
        value = self._field(name)
        if value is None or isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            raise self._refused(f"{name} is {value!r}; give ISO 8601, such as 2026-01-31T12:00:00Z") from None
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)

    def _json(self, name: str, kind: type | tuple[type, ...]) -> Any:
        value = self._field(name)
        if isinstance(value, str):
            try:
                value = orjson.loads(value)
            except orjson.JSONDecodeError as error:
                raise self._refused(f"{name} is not JSON: {error}") from None
        if value is not None and not isinstance(value, kind):
            raise self._refused(f"{name} must be a JSON {'list' if kind is list else 'object'}")
        return value

    def _context(self) -> Any:
        context = self._json("context", (dict, list)) or {}
        if self._mapping.context_columns and not isinstance(context, dict):
            raise self._refused("context is a list, to which no column can be added")
        for column in self._mapping.context_columns:
            if column not in self._raw:
                raise self._no_column(column)
            context[column] = _cell(self._raw[column]) if column in self._numbers else self._raw[column]
        return context

    def _actions(self) -> list[LoggedAction] | None:
        listed = self._json("actions", list)
        if listed is None:
            return None
        actions: list[LoggedAction] = []
        for item in listed:
            named: JsonObject = item if isinstance(item, dict) else {"id": item}
            if "id" not in named:
                raise self._refused("every action needs an id")
            actions.append({"id": str(named["id"]), "features": named.get("features") or {}})
        return actions

    def _check_texts(self, decision: LoggedDecision) -> None:
        for name in ("decision_id", "unit_id", "action"):
            text: str | None = getattr(decision, name)
            if text is not None and not 0 < len(text.encode()) <= MAX_ID_BYTES:
                raise self._refused(f"{name} has {len(text.encode())} bytes; give from 1 to {MAX_ID_BYTES}")
        if _has_nul([decision.decision_id, decision.unit_id, decision.action, decision.context, decision.actions]):
            raise self._refused("a text holds the character U+0000, which cannot be stored; take it out")

    def _check_features(self, decision: LoggedDecision) -> None:
        try:
            encode_context(decision.context)
            for action in decision.actions or ():
                encode_action(action["id"], action["features"])
        except FeatureError as error:
            raise self._refused(f"{error.path}: {api_sentence(error.code, error.params)}") from None

    def _check_distribution(self, decision: LoggedDecision) -> None:
        ids = None if decision.actions is None else [action["id"] for action in decision.actions]
        if ids is not None and (decision.action not in ids or len(set(ids)) != len(ids)):
            raise self._refused(f"action {decision.action!r} must be among the actions, and no id may be repeated")
        chances = decision.distribution
        if chances is None:
            return
        if ids is None or len(chances) != len(ids) or not all(map(_is_probability, chances)):
            raise self._refused("distribution needs one probability per action of the column actions")
        if abs(math.fsum(chances) - 1) > SUM_TOLERANCE:
            raise self._refused(f"distribution sums to {math.fsum(chances):.9g}; it must sum to 1")
        if abs(chances[ids.index(decision.action)] - decision.propensity) > PROPENSITY_TOLERANCE:
            raise self._refused("propensity differs from the action's probability in distribution")


def _is_probability(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def _has_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return _has_nul([*value, *value.values()])
    return isinstance(value, list) and any(_has_nul(item) for item in value)


def _number_columns(path: Path, mapping: Mapping) -> frozenset[str]:
    """The context columns of a CSV file in which every cell is a number; one code, such as 01234, makes a column texts."""
    numbers = {*mapping.context_columns}
    for _, raw in read(path, "csv"):
        numbers -= {name for name in numbers if not _NUMBER.fullmatch(raw.get(name, ""))}
    return frozenset(numbers)


def _cell(text: str) -> float | None:
    return float(text) if text else None
