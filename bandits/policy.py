"""The kinds of policy: fixed, uniform, the first action of a call, or a bandit with bounded, named parameters.

This module turns JSON into policies, and reports everything that is wrong with a description.

`bandits.parameters` lists the parameters of each algorithm. With `scaling`, each number of a context or an action is
learned at its own scale (bandits/learner/vw_learner.py); Loopwise's own learners always do so. A policy with
`slates` fills the slots of a composed message (`bandits.slates`); every algorithm but cover can.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

from bandits.diversity import MAX_WEIGHT
from bandits.exposure import Exposure, exposure_to_json, parse_exposure
from bandits.parameters import (
    ALGORITHMS,
    CANDIDATES,
    COMMON,
    DEFAULT_INTERACTIONS,
    INTERACTIONS,
    LEARNERS,
    NOT_FOR_SLATES,
    Parameter,
    ParameterValue,
)

MIN_FLOOR: Final = 0.001
DEFAULT_FLOOR: Final = 0.05
DEFAULT_ALGORITHM: Final = "auto"
DEFAULT_FOR_SLATES: Final = "squarecb"
# Where the floor of `auto` and `thompson` begins and where it ends. They explore by uncertainty, so little is needed for good.
LEARNER_FLOORS: Final = (0.02, 0.01)
MOST_OFF: Final = 100  # features that a policy may not see
FLOOR_HALVES_AFTER: Final = 100  # learned decisions until half of the way from the start to the end is done


class Problem(NamedTuple):
    """One wrong part of a policy's description."""

    path: str  # JSON pointer
    code: str  # what is wrong with it
    params: Mapping[str, object] = MappingProxyType({})  # what a sentence about it has to name, such as limits


class PolicyError(ValueError):
    """A policy description that cannot be used; `problems` lists what is wrong in the order of the description."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(
            "; ".join(f"{problem.path or '/'}: {problem.code} {dict(problem.params)}" for problem in problems)
        )
        self.problems = problems


@dataclass(frozen=True)
class FixedPolicy:
    """Always the same action. Where it is not eligible, the choice is uniform over the eligible actions."""

    action: str  # action id


@dataclass(frozen=True)
class UniformPolicy:
    """Every eligible action with the same probability. Such a log can answer every off-policy question."""


@dataclass(frozen=True)
class FirstActionPolicy:
    """The first eligible action in the order in which they were offered: what the caller would do by itself."""


@dataclass(frozen=True)
class BanditPolicy:
    """A learned policy. Missing parameters get their defaults; a wrong one raises `PolicyError`."""

    algorithm: str  # a key of ALGORITHMS
    # Complete after construction: every parameter of the algorithm and the common ones.
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    # Share f in [0.001, 1] given to uniform choice: logged = (1-f)*p + f/K. Several algorithms give exact zeros, which no
    # estimator can divide by, so f is never 0. The default of 0.05 bounds the importance weights by 20 K and costs at
    # most 5% of the gap between the best policy and uniform.
    exploration_floor: float = DEFAULT_FLOOR
    slates: bool = False  # True: chooses per slot of a composed message; the floor is then mixed in per slot
    floor_start: float = 0.0  # where f begins, falling to exploration_floor with what is learned; 0: it does not fall
    scaling: bool = False  # True: numbers at their own scale, learned from the log, for an algorithm of Vowpal Wabbit
    # A policy that decides in place of what was learned, except for a share of `probe`. No description holds it: the platform
    # sets it while an arm stays behind what a person trusts, and while it is an apprentice.
    instead: FixedPolicy | UniformPolicy | FirstActionPolicy | None = None
    probe: float = 0.0
    features_off: tuple[str, ...] = ()  # top-level context fields that it neither learns from nor decides by, sorted
    learns: bool = True  # False: it decides with the model that it was given, for good
    exposure: Exposure | None = None  # what each group of actions gets, at least and at most, in every decision
    diversity: float = 0.0  # how strongly a position of a list avoids what is like the actions above it; 0: not at all

    def __post_init__(self) -> None:
        problems: list[Problem] = []
        complete = _check_bandit(self.algorithm, self.parameters, problems)
        floor = _number("/exploration_floor", self.exploration_floor, _FLOOR, problems)
        start = _number("/exploration_floor_start", self.floor_start or floor, _FLOOR, problems)
        if start < floor:
            problems.append(Problem("/exploration_floor_start", "policy_floor_start", {"floor": floor}))
        if not isinstance(self.slates, bool):
            problems.append(Problem("/slates", "not_true_or_false"))
        elif self.slates and str(self.algorithm) in {*NOT_FOR_SLATES, *LEARNERS}:
            usable = [name for name in ALGORITHMS if name not in NOT_FOR_SLATES]
            problems.append(Problem("/algorithm", "policy_no_slates", {"algorithm": self.algorithm, "usable": usable}))
        if not isinstance(self.scaling, bool):
            problems.append(Problem("/scaling", "not_true_or_false"))
        elif self.scaling and str(self.algorithm) in LEARNERS:
            problems.append(Problem("/scaling", "policy_scaling", {"algorithm": self.algorithm}))
        off = _features_off(self.features_off, problems)
        if not isinstance(self.learns, bool):
            problems.append(Problem("/learns", "not_true_or_false"))
        if problems:
            raise PolicyError(problems)
        object.__setattr__(self, "parameters", MappingProxyType(complete))
        object.__setattr__(self, "exploration_floor", floor)
        object.__setattr__(self, "floor_start", start)
        object.__setattr__(self, "features_off", off)

    def __hash__(self) -> int:
        return hash((self.algorithm, tuple(self.parameters.items()), *self._rest()))

    def __reduce__(self) -> tuple[type["BanditPolicy"], tuple[object, ...]]:
        return BanditPolicy, (self.algorithm, dict(self.parameters), *self._rest())

    def _rest(self) -> tuple[object, ...]:
        floors = self.exploration_floor, self.slates, self.floor_start
        rest = self.scaling, self.instead, self.probe, self.features_off, self.learns
        return (*floors, *rest, self.exposure, self.diversity)

    def floor_at(self, examples: int) -> float:
        """The floor of a model that has learned so many decisions: exploration_floor + (start - it) / (1 + examples / 100)."""
        more = self.floor_start - self.exploration_floor
        return self.exploration_floor + more / (1.0 + examples / FLOOR_HALVES_AFTER)

    @property
    def rebuilds(self) -> bool:
        """Whether it is one of Loopwise's own learners, which from time to time learn from nothing over the log."""
        return self.algorithm in LEARNERS

    @property
    def exploration(self) -> float:
        """Standard deviations of belief that `auto` and `thompson` explore with, in units of the rewards' noise."""
        return cast(float, self.parameters["exploration"])

    @property
    def pinned(self) -> str:
        """The candidate that always serves; "" where the race decides."""
        return cast(str, self.parameters.get("candidate", ""))

    @property
    def bits(self) -> int:
        """Binary logarithm of the number of weights."""
        return cast(int, self.parameters["bits"])

    @property
    def explore_first(self) -> int:
        """Learned decisions before which the choice is uniform; 0 for every algorithm but `first`."""
        return cast(int, self.parameters.get("explore_first", 0))


Policy = FixedPolicy | UniformPolicy | FirstActionPolicy | BanditPolicy
_FLOOR: Final = Parameter("", MIN_FLOOR, 1.0, DEFAULT_FLOOR)
_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "fixed": frozenset({"type", "action"}),
    "uniform": frozenset({"type"}),
    "first_action": frozenset({"type"}),
    "bandit": frozenset(
        {"type", "algorithm", "parameters", "exploration_floor", "exploration_floor_start", "slates", "scaling"}
        | {"features_off", "learns", "exposure", "diversity"}
    ),
}


def parse_policy(obj: Mapping[str, Any]) -> Policy:  # Any: JSON that a person or a client wrote
    """The policy that a JSON object describes. Raises `PolicyError` with every problem."""
    if not isinstance(obj, Mapping):
        raise PolicyError([Problem("", "not_an_object")])
    kind = obj.get("type")
    if not isinstance(kind, str) or kind not in _KEYS:
        raise PolicyError([Problem("/type", "not_a_choice", {"expected": [*_KEYS]})])
    problems = [Problem(f"/{key}", "policy_unknown_key", {"type": kind}) for key in obj if key not in _KEYS[kind]]
    policy: Policy = UniformPolicy()
    if kind == "fixed":
        action = obj.get("action")
        if not isinstance(action, str) or not action:
            problems.append(Problem("/action", "policy_action"))
        policy = FixedPolicy(str(action))
    elif kind == "first_action":
        policy = FirstActionPolicy()
    elif kind == "bandit":
        try:
            policy = _bandit(obj)
        except PolicyError as error:
            problems += error.problems
    if problems:
        raise PolicyError(problems)
    return policy


def _bandit(obj: Mapping[str, Any]) -> BanditPolicy:  # Any: JSON that a person or a client wrote
    # Composed messages are slates, which `auto` cannot fill. What takes its place has its scale of features, too.
    slates = obj.get("slates", False)
    scaling = obj.get("scaling", bool(slates) and "algorithm" not in obj)
    algorithm = obj.get("algorithm", DEFAULT_FOR_SLATES if slates else DEFAULT_ALGORITHM)
    start, floor = LEARNER_FLOORS if algorithm in LEARNERS else (0.0, DEFAULT_FLOOR)
    floor = obj.get("exploration_floor", floor)
    if "exploration_floor" in obj:  # who sets only the end means a floor that does not fall
        start = 0.0
    start = obj.get("exploration_floor_start", start)
    problems: list[Problem] = []
    exposure, diversity = _exposure(obj, bool(slates), problems), _diversity(obj, bool(slates), problems)
    if problems:
        raise PolicyError(problems)
    return BanditPolicy(
        algorithm,
        obj.get("parameters", {}),
        floor,
        slates,
        start,
        scaling,
        features_off=obj.get("features_off", ()),
        learns=obj.get("learns", True),
        exposure=exposure,
        diversity=diversity,
    )


# Any: JSON that a person or a client wrote
def _exposure(obj: Mapping[str, Any], slates: bool, problems: list[Problem]) -> Exposure | None:
    value = obj.get("exposure")
    if value is None:
        return None
    if slates:
        problems.append(Problem("/exposure", "policy_exposure_slates"))
    elif not isinstance(value, Mapping):
        problems.append(Problem("/exposure", "not_an_object"))
    else:
        try:
            return parse_exposure(value)
        except ValueError as error:
            problems.append(Problem(f"/exposure/{error}", "policy_exposure"))
    return None


def _diversity(obj: Mapping[str, Any], slates: bool, problems: list[Problem]) -> float:
    value = obj.get("diversity", 0.0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= MAX_WEIGHT:
        problems.append(Problem("/diversity", "out_of_range", {"low": 0.0, "high": MAX_WEIGHT}))
        return 0.0
    if slates and value:
        problems.append(Problem("/diversity", "policy_diversity_slates"))
    return float(value)


def learning_part(policy: Policy) -> Policy:
    """The policy without what may change while it runs, because no model depends on it: its exposure and diversity."""
    return replace(policy, exposure=None, diversity=0.0) if isinstance(policy, BanditPolicy) else policy


def policy_to_json(policy: Policy) -> dict[str, object]:
    """The JSON object of a policy, every default written out; `parse_policy` of it gives an equal policy."""
    if isinstance(policy, FixedPolicy):
        return {"type": "fixed", "action": policy.action}
    if isinstance(policy, UniformPolicy):
        return {"type": "uniform"}
    if isinstance(policy, FirstActionPolicy):
        return {"type": "first_action"}
    parameters = {name: list(v) if isinstance(v, tuple) else v for name, v in policy.parameters.items()}
    return {
        "type": "bandit",
        "algorithm": policy.algorithm,
        "parameters": parameters,
        "exploration_floor": policy.exploration_floor,
        **({"exploration_floor_start": policy.floor_start} if policy.floor_start > policy.exploration_floor else {}),
        **({"slates": True} if policy.slates else {}),
        **({"scaling": True} if policy.scaling else {}),
        **({"features_off": list(policy.features_off)} if policy.features_off else {}),
        **({} if policy.learns else {"learns": False}),
        **({"diversity": policy.diversity} if policy.diversity else {}),
        **({} if policy.exposure is None else {"exposure": exposure_to_json(policy.exposure)}),
    }


def _check_bandit(algorithm: object, given: object, problems: list[Problem]) -> dict[str, ParameterValue]:
    if not isinstance(algorithm, str) or algorithm not in {**LEARNERS, **ALGORITHMS}:
        problems.append(Problem("/algorithm", "not_a_choice", {"expected": [*LEARNERS, *ALGORITHMS]}))
        return {}
    if not isinstance(given, Mapping):
        problems.append(Problem("/parameters", "not_an_object"))
        return {}
    specs = LEARNERS[algorithm] if algorithm in LEARNERS else {**COMMON, **ALGORITHMS[algorithm]}
    others = [] if algorithm == "thompson" else ["candidate"] if algorithm == "auto" else ["interactions"]
    for name in given:
        if name not in specs and name not in others:
            params = {"algorithm": algorithm, "allowed": [*specs, *others]}
            problems.append(Problem(f"/parameters/{name}", "policy_parameter", params))
    complete: dict[str, ParameterValue] = {
        name: _number(f"/parameters/{name}", given.get(name, spec.default), spec, problems)
        for name, spec in specs.items()
    }
    if "interactions" in others:
        complete["interactions"] = _interactions(given.get("interactions", DEFAULT_INTERACTIONS), problems)
    if given.get("candidate") and "candidate" in others:
        if given["candidate"] not in CANDIDATES:
            problems.append(Problem("/parameters/candidate", "not_a_choice", {"expected": [*CANDIDATES]}))
        complete["candidate"] = str(given["candidate"])
    return complete


def _number(path: str, value: object, spec: Parameter, problems: list[Problem]) -> int | float:
    whole = isinstance(spec.default, int)
    # NaN fails the comparison, as it should.
    if (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and spec.low <= value <= spec.high
        and not (whole and value != int(value))
    ):
        return int(value) if whole else float(value)
    problems.append(
        Problem(path, "not_whole_in_range" if whole else "out_of_range", {"low": spec.low, "high": spec.high})
    )
    return spec.default


def _features_off(value: object, problems: list[Problem]) -> tuple[str, ...]:
    names = value if isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value) else None
    if names is None or len(set(names)) != len(names) or len(names) > MOST_OFF or any(map(_is_no_text, names)):
        problems.append(Problem("/features_off", "policy_features_off", {"limit": MOST_OFF}))
        return ()
    return tuple(sorted(names))


def _is_no_text(name: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in name)  # half of a surrogate pair


def _interactions(value: object, problems: list[Problem]) -> tuple[str, ...]:
    names = value if isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value) else None
    if names is None or len(set(names)) != len(names) or not set(names) <= set(INTERACTIONS):
        problems.append(Problem("/parameters/interactions", "policy_interactions", {"names": [*INTERACTIONS]}))
        return ()
    # A fixed order, so that the same set of interactions gives the same model bytes.
    return tuple(name for name in INTERACTIONS if name in names)
