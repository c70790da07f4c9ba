"""What each feature contributed to a choice: the change in probability when the feature is left out.

The distribution is computed again without the feature, so the answer is exact for every policy and every model.
Contributions do not add up to the probability: features that say the same thing each contribute little.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from bandits.encoding import Features, drop_features, encode_action, encode_context
from bandits.exposure import Counts, groups_of
from bandits.model import Predictor, distribution
from bandits.policy import BanditPolicy, Policy

MOST: Final = 40


class Choice(NamedTuple):
    """A decision to explain."""

    context: Features
    action_features: Features  # of the chosen action; its id is a feature too, and stays in
    action_lines: Sequence[str]  # encode_action(...) of each eligible action
    action_ids: Sequence[str]  # in the same order
    chosen: int  # index in both
    above: Sequence[str] = ()  # lines of the actions at a list's earlier positions
    counts: Counts | None = None  # that it saw, of a target on exposure over a window


class Contribution(NamedTuple):
    """The contribution of one feature to one decision."""

    side: str  # context, or action: of the chosen action
    name: str  # the top-level field
    value: object  # as the caller sent it
    without: float  # probability of the chosen action without the field
    change: float  # probability with the field minus probability without it


def names_of(features: Features) -> list[str]:
    """Top-level names of features, in the order in which they were given."""
    return list(dict.fromkeys(name for part in _parts(features) for name in part))


def contributions(policy: Policy, predictor: Predictor | None, choice: Choice, most: int = MOST) -> list[Contribution]:
    """Contributions of the first ``most`` fields, context before action, with the largest changes first."""
    context, action_features, lines, ids, chosen, above, counts = choice
    exposure = policy.exposure if isinstance(policy, BanditPolicy) and counts is not None else None
    groups = [] if exposure is None else groups_of(lines, exposure.by)
    shared = encode_context(context)

    def chance(shared_line: str, line: str) -> float:
        changed = [*lines[:chosen], line, *lines[chosen + 1 :]]
        known = exposure is not None and groups_of(changed, exposure.by) == groups  # the counts are of these groups
        seen = counts if known else None
        return float(distribution(policy, predictor, shared_line, changed, ids, above, counts=seen)[chosen])

    now = chance(shared, lines[chosen])
    fields = [("context", name) for name in names_of(context)] + [
        ("action", name) for name in names_of(action_features)
    ]
    out = []
    for side, name in fields[:most]:
        if side == "context":
            without = chance(encode_context(drop_features(context, {name})), lines[chosen])
        else:
            without = chance(shared, encode_action(ids[chosen], drop_features(action_features, {name})))
        source = context if side == "context" else action_features
        out.append(Contribution(side, name, _value(source, name), without, now - without))
    return sorted(out, key=lambda contribution: -abs(contribution.change))


def _parts(features: Features) -> Sequence[Mapping[str, object]]:
    return [features] if isinstance(features, Mapping) else features


def _value(features: Features, name: str) -> object:
    values = [part[name] for part in _parts(features) if name in part]
    return values[0] if len(values) == 1 else values
