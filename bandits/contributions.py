"""What each feature did to one choice: the distribution made again without it. Exact, for every policy and every model.

Leaving one feature out at a time does not split the probability into parts: contributions of features that say the same
thing are small, and they need not sum to anything.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from bandits.encoding import Features, drop_features, encode_action, encode_context
from bandits.model import Predictor, distribution
from bandits.policy import Policy

MOST: Final = 40


class Choice(NamedTuple):
    """One decision: what was known, what could be chosen, and what was."""

    context: Features
    action_features: Features  # of the chosen action; its id is a feature too, and cannot be left out
    action_lines: Sequence[str]  # encode_action(...) of each eligible action
    action_ids: Sequence[str]  # in the same order
    chosen: int  # index in both


class Contribution(NamedTuple):
    """One feature of one decision."""

    side: str  # context, or action: of the chosen action
    name: str  # the top-level field
    value: object  # as the caller sent it
    without: float  # probability of the chosen action if the field had not been there
    change: float  # the probability with the field minus the one without it


def names_of(features: Features) -> list[str]:
    """Top-level names of features, in the order in which they were given."""
    return list(dict.fromkeys(name for part in _parts(features) for name in part))


def contributions(policy: Policy, predictor: Predictor | None, choice: Choice, most: int = MOST) -> list[Contribution]:
    """The first ``most`` fields, the context's before the action's; the largest changes come first."""
    context, action_features, lines, ids, chosen = choice
    shared = encode_context(context)

    def chance(shared_line: str, line: str) -> float:
        changed = [*lines[:chosen], line, *lines[chosen + 1 :]]
        return float(distribution(policy, predictor, shared_line, changed, ids)[chosen])

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
