"""The policies that a search tries: every combination of the allowed settings, or a random part of them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product, zip_longest
from types import MappingProxyType
from typing import Final

import numpy as np
from pydantic import JsonValue

from app.foundation.fields import JsonObject
from app.off_policy.evaluation_request import Space
from bandits.parameters import ALGORITHMS, LEARNERS, NOT_FOR_SLATES
from bandits.policy import Policy, parse_policy

# What is tried of each algorithm's own parameters; every other parameter keeps its default.
OWN: Final[Mapping[str, Mapping[str, Sequence[float]]]] = MappingProxyType(
    {
        "auto": {"exploration": (0.05, 0.1, 0.3)},
        "thompson": {"exploration": (0.05, 0.1, 0.3, 1.0)},
        "squarecb": {"gamma_scale": (3.0, 10.0, 30.0, 100.0), "gamma_exponent": (0.25, 0.5)},
        "epsilon_greedy": {"epsilon": (0.0, 0.05)},
        "softmax": {"lambda_": (3.0, 10.0, 30.0, 100.0)},
        "bag": {"bags": (5, 10)},
        "cover": {"policies": (3, 8), "psi": (0.1, 1.0)},
        "regcb": {"mellowness": (0.001, 0.01, 0.1)},
        "first": {"explore_first": (100, 1000)},
    }
)


def policies(space: Space, points: int, seed: int, *, slates: bool) -> list[Policy]:
    """The default policy, and at most so many in all, drawn without repeats, of each algorithm in turn.

    :param slates: whether they fill the slots of composed messages.
    :raises PolicyError: a setting cannot be used.
    """
    default = parse_policy({"type": "bandit", "slates": True} if slates else {"type": "bandit"})
    drawn, random = [], np.random.default_rng(seed)
    for algorithm in dict.fromkeys(space.algorithms):
        documents = [] if slates and algorithm in {*NOT_FOR_SLATES, *LEARNERS} else [*_of(algorithm, space)]
        found = [parse_policy(document | ({"slates": True} if slates else {})) for document in documents]
        drawn.append([found[place] for place in random.permutation(len(found))])
    others = [policy for row in zip_longest(*drawn) for policy in row if policy is not None and policy != default]
    return [default, *[*dict.fromkeys(others)][: points - 1]]


def _of(algorithm: str, space: Space) -> Iterator[JsonObject]:
    of_vw = algorithm in ALGORITHMS
    members: dict[str, Sequence[JsonValue]] = {"exploration_floor": space.exploration_floors}
    parameters: dict[str, Sequence[JsonValue]] = dict(OWN[algorithm])
    if of_vw:
        parameters |= {
            "learning_rate": space.learning_rates,
            "interactions": [list(names) for names in space.interactions],
        }
    if of_vw and algorithm != "regcb":
        members["scaling"] = space.scaling
    for outer in product(*members.values()):
        for inner in product(*parameters.values()):
            own: JsonObject = dict(zip(parameters, inner, strict=True))
            document: JsonObject = {"type": "bandit", "algorithm": algorithm, "parameters": own}
            yield document | dict(zip(members, outer, strict=True))
