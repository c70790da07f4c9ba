"""Computes each arm's distribution on every row of the log, and from them the platform's own distribution.

A unit's arm is drawn too. So the chance of an action on a row is the sum over arms of the share times the arm's chance.
With it, the rows of a fixed arm serve the evaluation of a learner, and the reverse: no row is lost.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.deciding.windows.targets import counts_of
from app.design.fallbacks import policy_in_force
from app.learning.examples import Configs
from app.off_policy.store.evaluations import LoggedRow
from bandits.encoding import encode_context
from bandits.model import Predictor, distribution
from bandits.policy import BanditPolicy, Policy

FloatArray = NDArray[np.float64]
LoadVersion = Callable[[str, int], Predictor | None]


class Encoded(NamedTuple):
    """The encoded contexts and actions of rows."""

    shared: list[str]
    lines: list[list[str]]  # of the eligible actions
    above: list[list[str]]  # of the actions at earlier positions


def encoded(rows: list[LoggedRow], configs: Configs) -> Encoded:
    """Encode rows as they were decided."""

    def lines(row: LoggedRow, names: list[str]) -> list[str]:
        return configs.lines(row.config_version, row.actions, names)

    return Encoded(
        [encode_context(row.context) for row in rows],
        [lines(row, row.eligible) for row in rows],
        [lines(row, row.above) if row.above else [] for row in rows],
    )


def arm_probabilities(
    rows: list[LoggedRow],
    encoded: Encoded,
    configs: Configs,
    load: LoadVersion,
    versions: dict[str, int] | None = None,
) -> dict[str, FloatArray]:
    """Each arm's distribution on every row, shape (n, K): logged on its own rows, recomputed on the others.

    A learning arm is recomputed with the model version that it used last before the row. Imported logs hold them all.

    :param versions: by arm, the version that it used last before these rows; it is set to the last one of these rows.
    """
    versions = {} if versions is None else versions
    shared, lines, above = encoded
    width = max(len(row.eligible) for row in rows)
    arms: dict[str, FloatArray] = {}
    for arm in dict.fromkeys(spec.key for row in rows[-1:] for spec in configs.get(row.config_version).arms):
        table = np.zeros((len(rows), width))
        _fill_imported(table, rows, arm)
        for (version, policy), indexes in _by_version(rows, arm, configs, versions).items():
            predictor = load(arm, version) if isinstance(policy, BanditPolicy) else None
            for index in indexes:
                row = rows[index]
                if row.arm == arm:
                    table[index, : len(row.distribution)] = row.distribution
                else:
                    counts = counts_of(row.counted, arm)
                    chances = distribution(
                        policy, predictor, shared[index], lines[index], row.eligible, above[index], counts=counts
                    )
                    table[index, : len(chances)] = chances
            if predictor is not None:
                predictor.close()
        arms[arm] = table
    return arms


def _fill_imported(table: FloatArray, rows: list[LoggedRow], arm: str) -> None:
    for index, row in enumerate(rows):
        if row.arm_distributions is not None:
            known = row.arm_distributions.get(arm, [])
            table[index, : len(known)] = known


def shares(rows: list[LoggedRow], configs: Configs, arms: list[str]) -> FloatArray:
    """Each arm's share of the units when a row was decided, shape (n, arms)."""
    by_version: dict[int, list[float]] = {}
    for row in rows:
        if row.config_version not in by_version:
            config = configs.get(row.config_version)
            given = {spec.key: spec.share for spec in config.arms}
            by_version[row.config_version] = [given.get(arm, 0.0) for arm in arms]
    return np.array([by_version[row.config_version] for row in rows])


def mixed(arms: dict[str, FloatArray], share: FloatArray) -> FloatArray:
    """The platform's distribution on every row, shape (n, K). An arm with a share of 0 is left out."""
    weights = share / share.sum(axis=1, keepdims=True)
    total = np.zeros_like(next(iter(arms.values())))
    for index, table in enumerate(arms.values()):
        total += weights[:, index, None] * table
    return total


def _by_version(
    rows: list[LoggedRow], arm: str, configs: Configs, versions: dict[str, int]
) -> dict[tuple[int, Policy], list[int]]:
    """Indexes of rows by the model version of the arm at that time, and its policy."""
    indexes: dict[tuple[int, Policy], list[int]] = {}
    version = versions.get(arm, next((row.policy_version for row in rows if row.arm == arm), 0))
    policies: dict[int, Policy | None] = {}
    for index, row in enumerate(rows):
        if row.config_version not in policies:
            config = configs.get(row.config_version)
            specs = {spec.key: spec for spec in config.arms}
            policies[row.config_version] = policy_in_force(config, specs[arm]) if arm in specs else None
        if row.arm == arm:
            version = row.policy_version
        if row.arm_distributions is not None:
            continue
        policy = policies[row.config_version]
        if policy is not None:
            indexes.setdefault((version, policy), []).append(index)
    versions[arm] = version
    return indexes
