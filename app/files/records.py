"""Turn each record of a log file into a logged decision. Every value is checked, and an error names its line."""

import math
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple, TypedDict

import orjson

from app.files.context_columns import Mapping, context_of, number_columns
from app.files.log_files import Record, read
from app.files.refused import FileRefused
from app.files.values import MISSING_WORDS, id_of, number_of, time_of
from app.foundation.fields import MAX_ID_BYTES, Json, JsonObject
from app.foundation.words import api_sentence
from bandits.encoding import FeatureError, encode_action, encode_context

# Logs hold probabilities as float32, or rounded to some digits. Reading makes their sum exactly 1.
SUM_TOLERANCE: Final = 1e-4
PROPENSITY_TOLERANCE: Final = 1e-4  # relative
EXACT: Final = 1e-12
MOST_DROPPED: Final = 1e6  # decisions that one line may stand for
MODEL_GONE: Final = "a decision of which the export does not have the propensity, because a model is gone"
IMPORTED_FIELDS: Final = (
    "decision_id", "decided_at", "unit_id", "arm", "context", "actions", "distribution", "action", "propensity", "reward",
    "arm_distributions", "experiment", "stands_for",
)  # fmt: skip
AS_EXPORTED = Mapping({}, ())


class LoggedAction(TypedDict):
    """One action that could be chosen."""

    id: str
    features: Json  # JSON, as the file has it


class LoggedDecision(NamedTuple):
    """One decision with its reward, as it is in the file."""

    decision_id: str | None
    unit_id: str | None  # None: the file has no units
    action: str
    propensity: float
    reward: float
    decided_at: datetime | None
    context: Json  # a JSON object, or a list of them
    actions: list[LoggedAction] | None  # None: the file does not list the eligible actions
    distribution: list[float] | None  # over the actions; None: the file does not hold it
    arm: str | None = None
    arm_distributions: dict[str, list[float]] | None = None  # by arm, over the actions; only in our own exports
    experiment: JsonObject | None = None  # the arms with shares and policies; only in our own exports
    stands_for: float | None = None  # decisions of which only this one was logged, as 1 / (1 - pdrop); None: 1


def read_decisions(
    path: Path, kind: str, mapping: Mapping, left_out: Counter[str] | None = None
) -> Iterator[tuple[str, LoggedDecision]]:
    """Yield the decisions of a file, each with its position ("line 7").

    :param left_out: counts what the file holds beside decisions, by the reason for leaving it out.
    :raises FileRefused: a value cannot be used; the error names the line.
    """
    for field in mapping.columns:
        if field not in IMPORTED_FIELDS:
            raise FileRefused(f"There is no field {field!r} to fill; the fields are {', '.join(IMPORTED_FIELDS)}.")
    numbers = number_columns(path, mapping) if kind == "csv" else frozenset[str]()
    first: LoggedDecision | None = None
    counted = Counter[str]() if left_out is None else left_out
    for position, raw in read(path, kind, delimiter=mapping.delimiter, left_out=counted):
        if raw.get("experiment") and raw.get("propensity") in (None, "") and "propensity" not in mapping.columns:
            counted[MODEL_GONE] += 1
            continue
        reader = _Reader(path, position, raw, mapping, numbers)
        try:
            decision = reader.decision()
        except RecursionError:
            raise reader.refused("a value nests too deep; flatten it") from None
        first = first or decision
        for name, known, given in (
            ("unit_id", first.unit_id, decision.unit_id),
            ("decided_at", first.decided_at, decision.decided_at),
        ):
            if (known is None) != (given is None):
                has = "missing here, but other rows have it" if given is None else "here, but other rows do not have it"
                raise reader.refused(f"{name} is {has}; give it on every row, or on none")
        yield position, decision


class _Reader:
    """Reads one record."""

    def __init__(self, path: Path, position: str, raw: Record, mapping: Mapping, numbers: frozenset[str]) -> None:
        self._where = f"{path.name}, {position}"
        self._raw = raw
        self._mapping = mapping
        self._numbers = numbers  # context columns of a text file that hold numbers

    def refused(self, what: str) -> FileRefused:
        """Return the error for this record."""
        return FileRefused(f"{self._where}: {what}")

    def decision(self) -> LoggedDecision:
        """:raises FileRefused: a value is missing or impossible."""
        propensity = self._number("propensity")
        if not 0 < propensity <= 1 + SUM_TOLERANCE:
            raise self.refused(f"propensity is {propensity:g}; give a probability above 0 and up to 1")
        action = self._id("action")
        if action is None:
            raise self.refused("there is no action; name its column with --column action=...")
        decision = LoggedDecision(
            decision_id=self._id("decision_id"),
            unit_id=self._id("unit_id"),
            action=action,
            propensity=min(propensity, 1.0),
            reward=self._number("reward"),
            decided_at=self._time("decided_at"),
            context=self._context(),
            actions=self._actions(),
            distribution=self._json("distribution", list),
            arm=self._id("arm") if self._field("experiment") is not None else None,
            arm_distributions=self._json("arm_distributions", dict),
            experiment=self._json("experiment", dict),
            stands_for=self._stands_for(),
        )
        self._check_texts(decision)
        self._check_features(decision)
        return self._check_arms(self._check_distribution(decision))

    def _field(self, name: str) -> Json:
        column = self._mapping.columns.get(name, name)
        if column not in self._raw and name in self._mapping.columns:
            raise self._no_column(column)
        value = self._raw.get(column)
        return None if value == "" else value

    def _no_column(self, column: str) -> FileRefused:
        names = list(map(str, self._raw))
        shown = ", ".join(names[:30]) + (", ..." if len(names) > 30 else "")
        return self.refused(f"there is no column {column!r}; there are {shown}")

    def _id(self, name: str) -> str | None:
        value = self._field(name)
        text = None if value is None else id_of(value)
        if value is not None and text is None:
            raise self.refused(f"{name} must be a text or a number, not {type(value).__name__}")
        return text

    def _number(self, name: str) -> float:
        value = self._field(name)
        number = None if value is None else number_of(value, self._mapping.decimal)
        if number is None and isinstance(value, str) and value.strip().lower() in MISSING_WORDS:
            number = math.nan
        if number is None:
            given = "nothing" if value is None else repr(value)[:100]
            raise self.refused(f"{name} is {given}; give a number, or name its column with --column {name}=...")
        if not math.isfinite(number):
            raise self.refused(f"{name} is {value!r}; give a finite number")
        return number

    def _stands_for(self) -> float | None:
        if self._field("stands_for") is None:
            return None
        number = self._number("stands_for")
        if not 0 < number <= MOST_DROPPED:
            raise self.refused(
                f"stands_for is {number:g}; give how many decisions it counts as, up to {MOST_DROPPED:g}"
            )
        return None if number == 1 else number

    def _time(self, name: str) -> datetime | None:
        value = self._field(name)
        moment = None if value is None else time_of(value)
        if value is not None and moment is None:
            known = "ISO 8601, such as 2026-01-31T12:00:00Z, or seconds or milliseconds since 1970"
            raise self.refused(f"{name} is {str(value)[:100]!r}; give {known}")
        return moment

    def _json(self, name: str, kind: type | tuple[type, ...]) -> Json:
        value = self._field(name)
        if isinstance(value, str):
            try:
                value = orjson.loads(value)
            except orjson.JSONDecodeError as error:
                raise self.refused(f"{name} is not JSON: {error}") from None
        if value is not None and not isinstance(value, kind):
            raise self.refused(f"{name} must be a JSON {'list' if kind is list else 'object'}")
        return value

    def _context(self) -> Json:
        context = self._json("context", (dict, list)) or {}
        if self._mapping.context_columns and not isinstance(context, dict):
            raise self.refused("context is a list, to which no column can be added")
        for column in self._mapping.context_columns:
            if column not in self._raw:
                raise self._no_column(column)
        return (
            context | context_of(self._raw, self._mapping, self._numbers) if self._mapping.context_columns else context
        )

    def _actions(self) -> list[LoggedAction] | None:
        listed = self._json("actions", list)
        if listed is None:
            return None
        actions: list[LoggedAction] = []
        for item in listed:
            named: JsonObject = item if isinstance(item, dict) else {"id": item}
            name = id_of(named.get("id"))
            if name is None:
                raise self.refused("every action needs an id, a text or a number")
            actions.append({"id": name, "features": named.get("features") or {}})
        return actions

    def _check_texts(self, decision: LoggedDecision) -> None:
        named = {name: getattr(decision, name) for name in ("decision_id", "unit_id", "action")}
        for name, text in (*named.items(), *(("an action's id", action["id"]) for action in decision.actions or ())):
            if text is not None and not 0 < len(text.encode()) <= MAX_ID_BYTES:
                raise self.refused(f"{name} has {len(text.encode())} bytes; give from 1 to {MAX_ID_BYTES}")
        if _has_nul([*named.values(), decision.arm, decision.context, decision.actions]):
            raise self.refused("a text holds the character U+0000, which cannot be stored; take it out")

    def _check_features(self, decision: LoggedDecision) -> None:
        try:
            encode_context(decision.context)
            for action in decision.actions or ():
                encode_action(action["id"], action["features"])
        except FeatureError as error:
            raise self.refused(f"{error.path}: {api_sentence(error.code, error.params)}") from None
        except (AttributeError, TypeError):
            raise self.refused("features must be a JSON object, or a list of objects") from None

    def _check_distribution(self, decision: LoggedDecision) -> LoggedDecision:
        ids = None if decision.actions is None else [action["id"] for action in decision.actions]
        if ids is not None and (decision.action not in ids or len(set(ids)) != len(ids)):
            raise self.refused(f"action {decision.action!r} must be among the actions, and no id may be repeated")
        if decision.distribution is None:
            return decision
        if ids is None:
            raise self.refused("distribution needs one probability per action of the column actions")
        chances = self._chances("distribution", decision.distribution, len(ids))
        own = chances[ids.index(decision.action)]
        if abs(own - decision.propensity) > PROPENSITY_TOLERANCE * max(own, decision.propensity):
            raise self.refused("propensity differs from the action's probability in distribution")
        if own <= 0:
            raise self.refused("the distribution says that the action could not be chosen")
        return decision._replace(distribution=chances, propensity=own)

    def _chances(self, name: str, chances: object, count: int) -> list[float]:
        """Return probabilities whose sum is 1 in float64."""
        if not isinstance(chances, list) or len(chances) != count or not all(map(_is_probability, chances)):
            raise self.refused(f"{name} needs one probability per action of the column actions")
        total = math.fsum(chances)
        if abs(total - 1) > SUM_TOLERANCE:
            raise self.refused(f"{name} sums to {total:.9g}; it must sum to 1")
        return (
            [float(chance) for chance in chances] if abs(total - 1) <= EXACT else [chance / total for chance in chances]
        )

    def _check_arms(self, decision: LoggedDecision) -> LoggedDecision:
        """Check what only our own exports have: each arm's distribution."""
        if decision.experiment is None:
            return decision._replace(arm_distributions=None, arm=None)
        if decision.arm_distributions is None:
            return decision
        if decision.actions is None or decision.distribution is None or decision.arm not in decision.arm_distributions:
            raise self.refused("arm_distributions needs actions, a distribution, and the arm that decided")
        count = len(decision.actions)
        arms = {
            arm: self._chances(f"arm_distributions of {arm!r}", chances, count)
            for arm, chances in decision.arm_distributions.items()
        }
        return decision._replace(arm_distributions=arms)


def _is_probability(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _has_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return _has_nul([*value, *value.values()])
    return isinstance(value, list) and any(_has_nul(item) for item in value)
