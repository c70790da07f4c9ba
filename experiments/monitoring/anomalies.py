"""Finds units whose behaviour stands out among the others of their arm, by rules that a person can follow.

Two rules, for units that are busy enough to matter. **Far ahead**: activity has heavy tails, so a large number of decisions is
no anomaly by itself. The tail index a of the other busy units (Hill 1975) says how far ahead of the next one the j-th busiest
may be by chance: under a Pareto tail, a ratio of r or more has the probability ``r^(-j a)`` (Rényi's representation of spacings).
**Unlike the others**: a robust z-score, ``(x - median) / (1.4826 MAD)``, of what the unit does. Both thresholds are so far out
that heavy tails do not reach them: ``python -m benchmarks anomalies`` measures that.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from experiments.validation import FloatArray

LEAST_UNITS: Final = 30  # in an arm, to judge any
BUSY: Final = 50  # decisions, and
BUSY_SHARE: Final = 0.01  # share of the arm's decisions, from which a unit matters
FAR: Final = 1e-5  # chance of a gap, below which a unit is far ahead
MOST_TOGETHER: Final = 10  # units that may be far ahead together
STEEPEST: Final = 5.0  # tail index; thinner tails are not believed
LEAST_TAIL: Final = 10  # of the busiest units, or the square root of their number, make up the tail
UNLIKE: Final = 8.0  # robust standard deviations
PEER: Final = 10  # decisions of a unit that others are compared with
MAD_TO_SD: Final = 1.4826


class Feature(NamedTuple):
    """One number of each unit."""

    values: FloatArray  # shape (units,); NaN: not known
    least_spread: float  # a smaller spread among the units is not believed


class Finding(NamedTuple):
    """Why a unit stands out."""

    unit: int  # its index
    feature: str  # "decisions", or the name of a feature
    value: float
    typical: float  # the median of the others; of "decisions", the next busiest unit
    strength: float  # robust z-score; of "decisions", minus the logarithm (base 10) of the chance


def standing_out(decisions: FloatArray, features: Mapping[str, Feature]) -> list[Finding]:
    """The units that stand out, each with its strongest reason, in the order of their index.

    :param decisions: shape (units,), of each unit of an arm.
    :param features: by name, what each unit does.
    """
    if len(decisions) < LEAST_UNITS:
        return []
    busy = (decisions >= BUSY) & (decisions >= BUSY_SHARE * decisions.sum())
    found: dict[int, Finding] = {finding.unit: finding for finding in _far_ahead(decisions, busy)}
    for name, feature in features.items():
        for finding in _unlike(name, feature, decisions, busy):
            found.setdefault(finding.unit, finding)
    return [found[unit] for unit in sorted(found)]


def _far_ahead(decisions: FloatArray, busy: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> list[Finding]:
    order = np.argsort(-decisions, kind="stable")
    sizes = decisions[order]
    ahead, chance = 0, 1.0
    for j in range(1, min(MOST_TOGETHER, len(sizes) - LEAST_TAIL - 1) + 1):
        p = float((sizes[j] / sizes[j - 1]) ** (j * _tail_index(sizes[j:])))
        if p < FAR and busy[order[j - 1]]:
            ahead, chance = j, p
    if not ahead:
        return []
    strength = min(-float(np.log10(max(chance, 1e-300))), 300.0)
    return [
        Finding(int(unit), "decisions", float(decisions[unit]), float(sizes[ahead]), strength) for unit in order[:ahead]
    ]


def _tail_index(sizes: FloatArray) -> float:
    """A cautious Hill estimate from sizes in falling order: two standard errors below, and not above `STEEPEST`."""
    k = min(max(LEAST_TAIL, int(np.sqrt(len(sizes)))), len(sizes) - 1)
    total = float(np.log(sizes[:k] / sizes[k]).sum())
    hill = k / total if total > 0 else np.inf
    return min(STEEPEST, hill * max(1 - 2 / np.sqrt(k), 0.0) if np.isfinite(hill) else STEEPEST)


def _unlike(
    name: str, feature: Feature, decisions: FloatArray, busy: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
) -> list[Finding]:
    known = np.isfinite(feature.values)
    peers = known & (decisions >= PEER)
    if peers.sum() < LEAST_UNITS:
        return []  # units with few decisions differ by chance alone
    median = float(np.median(feature.values[peers]))
    spread = max(MAD_TO_SD * float(np.median(np.abs(feature.values[peers] - median))), feature.least_spread)
    scores = np.abs(feature.values - median) / spread
    return [
        Finding(int(unit), name, float(feature.values[unit]), median, float(scores[unit]))
        for unit in np.flatnonzero(known & busy & (np.nan_to_num(scores) > UNLIKE))
    ]


def entropy(counts: Sequence[int]) -> float:
    """In bits, of a distribution with these counts; NaN without any."""
    total = sum(counts)
    if not total:
        return float("nan")
    shares = np.array([count / total for count in counts if count])
    return float(-(shares * np.log2(shares)).sum()) + 0.0
