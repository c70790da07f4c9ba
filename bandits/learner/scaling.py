"""Decides from a log's statistics how each number becomes a feature near [-1, 1], and which words have a column.

A `Scaler` is data: its canonical JSON says everything, so a signed manifest can hold its hash and an audit can repeat it. Rules
for a number x with the mean m and the standard deviation s:

| kind             | when                                             | becomes                                          |
|------------------|--------------------------------------------------|--------------------------------------------------|
| `standard`       | the ordinary case                                | (x - m) / s, clipped to [-5, 5]                  |
| `heavy_tailed`   | a value 10 robust spreads away from the middle   | y = asinh((x - median) / spread), then as above  |
| `constant`       | one value only                                   | nothing                                          |
| `identifier_like`| whole numbers that differ from row to row        | nothing: it would learn single rows by heart     |
| `timestamp_like` | it only rises along the log, or is a date        | nothing: tomorrow's values were never seen       |

asinh is the signed logarithm without a corner at 0. A missing number becomes 0, the mean; where it is often missing, an
indicator says so. The robust spread is (95% quantile - 5% quantile) / 3.29, which equals s for a normal distribution.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from bandits.learner.feature_stats import MAX_DISTINCT, LineStats, LogStats, NumberStats
from bandits.learner.tokens import feature_of

VERSION: Final = 1
CLIP: Final = 5.0
HEAVY: Final = 10.0  # robust spreads between the median and the farthest value
OFTEN_MISSING: Final = 0.02  # share of rows
ENOUGH_ROWS: Final = 50  # fewer say nothing about identifiers, times and tails
ALL_DIFFERENT: Final = 0.9  # share of sampled rows with a value of their own
HASH_RANGE: Final = 1e7  # whole numbers spread evenly over more are hashes or numbers of a database
EVEN: Final = 0.1  # largest distance from the uniform distribution function
RISING: Final = 0.9  # share of the steps that rise
NORMAL_RANGE: Final = 3.2897072539  # 95% quantile - 5% quantile of a standard normal variable
MIN_WORD_ROWS: Final = 3
_ID_NAME: Final = re.compile(r"(?:^|[_\-./ ])(?:id|uuid|guid|hash|key|serial)$|[a-z](?:Id|ID)$", re.IGNORECASE)
_KINDS: Final = frozenset({"standard", "heavy_tailed", "constant", "identifier_like", "timestamp_like"})
_USED: Final = frozenset({"standard", "heavy_tailed"})


class Rule(NamedTuple):
    """What happens to one number."""

    kind: str  # a row of the module's table
    mean: float = 0.0  # of x, or of y for `heavy_tailed`
    spread: float = 1.0  # above 0
    middle: float = 0.0  # `heavy_tailed`: the median of x
    unit: float = 1.0  # `heavy_tailed`: the robust spread of x, above 0
    indicator: bool = False  # a column of its own says that the number is missing

    @property
    def used(self) -> bool:
        """Whether the number has a column."""
        return self.kind in _USED

    def scaled(self, value: float) -> float:
        """The number in [-5, 5]; 0 for kinds without a column."""
        kind, mean, spread, middle, unit, _ = self  # every decision comes here for each of its numbers
        if kind == "heavy_tailed":
            value = math.asinh((value - middle) / unit)
        elif kind != "standard":
            return 0.0
        scaled = (value - mean) / spread
        return scaled if -CLIP <= scaled <= CLIP else math.copysign(CLIP, scaled)


class Note(NamedTuple):
    """Something that a person should know about a feature; the code names a sentence."""

    code: str
    params: Mapping[str, str]


class LineScaler(NamedTuple):
    """The rules of one kind of line."""

    numbers: Mapping[str, Rule]  # by encoded name, in its order
    words: tuple[str, ...]  # indicators that deserve a column, the most frequent first
    off: tuple[str, ...] = ()  # features whose words look like identifiers
    crowded: bool = False  # there were more features than are counted: the rarest numbers are left out


class Scaler(NamedTuple):
    """The rules of contexts and actions."""

    contexts: LineScaler
    actions: LineScaler

    @classmethod
    def learn(cls, stats: LogStats) -> "Scaler":
        """The rules that a log's statistics suggest. The same statistics give the same rules."""
        return cls(_line_scaler(stats.contexts, in_order=True), _line_scaler(stats.actions, in_order=False))

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces, numbers as Python's shortest repr. Equal scalers give equal text."""
        parts = {name: _line_json(part) for name, part in (("actions", self.actions), ("contexts", self.contexts))}
        return json.dumps({**parts, "version": VERSION}, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Scaler":
        """The scaler of a canonical JSON text. Raises `ValueError` on anything else, also on numbers that are not finite."""
        try:
            obj = json.loads(text)
            scaler = cls(_line_from(obj["contexts"]), _line_from(obj["actions"]))
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise ValueError(f"not a scaler: {error}") from None
        if scaler.to_json() != text:
            raise ValueError("not a scaler: it is not canonical, or of another version")
        return scaler

    def notes(self) -> list[Note]:
        """What the scaler did that a person might not expect: one note for each feature that is not `standard`.

        `feature` is the encoded name, `line` is "context" or "action".
        """
        notes = []
        for line, part in (("context", self.contexts), ("action", self.actions)):
            for name, rule in part.numbers.items():
                if rule.kind != "standard":
                    notes.append(Note(rule.kind, {"feature": name, "line": line}))
                if rule.indicator:
                    notes.append(Note("often_missing", {"feature": name, "line": line}))
            notes += [Note("identifier_like", {"feature": name, "line": line}) for name in part.off]
            notes += [Note("crowded", {"feature": "", "line": line})] * part.crowded
        return notes


def _line_scaler(stats: LineStats, *, in_order: bool) -> LineScaler:
    rules = {name: _rule(name, stats.numbers[name], stats.rows, in_order=in_order) for name in sorted(stats.numbers)}
    rows, values = Counter[str](), Counter[str]()
    for word, count in stats.words.items():
        rows[feature_of(word)] += count
        values[feature_of(word)] += 1
    off = {
        name
        for name, count in values.items()
        if name and rows[name] >= ENOUGH_ROWS and (count > ALL_DIFFERENT * rows[name])
    }
    # An action's id is no word of its features: beliefs know it by itself.
    usable = [word for word in stats.words if (name := feature_of(word)) and name not in off]
    varied = [word for word in usable if MIN_WORD_ROWS <= stats.words[word] < stats.rows]
    varied.sort(key=lambda word: (-stats.words[word], word))
    return LineScaler(rules, tuple(varied), tuple(sorted(off)), stats.crowded)


def _rule(name: str, stats: NumberStats, rows: int, *, in_order: bool) -> Rule:
    missing = rows - stats.present > OFTEN_MISSING * rows
    if stats.low == stats.high or stats.deviation <= 1e-12 * max(abs(stats.low), abs(stats.high)):
        return Rule("constant", indicator=missing)
    if stats.present >= ENOUGH_ROWS:
        if _is_time(stats, in_order=in_order):
            return Rule("timestamp_like", indicator=missing)
        if _is_identifier(name, stats):
            return Rule("identifier_like", indicator=missing)
        heavy = _heavy(stats)
        if heavy is not None:
            return heavy._replace(indicator=missing)
    return Rule("standard", stats.mean, stats.deviation, indicator=missing)


def _is_time(stats: NumberStats, *, in_order: bool) -> bool:
    if len(stats.distinct) < ENOUGH_ROWS:
        return False
    if in_order and stats.rises > RISING * (stats.rises + stats.falls):
        return True
    return stats.whole and all(_is_date(int(value)) for value in stats.sampled())


def _is_date(value: int) -> bool:
    """Whether a whole number reads as YYYYMMDD of the years 1900 to 2199."""
    year, rest = divmod(value, 10_000)
    month, day = divmod(rest, 100)
    return 1900 <= year < 2200 and 1 <= month <= 12 and 1 <= day <= 31


def _is_identifier(name: str, stats: NumberStats) -> bool:
    if not stats.whole or len(stats.distinct) < ENOUGH_ROWS:
        return False
    sample = stats.sampled()
    if _ID_NAME.search(name) and len(stats.distinct) > min(MAX_DISTINCT, stats.present // 10):
        return True
    if np.unique(sample).size <= ALL_DIFFERENT * sample.size or stats.high - stats.low < HASH_RANGE:
        return False
    expected = (sample - stats.low) / (stats.high - stats.low)
    return bool(np.abs(expected - (np.arange(sample.size) + 0.5) / sample.size).max() < EVEN)


def _heavy(stats: NumberStats) -> Rule | None:
    sample = stats.sampled()
    low, middle, high = np.quantile(sample, (0.05, 0.5, 0.95))
    unit = float(high - low) / NORMAL_RANGE
    if unit <= 0.0:  # nearly all values are equal: the others tell the unit
        unit = float(np.abs(sample - middle).mean()) or stats.deviation
    if max(stats.high - middle, middle - stats.low) <= HEAVY * unit:
        return None
    logs = np.arcsinh((sample - middle) / unit)
    spread = float(logs.std())
    return Rule("heavy_tailed", float(logs.mean()), spread, float(middle), unit) if spread > 0.0 else None


def _line_json(part: LineScaler) -> dict[str, object]:
    numbers = {name: [*rule] for name, rule in part.numbers.items()}
    return {"crowded": part.crowded, "numbers": numbers, "off": part.off, "words": part.words}


def _line_from(obj: Any) -> LineScaler:  # Any: JSON of a stored scaler
    rules = {}
    for name, (kind, *numbers, indicator) in obj["numbers"].items():
        mean, spread, middle, unit = (float(number) for number in numbers)
        if kind not in _KINDS or not all(map(math.isfinite, (mean, spread, middle, unit))) or min(spread, unit) <= 0.0:
            raise ValueError(f"the rule of {name} cannot be used")
        rules[name] = Rule(kind, mean, spread, middle, unit, bool(indicator))
    words, off = tuple(obj["words"]), tuple(obj["off"])
    if not all(isinstance(text, str) for text in (*words, *off)):
        raise ValueError("words must be texts")
    return LineScaler(rules, words, off, bool(obj["crowded"]))
