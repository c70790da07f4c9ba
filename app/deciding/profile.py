"""Features of a unit from its own past decisions in an experiment. The functions are pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.deciding.store.units import Past
from app.design.people_config import ProfileSpec
from app.foundation.fields import JsonObject

HOUR_S = 3600.0
DIGITS = 6  # the model learns from the logged features, and short numbers keep the log small


def features(
    spec: ProfileSpec, past: Sequence[Past], now: float, tags: Mapping[str, Sequence[str]] | None = None
) -> JsonObject:
    """Return the object that is added to the context as ``profile``.

    Each earlier decision weighs 2^(-age / half-life). ``times`` and the counts are sums of weights. ``mean`` is the weighted
    mean of the settled rewards, ``last`` is the newest settled reward. Features without any decision are left out.

    :param past: earlier decisions, newest first.
    :param now: Unix time, in seconds.
    :param tags: the tags of each action, by action id.
    """
    weighted = [(decision, 2.0 ** (-max(0.0, now - decision.at) / spec.half_life_s)) for decision in past]
    document: JsonObject = {}
    if spec.counts:
        document["decisions"] = _short(sum(weight for _, weight in weighted))
        document["messages"] = _short(sum(weight for decision, weight in weighted if decision.channel is not None))
    if spec.recency:
        messages = [decision for decision in past if decision.channel is not None]
        document |= {
            f"hours_since_{name}": _hours(rows, now)
            for name, rows in (("decision", past), ("message", messages))
            if rows
        }
    if spec.actions:
        document["actions"] = _summaries(weighted, lambda decision: (decision.action,))
    if spec.tags:
        tags_by_action = tags or {}
        document["tags"] = _summaries(weighted, lambda decision: tags_by_action.get(decision.action, ()))
    return document


def tags_of(actions: Iterable[Any]) -> dict[str, list[str]]:
    """Return the feature ``tags`` of each action that has a list of strings there, by action id."""
    tags_by_action = {}
    for action in actions:
        tags = action.features.get("tags") if isinstance(action.features, Mapping) else None
        if isinstance(tags, list):
            tags_by_action[action.id] = [tag for tag in tags if isinstance(tag, str)]
    return tags_by_action


def _summaries(weighted: list[tuple[Past, float]], names: Any) -> dict[str, dict[str, float]]:
    by_name: dict[str, list[tuple[Past, float]]] = {}
    for decision, weight in weighted:
        for name in names(decision):
            by_name.setdefault(name, []).append((decision, weight))
    return {name: _summary(rows) for name, rows in sorted(by_name.items())}


def _summary(rows: list[tuple[Past, float]]) -> dict[str, float]:
    settled = [(decision.reward, weight) for decision, weight in rows if decision.reward is not None]
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
