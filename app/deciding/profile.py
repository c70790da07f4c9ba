"""Features of a unit from its own past in an experiment. Pure: what was read, and the moment, decide everything."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.deciding.store.units import Past
from app.design.people_config import ProfileSpec
from app.foundation.fields import JsonObject

HOUR_S = 3600.0
DIGITS = 6  # what is logged is what is learned from: short numbers keep the log small


def features(
    spec: ProfileSpec, past: Sequence[Past], now: float, tags: Mapping[str, Sequence[str]] | None = None
) -> JsonObject:
    """The object that is added to the context as ``profile``.

    Each earlier decision weighs 2^(-age / half-life). ``times`` and the counts are sums of weights, ``mean`` is the weighted
    mean of the settled rewards, ``last`` the newest settled one; what there is nothing of is left out.

    :param past: earlier decisions, newest first.
    :param now: Unix time, in seconds.
    :param tags: by action, its tags.
    """
    weighted = [(one, 2.0 ** (-max(0.0, now - one.at) / spec.half_life_s)) for one in past]
    found: JsonObject = {}
    if spec.counts:
        found["decisions"] = _short(sum(weight for _, weight in weighted))
        found["messages"] = _short(sum(weight for one, weight in weighted if one.channel is not None))
    if spec.recency:
        said = [one for one in past if one.channel is not None]
        found |= {
            f"hours_since_{name}": _hours(rows, now) for name, rows in (("decision", past), ("message", said)) if rows
        }
    if spec.actions:
        found["actions"] = _summaries(weighted, lambda one: (one.action,))
    if spec.tags:
        known = tags or {}
        found["tags"] = _summaries(weighted, lambda one: known.get(one.action, ()))
    return found


def tags_of(actions: Iterable[Any]) -> dict[str, list[str]]:
    """By action id, its feature ``tags`` where that is a list of strings."""
    found = {}
    for action in actions:
        tags = action.features.get("tags") if isinstance(action.features, Mapping) else None
        if isinstance(tags, list):
            found[action.id] = [tag for tag in tags if isinstance(tag, str)]
    return found


def _summaries(weighted: list[tuple[Past, float]], names: Any) -> dict[str, dict[str, float]]:
    by_name: dict[str, list[tuple[Past, float]]] = {}
    for one, weight in weighted:
        for name in names(one):
            by_name.setdefault(name, []).append((one, weight))
    return {name: _summary(rows) for name, rows in sorted(by_name.items())}


def _summary(rows: list[tuple[Past, float]]) -> dict[str, float]:
    settled = [(one.reward, weight) for one, weight in rows if one.reward is not None]
    total = sum(weight for _, weight in settled)
    summary = {"times": _short(sum(weight for _, weight in rows))}
    if settled:
        summary["last"] = _short(settled[0][0])
    if total > 0:
        summary["mean"] = _short(sum(reward * weight for reward, weight in settled) / total)
    return summary


def _hours(rows: Sequence[Past], now: float) -> float:
    return _short(max(0.0, now - rows[0].at) / HOUR_S)


def _short(value: float) -> float:
    return round(value, DIGITS)
