"""Learning settings as that service wrote them, in the words of Vowpal Wabbit, and our policies: one from the other.

Nothing of such a text ever reaches Vowpal Wabbit, whose options can read and write files. Each word is looked up in the table
below, and becomes a named, bounded parameter of a policy; a word that is not in the table is refused.
"""

import shlex
from collections.abc import Iterator
from typing import Final

from app.foundation.errors import LoopwiseError
from app.foundation.fields import JsonObject
from app.web.api.personalizer.shapes import not_here
from bandits.parameters import ALGORITHMS, INTERACTIONS, LEARNERS
from bandits.policy import BanditPolicy, Policy, UniformPolicy

OWN: Final = "--loopwise"  # names one of Loopwise's own learners, which Vowpal Wabbit has not
_NAMES: Final = {
    "-l": "learning_rate",
    "--learning_rate": "learning_rate",
    "--power_t": "power_t",
    "--l2": "l2",
    "-b": "bits",
    "--bit_precision": "bits",
    "--epsilon": "epsilon",
    "--lambda": "lambda_",
    "--bag": "bags",
    "--cover": "policies",
    "--psi": "psi",
    "--gamma_scale": "gamma_scale",
    "--gamma_exponent": "gamma_exponent",
    "--mellowness": "mellowness",
    "--first": "explore_first",
    "--exploration": "exploration",
}
_WHOLE: Final = ("bits", "bags", "policies", "explore_first")
_ALGORITHMS: Final = {
    "--softmax": "softmax",
    "--squarecb": "squarecb",
    "--regcb": "regcb",
    "--bag": "bag",
    "--cover": "cover",
    "--first": "first",
}
_SWITCHES: Final = ("--cb_explore_adf", "--softmax", "--squarecb", "--regcb", "--quiet", "--dsjson")
_ALWAYS: Final = {"--cb_type": "mtr", "--hash": "all"}  # what every model does
_CROSSES: Final = ("-q", "--quadratic", "--cubic", "--interactions")
_BOTH: Final = {"::": ("ca", "cc", "aa"), ":::": ("cca", "caa")}  # ":" is every namespace


def as_arguments(policy: Policy) -> str:
    """The learning settings of a policy."""
    if isinstance(policy, UniformPolicy):
        return "--cb_explore_adf --epsilon 1.0"
    if not isinstance(policy, BanditPolicy):
        return ""
    words = [f"{OWN} {policy.algorithm}"] if policy.rebuilds else ["--cb_explore_adf"]
    words += [flag for flag, algorithm in _ALGORITHMS.items() if algorithm == policy.algorithm and flag in _SWITCHES]
    flags = {name: flag for flag, name in _NAMES.items()}
    words += [f"{flags[name]} {value!r}" for name, value in policy.parameters.items() if name in flags]
    crossed = policy.parameters.get("interactions", ())
    words += [f"--interactions {INTERACTIONS[name]}" for name in crossed] if isinstance(crossed, tuple) else []
    return " ".join(words)


def as_policy(arguments: str) -> JsonObject:
    """The policy of learning settings, before it is checked.

    :raises Unprocessable: a word of it means nothing here; the error names it.
    """
    algorithm, parameters, crossed = "epsilon_greedy", dict[str, int | float](), list[str]()
    for flag, value in _words(arguments):
        algorithm = _ALGORITHMS.get(flag, algorithm)
        if flag == OWN:
            algorithm = _learner(value)
        elif flag in _CROSSES:
            crossed += _BOTH.get(value, (value,))
        elif flag in _NAMES:
            parameters[_NAMES[flag]] = _number(flag, value)
        elif flag in _ALWAYS and value != _ALWAYS[flag]:
            raise _refused(f"{flag} {value}")
    policy: JsonObject = {"type": "bandit", "algorithm": algorithm}
    if crossed:
        parameters_crossed = _crossed(crossed)
        return policy | {"parameters": {**_own_parameters(algorithm, parameters), "interactions": parameters_crossed}}
    return policy | {"parameters": _own_parameters(algorithm, parameters)}


def _words(arguments: str) -> Iterator[tuple[str, str]]:
    """The options, each with its value; a switch has none."""
    try:
        words = shlex.split(arguments.replace("=", " "))
    except ValueError:
        raise _refused(arguments[:100]) from None
    rest = iter(words)
    for flag in rest:
        if flag in _SWITCHES:
            yield flag, ""
        elif flag in (OWN, *_NAMES, *_ALWAYS, *_CROSSES):
            yield flag, next(rest, "")
        else:
            raise _refused(flag)


def _learner(name: str) -> str:
    if name not in LEARNERS:
        raise _refused(f"{OWN} {name}")
    return name


def _crossed(pairs: list[str]) -> list[str]:
    names = {letters: name for name, letters in INTERACTIONS.items()}
    unknown = [pair for pair in pairs if pair not in names]
    if unknown:
        raise _refused(f"--interactions {unknown[0]}")
    return list(dict.fromkeys(names[pair] for pair in pairs))


def _own_parameters(algorithm: str, given: dict[str, int | float]) -> dict[str, int | float]:
    """Without an epsilon for an algorithm that has none: that service wrote one beside every algorithm."""
    has = ALGORITHMS.get(algorithm, {})
    return {name: value for name, value in given.items() if name != "epsilon" or "epsilon" in has}


def _number(flag: str, value: str) -> int | float:
    try:
        number = float(value)
        return int(number) if _NAMES[flag] in _WHOLE and number == int(number) else number
    except (ValueError, OverflowError):
        raise _refused(f"{flag} {value}") from None


def _refused(word: str) -> LoopwiseError:
    usable = ", ".join(sorted({*_SWITCHES, *_NAMES, *_ALWAYS, *_CROSSES, OWN}))
    return not_here(f"Learning settings do not know {word[:100]!r}. Usable are: {usable}.")
