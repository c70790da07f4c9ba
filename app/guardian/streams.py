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


def per_unit(rows: Sequence[Decided], values: Sequence[float]) -> Batch:
    """The mean value of each unit: a unit that decides a thousand times is one voice."""
    sums: dict[str, list[float]] = {}
    for row, value in zip(rows, values, strict=True):
        seen = sums.setdefault(row.unit_id, [0.0, 0.0, 0.0])
        seen[0] += 1
        seen[1] += value
        seen[2] = max(seen[2], row.decided_at.timestamp())
    ordered = sorted(sums.values(), key=lambda seen: seen[2])
    return Batch(np.array([total / n for n, total, _ in ordered]), np.array([at for _, _, at in ordered]))


def switched_on(rows: Sequence[Row], arm: str, config_of: ConfigOf) -> list[Row]:
    """The rows, of any arm, from times in which one arm was no apprentice: as one, it shows what the app would show."""
    versions = {row.config_version for row in rows}
    on = {version for version in versions if not any(a.key == arm and a.apprentice for a in config_of(version).arms)}
    return [row for row in rows if row.config_version in on]


def rewards(rows: Sequence[Row]) -> Batch:
    """The reward per decision."""
    return per_unit(rows, [row.reward for row in rows])


def rewarded(rows: Sequence[Row]) -> Batch:
    """The share of decisions for which a reward event came."""
    return per_unit(rows, [float(row.events > 0) for row in rows])


def once(rows: Sequence[Row]) -> Batch:
    """One over the number of reward events, of the decisions that have any."""
    rewarded_rows = [row for row in rows if row.events]
    return per_unit(rewarded_rows, [1.0 / row.events for row in rewarded_rows])


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
    for row in (*learned, *trusted):
        shares = {arm.key: arm.share for arm in config_of(row.config_version).arms}
        first = shares[names[0]] / (shares[names[0]] + shares[names[1]])
        most = max(most, (within.most - within.center) / first, (within.center - within.least) / (1 - first))
        gain = within.cut(row.reward) - within.center
        values.append(gain / first if row.arm == names[0] else -gain / (1 - first))
    return Difference(per_unit([*learned, *trusted], values), rewards(trusted), most, -np.inf)


def within_arm(rows: Sequence[Row], config_of: ConfigOf, within: Range) -> Difference:
    """The difference of the learned policy and its fallback on the learning arm's own decisions.

    Row by row ``(r - least) (own(a) - f(a)) / p(a)``: p is the logged distribution, f the fallback's, and ``own`` what the model
    gives. While the fallback decides, ``p = (1 - probe) f + probe own``, from which ``own`` follows. Rewards count from the
    least one on, so that no gain exceeds their range over the probe.
    """
    gaps, earned, probe = [], [], 1.0
    for row in rows:
        config = config_of(row.config_version)
        arm = next(arm for arm in config.arms if arm.key == row.arm)
        policy = trusted_policy(config, arm)
        p = row.distribution[row.chosen]
        f = 0.0 if policy is None else _chance(policy, row)
        own = p
        if arm.fallen_back:
            probe = min(probe, rule_of(arm).probe)
            own = max((p - (1 - rule_of(arm).probe) * f) / rule_of(arm).probe, 0.0)
        gaps.append((within.cut(row.reward) - within.least) * (own - f) / p)
        earned.append(row.reward * f / p)
    width = within.most - within.least
    least = -width / (1 - probe) if probe < 1 else -np.inf
    return Difference(per_unit(rows, gaps), per_unit(rows, earned), width / probe, least)


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
