"""Turns settled outcomes into the numbers that are watched. Each unit counts once a look, however many decisions it made."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.design.experiment_config import ArmSpec, ExperimentConfig
from app.design.fallbacks import Trusted, rule_of, trusted_policy
from app.guardian.store.outcomes import Row
from bandits.policy import FixedPolicy

FloatArray = NDArray[np.float64]
ConfigOf = Callable[[int], ExperimentConfig]


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


def per_unit(rows: Sequence[Row], values: Sequence[float]) -> Batch:
    """The mean value of each unit: a unit that decides a thousand times is one voice."""
    sums: dict[str, list[float]] = {}
    for row, value in zip(rows, values, strict=True):
        seen = sums.setdefault(row.unit_id, [0.0, 0.0, 0.0])
        seen[0] += 1
        seen[1] += value
        seen[2] = max(seen[2], row.decided_at.timestamp())
    ordered = sorted(sums.values(), key=lambda seen: seen[2])
    return Batch(np.array([total / n for n, total, _ in ordered]), np.array([at for _, _, at in ordered]))


def rewards(rows: Sequence[Row]) -> Batch:
    """The reward per decision."""
    return per_unit(rows, [row.reward for row in rows])


def rewarded(rows: Sequence[Row]) -> Batch:
    """The share of decisions for which a reward event came."""
    return per_unit(rows, [float(row.events > 0) for row in rows])


def between_arms(learned: Sequence[Row], trusted: Sequence[Row], config_of: ConfigOf, center: float) -> Difference:
    """The difference of two arms: units were assigned to them at random, by shares.

    Row by row ``+-(r - center) / share``, the share being that of the row's arm among the two. With any ``center`` from the
    past its mean is the difference of the arms' means; a good one makes it calm.
    """
    rows, values = [*learned, *trusted], []
    names = {row.arm for row in trusted}
    for row in rows:
        shares = {arm.key: arm.share for arm in config_of(row.config_version).arms}
        own = shares[row.arm] / (shares[row.arm] + sum(shares[arm] for arm in _others(row, learned, names)))
        values.append((-1.0 if row.arm in names else 1.0) * (row.reward - center) / own)
    return Difference(per_unit(rows, values), rewards(trusted))


def _others(row: Row, learned: Sequence[Row], trusted: set[str]) -> set[str]:
    return {learned[0].arm} if row.arm in trusted else trusted


def within_arm(rows: Sequence[Row], config_of: ConfigOf, center: float) -> Difference:
    """The difference of the learned policy and its fallback on the learning arm's own decisions.

    Row by row ``(r - center) (own(a) - f(a)) / p(a)``: p is the logged distribution, f the fallback's, and ``own`` what the model
    gives. While the fallback decides, ``p = (1 - probe) f + probe own``, from which ``own`` follows; then no weight exceeds
    1 / probe.
    """
    gaps, earned = [], []
    for row in rows:
        config = config_of(row.config_version)
        arm = next(arm for arm in config.arms if arm.key == row.arm)
        policy = trusted_policy(config, arm)
        p = row.distribution[row.chosen]
        f = 0.0 if policy is None else _chance(policy, row)
        own = p if not arm.fallen_back else (p - (1 - rule_of(arm).probe) * f) / rule_of(arm).probe
        gaps.append((row.reward - center) * (max(own, 0.0) - f) / p)
        earned.append(row.reward * f / p)
    return Difference(per_unit(rows, gaps), per_unit(rows, earned))


def _chance(policy: Trusted, row: Row) -> float:
    """The chance that the fallback gives to the logged action."""
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
