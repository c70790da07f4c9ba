"""The parameters of each algorithm: their names, their bounds, and what Vowpal Wabbit calls them.

Parameters of every algorithm:

| parameter     | range        | default              | meaning                                                          |
|---------------|--------------|----------------------|------------------------------------------------------------------|
| learning_rate | 0.0001 - 10  | 0.5                  | size of the first updates (VW's adaptive, normalised steps)      |
| power_t       | 0 - 1        | 0.5                  | how fast updates shrink: 0 never (drifting worlds), 1 fastest    |
| l2            | 0 - 0.01     | 0                    | pull of the weights towards 0 at each update                     |
| bits          | 10 - 22      | 18                   | 2^bits weights: fewer collisions, more memory (16 bytes each)    |
| interactions  | names below  | `["context*action"]` | products of features that the model may use                      |

Parameters of one algorithm:

| algorithm      | parameter      | range       | default | meaning                                                        |
|----------------|----------------|-------------|---------|----------------------------------------------------------------|
| epsilon_greedy | epsilon        | 0 - 1       | 0.05    | share of decisions spread evenly; the rest takes the best      |
| softmax        | lambda_        | 0 - 1000    | 10      | 0 is uniform; larger follows the predicted reward more sharply |
| bag            | bags           | 2 - 32      | 5       | models on bootstrap samples; probability = share of votes      |
| bag            | epsilon        | 0 - 1       | 0       | as above, mixed in after the votes                             |
| cover          | policies       | 1 - 32      | 3       | policies that together cover the plausible actions             |
| cover          | epsilon        | 0 - 1       | 0.05    | as above                                                       |
| cover          | psi            | 0.01 - 10   | 1       | how much the policies must differ                              |
| squarecb       | gamma_scale    | 0.1 - 10000 | 10      | larger explores less: p = 1 / (K + gamma * predicted gap)      |
| squarecb       | gamma_exponent | 0 - 1       | 0.5     | gamma grows with (examples learned)^exponent                   |
| regcb          | mellowness     | 0.00001 - 1 | 0.1     | width of the confidence bounds; larger explores more           |
| first          | explore_first  | 0 - 1000000 | 100     | uniform until that many decisions are learned, then the best   |
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

ParameterValue = int | float | str | tuple[str, ...]


class Parameter(NamedTuple):
    """One bounded number of a policy."""

    option: str  # VW's name for it; "" when Loopwise itself acts on it
    low: float  # smallest allowed value, inclusive
    high: float  # largest allowed value, inclusive
    default: int | float  # an int default makes it a whole-number parameter


COMMON: Final[Mapping[str, Parameter]] = MappingProxyType(
    {
        "learning_rate": Parameter("learning_rate", 0.0001, 10.0, 0.5),
        "power_t": Parameter("power_t", 0.0, 1.0, 0.5),
        "l2": Parameter("", 0.0, 0.01, 0.0),
        "bits": Parameter("bit_precision", 10, 22, 18),
    }
)
ALGORITHMS: Final[Mapping[str, Mapping[str, Parameter]]] = MappingProxyType(
    {
        "epsilon_greedy": {"epsilon": Parameter("epsilon", 0.0, 1.0, 0.05)},
        "softmax": {"lambda_": Parameter("lambda", 0.0, 1000.0, 10.0)},
        "bag": {
            "bags": Parameter("bag", 2, 32, 5),
            "epsilon": Parameter("epsilon", 0.0, 1.0, 0.0),
        },
        "cover": {
            "policies": Parameter("cover", 1, 32, 3),
            "epsilon": Parameter("epsilon", 0.0, 1.0, 0.05),
            "psi": Parameter("psi", 0.01, 10.0, 1.0),
        },
        "squarecb": {
            "gamma_scale": Parameter("gamma_scale", 0.1, 10_000.0, 10.0),
            "gamma_exponent": Parameter("gamma_exponent", 0.0, 1.0, 0.5),
        },
        "regcb": {"mellowness": Parameter("mellowness", 0.00001, 1.0, 0.1)},
        # VW's own --first counts predictions, in memory: the same model would answer an audit differently than it served.
        # Loopwise counts learned decisions, which are part of the model's bytes, and VW stays greedy.
        "first": {"explore_first": Parameter("", 0, 1_000_000, 100)},
    }
)
# Loopwise's own learners (`bandits.learner`): Vowpal Wabbit only fits regressions for `auto`.
_EXPLORATION: Final = Parameter("", 0.01, 2.0, 0.1)
LEARNERS: Final[Mapping[str, Mapping[str, Parameter]]] = MappingProxyType(
    {"auto": {"exploration": _EXPLORATION}, "thompson": {"exploration": _EXPLORATION}}
)
CANDIDATES: Final = (
    *("linear", "kernel", "shared", "ca", "cca", "linear+ca", "linear+cca"),
    *("kernel+ca", "kernel+cca", "shared+ca", "shared+cca"),
)
# VW knows a namespace by its first letter: "c" and "a" are the only namespaces that encoding.py writes.
INTERACTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "context*action": "ca",
        "context*context": "cc",
        "action*action": "aa",
        "context*context*action": "cca",
        "context*action*action": "caa",
    }
)
DEFAULT_INTERACTIONS: Final = ("context*action",)
# Measured (python -m benchmarks.slates_lists): in an easy world, after 4,000 uniform decisions, the others are worth 0.86 to
# 0.90 of 0.90, cover 0.54, where chance is worth 0.43.
NOT_FOR_SLATES: Final = frozenset({"cover"})
