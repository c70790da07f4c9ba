"""Vowpal Wabbit's arguments for a policy.

This module must never pass on text that came from outside: VW options can read and write files, so every argument is
written from the tables here and in `bandits.parameters`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, cast

from bandits.parameters import ALGORITHMS, COMMON, INTERACTIONS
from bandits.policy import BanditPolicy

SEED: Final = 17


ALGORITHM_FLAGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "softmax": "--softmax",
        "squarecb": "--squarecb",
        "regcb": "--regcb",
        "first": "--epsilon 0",
    }
)


def vw_arguments(policy: BanditPolicy) -> str:
    """Arguments that create an untrained model: what the model's header must say, and `runtime_arguments`."""
    parts = [
        "--slates" if policy.slates else "--cb_explore_adf",
        "--hash all",
        f"--random_seed {SEED}",
        ALGORITHM_FLAGS.get(policy.algorithm, ""),
    ]
    for name, spec in {**COMMON, **ALGORITHMS[policy.algorithm]}.items():
        if spec.option:
            parts.append(f"--{spec.option} {policy.parameters[name]!r}")
    parts += [
        f"--interactions {INTERACTIONS[name]}" for name in cast(tuple[str, ...], policy.parameters["interactions"])
    ]
    return " ".join([part for part in parts if part] + [runtime_arguments(policy)])


def runtime_arguments(policy: BanditPolicy) -> str:
    """Arguments that VW does not keep in a model and so wants again at each load.

    Without --preserve_performance_counters a loaded and saved model differs from one that stayed in memory, and l2
    would silently be dropped from the second round on.
    """
    parts = [
        "--save_resume",
        "--preserve_performance_counters",
        "--quiet",
        "--no_stdin",
    ]
    return " ".join(parts + ([f"--l2 {policy.parameters['l2']!r}"] if policy.parameters["l2"] else []))
