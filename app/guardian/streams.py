"""Turns settled outcomes into the numbers that are watched. Each unit counts once a look, however many decisions it made."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from app.design.experiment_config import ArmSpec, ExperimentConfig
from app.design.fallbacks import Trusted, rule_of, trusted_policy
from app.guardian.store.outcomes import Row
from bandits.policy import FirstActionPolicy, FixedPolicy

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
ConfigOf = Callable[[int], ExperimentConfig]


class Decided(Protocol):
    """A decision, as far as it is counted by unit."""

    @property
    def unit_id(self) -> str:
        """Whose it is."""

    @property
    def decided_at(self) -> datetime:
        """When it was made."""


class Batch(NamedTuple):
    """Observations of one look, in the order of their decisions."""

    values: FloatArray  # shape (units,)
    times: FloatArray  # Unix time of each unit's newest decision

    @property
    def mean(self) -> float:
        """Of the observations; NaN without any."""
        return float(self.values.mean()) if len(self.values) else float("nan")


class Difference(NamedTuple):
    """The learned policy against the fallback: their difference, and what the fallback earns."""

    gap: Batch
    trusted: Batch
    most: float  # the largest that the gap of a decision can be
    least: float  # the smallest; minus infinity where it has no useful bound


class ByUnit(NamedTuple):
    """Whose each decision of a look is."""

    unit: IntArray  # shape (n,): the number of the decision's unit, by first appearance
    times: FloatArray  # shape (n,): Unix time of the decision


def switched_on(rows: Sequence[Row], arm: str, config_of: ConfigOf) -> list[Row]:
    """The rows, of any arm, from times in which one arm was no apprentice: as one, it shows what the app would show."""
    versions = {row.config_version for row in rows}
    on = {version for version in versions if not any(a.key == arm and a.apprentice for a in config_of(version).arms)}
    return [row for row in rows if row.config_version in on]


def by_unit(rows: Sequence[Decided]) -> ByUnit:
    """Group decisions by unit, once for all the streams of a look."""
    numbers: dict[str, int] = {}
    unit = [numbers.setdefault(row.unit_id, len(numbers)) for row in rows]
    return ByUnit(np.array(unit, dtype=np.intp), np.array([row.decided_at.timestamp() for row in rows], dtype=float))


def per_unit(units: ByUnit, values: Sequence[float] | FloatArray, where: NDArray[np.bool_] | None = None) -> Batch:
    """The mean value of each unit: a unit that decides a thousand times is one voice.

    :param values: shape (n,), one of each decision.
    :param where: shape (n,), the decisions that count; null: all.
    """
    unit, times, of = units.unit, units.times, np.asarray(values, dtype=float)
    if where is not None:
        unit, times, of = unit[where], times[where], of[where]
    n, total = np.bincount(unit), np.bincount(unit, weights=of)
    newest = np.full(len(n), -np.inf)
    np.maximum.at(newest, unit, times)
    seen = np.flatnonzero(n)
    order = seen[np.argsort(newest[seen], kind="stable")]
    return Batch(total[order] / n[order], newest[order])


def rewards(rows: Sequence[Row], units: ByUnit) -> Batch:
    """The reward per decision."""
    return per_unit(units, [row.reward for row in rows])


def rewarded(rows: Sequence[Row], units: ByUnit) -> Batch:
    """The share of decisions for which a reward event came."""
    return per_unit(units, [float(row.events > 0) for row in rows])


def once(rows: Sequence[Row], units: ByUnit) -> Batch:
    """One over the number of reward events, of the decisions that have any."""
    events = np.array([row.events for row in rows], dtype=float)
    return per_unit(units, 1.0 / np.maximum(events, 1.0), events > 0)


class Range(NamedTuple):
    """Where rewards lie: larger ones are cut, in every arm alike."""

    least: float
    center: float  # their usual value
    most: float

    def cut(self, reward: float) -> float:
        """A reward within the range."""
        return min(reward, self.most)


def between_arms(learned: Sequence[Row], trusted: Sequence[Row], config_of: ConfigOf, within: Range) -> Difference:
    """The difference of two arms: units were assigned to them at random, by shares.

    Row by row ``+-(r - center) / share``, the share being that of the row's arm among the two. With any ``center`` from the
    past its mean is the difference of the arms' means; a good one makes it calm.
    """
    names, values, most = (learned[0].arm, trusted[0].arm), [], 0.0
    firsts: dict[int, float] = {}
    for row in (*learned, *trusted):
        if (first := firsts.get(row.config_version)) is None:
            shares = {arm.key: arm.share for arm in config_of(row.config_version).arms}
            first = firsts[row.config_version] = shares[names[0]] / (shares[names[0]] + shares[names[1]])
        most = max(most, (within.most - within.center) / first, (within.center - within.least) / (1 - first))
        gain = within.cut(row.reward) - within.center
        values.append(gain / first if row.arm == names[0] else -gain / (1 - first))
    gap = per_unit(by_unit([*learned, *trusted]), values)
    return Difference(gap, rewards(trusted, by_unit(trusted)), most, -np.inf)


def within_arm(rows: Sequence[Row], config_of: ConfigOf, within: Range) -> Difference:
    """The difference of the learned policy and its fallback on the learning arm's own decisions.

    Row by row ``(r - least) (own(a) - f(a)) / p(a)``: p is the logged distribution, f the fallback's, and ``own`` what the model
    gives. While the fallback decides, ``p = (1 - probe) f + probe own``, from which ``own`` follows. Rewards count from the
    least one on, so that no gain exceeds their range over the probe.
    """
    gaps, earned, probe = [], [], 1.0
    arms: dict[int, tuple[ArmSpec, Trusted | None]] = {}
    for row in rows:
        if row.config_version not in arms:
            config = config_of(row.config_version)
            arm = next(arm for arm in config.arms if arm.key == row.arm)
            arms[row.config_version] = arm, trusted_policy(config, arm)
        arm, policy = arms[row.config_version]
        p = row.propensity
        f = 0.0 if policy is None else _chance(policy, row)
        own = p
        if arm.fallen_back:
            probe = min(probe, rule_of(arm).probe)
            own = max((p - (1 - rule_of(arm).probe) * f) / rule_of(arm).probe, 0.0)
        gaps.append((within.cut(row.reward) - within.least) * (own - f) / p)
        earned.append(row.reward * f / p)
    width = within.most - within.least
    least = -width / (1 - probe) if probe < 1 else -np.inf
    units = by_unit(rows)
    return Difference(per_unit(units, gaps), per_unit(units, earned), width / probe, least)


def _chance(policy: Trusted, row: Row) -> float:
    """The chance that the fallback gives to the logged action."""
    if isinstance(policy, FirstActionPolicy):
        return float(row.chosen == 0)
    if isinstance(policy, FixedPolicy) and policy.action in row.eligible:
        return float(row.eligible[row.chosen] == policy.action)
    return 1.0 / len(row.eligible)


def arm_of_fallback(config: ExperimentConfig, arm: ArmSpec) -> str | None:
    """The arm that runs an arm's fallback for units of its own; None: there is none."""
    trusted = trusted_policy(config, arm)
    for other in config.arms:
        if other.key != arm.key and other.share > 0 and not other.fallen_back and trusted is not None:
            to = rule_of(arm).to or config.control.policy
            if other.policy == to:
                return other.key
    return None
