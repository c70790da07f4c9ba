"""What each feature did to one choice: the distribution made again without it. Exact, for every policy and every model.

Leaving one feature out at a time does not split the probability into parts: contributions of features that say the same
thing are small, and they need not sum to anything.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from bandits.encoding import drop_features, encode_action, encode_context
from bandits.model import Predictor, distribution
from bandits.policy import Policy

MOST: Final = 40


class Contribution(NamedTuple):
    """One feature of one decision."""

    side: str  # context, or action: of the chosen action
    name: str  # the top-level field
    value: Any
    without: float  # probability of the chosen action if the field had not been there
    change: float  # the probability with it minus the one without it


def names_of(features: Any) -> list[str]:
    """Top-level names of features, in the order in which they were given."""
    parts = [features] if isinstance(features, Mapping) else features
    return list(dict.fromkeys(name for part in parts for name in part))


def contributions(
    policy: Policy,
    predictor: Predictor | None,
    context: Any,
    action_features: Any,
    action_lines: Sequence[str],
    action_ids: Sequence[str],
    chosen: int,
    most: int = MOST,
) -> list[Contribution]:
    """The first ``most`` fields, the context's before the action's; the largest changes come first.

    :param action_features: of the chosen action; its id is a feature too, and cannot be left out.
    """
    shared, lines = encode_context(context), list(action_lines)

    def chance(shared_line: str, line: str) -> float:
        given = [*lines[:chosen], line, *lines[chosen + 1 :]]
        return float(distribution(policy, predictor, shared_line, given, action_ids)[chosen])

    now = chance(shared, lines[chosen])
    fields = [("context", name) for name in names_of(context)] + [
        ("action", name) for name in names_of(action_features)
    ]
    found = []
    for side, name in fields[:most]:
        if side == "context":
            without = chance(encode_context(drop_features(context, {name})), lines[chosen])
        else:
            without = chance(shared, encode_action(action_ids[chosen], drop_features(action_features, {name})))
        source = context if side == "context" else action_features
        found.append(Contribution(side, name, _value(source, name), without, now - without))
    return sorted(found, key=lambda one: -abs(one.change))


def _value(features: Any, name: str) -> Any:
    values = [part[name] for part in ([features] if isinstance(features, Mapping) else features) if name in part]
    return values[0] if len(values) == 1 else values
