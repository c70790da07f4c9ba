"""From probabilities to a choice: the exploration floor, the keyed draw, sampling and assignment to arms.

The same inputs give the same bits on every machine: sums use `math.fsum`, which rounds correctly in any order, and
nothing here reads a random generator.
"""

import hmac
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
HOLDOUT = b"holdout\0"  # what comes before the unit in the message whose hash decides about the holdout


class DistributionError(ValueError):
    """Probabilities or shares that cannot be used: empty, negative, NaN, infinite, or summing to 0."""


def uniform(k: int) -> FloatArray:
    """Shape (k,), every entry 1/k. Raises `DistributionError` when k < 1."""
    if k < 1:
        raise DistributionError("a distribution needs at least one action")
    return np.full(k, 1.0 / k)


def mix_floor(probabilities: Sequence[float] | FloatArray, floor: float) -> FloatArray:
    """(1 - floor) * p + floor / K over the K given actions, normalised to sum to 1 within 1e-12.

    VW's float32 probabilities are normalised first: they miss 1 by up to 4e-6. With floor > 0 no entry is 0.
    Raises `DistributionError` on an empty, negative, NaN or infinite input or a floor outside [0, 1].
    """
    p = probabilities.tolist() if isinstance(probabilities, np.ndarray) else list(probabilities)
    if not p or not 0.0 <= floor <= 1.0:
        raise DistributionError("needs at least one probability and a floor from 0 to 1")
    total = math.fsum(p) if all(map(math.isfinite, p)) else math.nan
    if min(p) < 0.0 or not total > 0.0:
        raise DistributionError(f"not a distribution: {p[:10]!r}")
    scale, share = (1.0 - floor) / total, floor / len(p)
    mixed = [x * scale + share for x in p]
    total = math.fsum(mixed)
    return np.array([x / total for x in mixed])


def draw(salt: bytes, decision_id: str) -> float:
    """A uniform number in [0, 1) with 53 random bits: HMAC-SHA256 (RFC 2104) of the decision id under the salt."""
    return _keyed_uniform(salt, b"draw\0" + decision_id.encode())


def sample(distribution: FloatArray | Sequence[float], u: float) -> int:
    """Index chosen by inverse CDF, in order, for u in [0, 1). Never an action of probability 0.

    Raises `DistributionError` when u is outside [0, 1) or no action has a positive probability.
    """
    p = distribution.tolist() if isinstance(distribution, np.ndarray) else list(distribution)
    if not 0.0 <= u < 1.0:
        raise DistributionError(f"u must be in [0, 1), got {u!r}")
    index = bisect_right(list(accumulate(p)), u)
    if index < len(p):
        return index
    # Rounding may leave the running sum below 1: the last possible action takes the rest.
    for index in reversed(range(len(p))):
        if p[index] > 0.0:
            return index
    raise DistributionError("no action has a positive probability")


def assign(salt: bytes, unit_id: str, shares: Mapping[str, float]) -> str:
    """The unit's arm, each with a chance in proportion to its share: weighted rendezvous hashing.

    Every arm draws a keyed exponential of rate ``share`` for the unit; the smallest draw wins (Efraimidis & Spirakis
    2006). So a unit stays in its arm, whatever the order of the arms. A new arm takes units from the others and moves
    none between them. Only the ratio of shares matters. Raises `DistributionError` unless all shares are finite and not
    negative, and at least one is positive.
    """
    if not all(0.0 <= share < math.inf for share in shares.values()) or not any(shares.values()):
        raise DistributionError(f"shares must be finite, not negative and not all 0: {dict(shares)!r}")
    possible = [arm for arm, share in shares.items() if share > 0.0]
    return possible[0] if len(possible) == 1 else first_arm(arm_draws(salt, unit_id, possible), shares)


def arm_draws(salt: bytes, unit_id: str, arms: Iterable[str]) -> dict[str, float]:
    """The unit's keyed exponential of rate 1 for each arm. They never change, so `first_arm` may use them for any shares."""
    unit = unit_id.encode()
    return {arm: -math.log1p(-_keyed_uniform(salt, b"arm\0%d\0%b%b" % (len(unit), unit, arm.encode()))) for arm in arms}


def first_arm(draws: Mapping[str, float], shares: Mapping[str, float]) -> str:
    """The arm with a positive share whose draw, divided by its share, is the smallest: the unit's arm."""
    return min((arm for arm, share in shares.items() if share > 0.0), key=lambda arm: draws[arm] / shares[arm])


def held_back(salt: bytes, unit_id: str, share: float) -> bool:
    """Whether a unit is in the holdout of this share, from 0 to 1: its keyed number in [0, 1) lies below the share.

    So a larger share keeps everybody who was held back under a smaller one.
    """
    return _keyed_uniform(salt, HOLDOUT + unit_id.encode()) < share


def _keyed_uniform(salt: bytes, message: bytes) -> float:
    digest = hmac.digest(salt, message, "sha256")
    return float(int.from_bytes(digest[:8], "big") >> 11) * 2.0**-53
