"""A constraint on a distribution before the draw: what each group of actions gets at least and at most.

A group is the value of one feature of the actions, such as their supplier, or each action is its own. `constrained` returns
the distribution with group sums within the bounds that is closest to the given one in the Kullback-Leibler divergence
KL(q || p). Within a group that distribution keeps the given proportions, and the group sums are ``clip(v * m, low, high)`` for
one number v (the conditions of Karush, Kuhn and Tucker of that projection; Csiszár 1975 has I-projections in general). So
v is found exactly, from the sorted bends of a piecewise linear function, and the result is what is drawn from and logged.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from bandits.distribution import FloatArray
from bandits.encoding import escape

ACTION: Final = "action"  # every action is a group of its own
LINES: Final = 4096
LISTS: Final = 64  # of actions; a call may bring a thousand with long lines


@dataclass(frozen=True)
class Exposure:
    """Bounds on the share of every group in each decision of a policy."""

    by: str  # name of a feature of the actions, with text values; or ACTION
    least: float = 0.0  # of each group that has an eligible action
    most: float = 1.0
    parity: float | None = None  # instead: every group gets the same, give or take this

    def bounds(self, groups: int) -> tuple[float, float]:
        """The least and the most that each of so many groups gets; wide enough that their shares can sum to 1."""
        even = 1.0 / groups
        if self.parity is not None:
            return max(0.0, even - self.parity), min(1.0, even + self.parity)
        return min(self.least, even), max(self.most, even)


def parse_exposure(value: Mapping[str, Any]) -> Exposure:  # Any: JSON that a person or a client wrote
    """The constraint that a JSON object describes. Raises `ValueError` with the name of the first wrong member."""
    by, least, most, parity = value.get("by"), value.get("least", 0.0), value.get("most", 1.0), value.get("parity")
    if not {*value} <= {"by", "least", "most", "parity"}:
        raise ValueError(min({*value} - {"by", "least", "most", "parity"}))
    if not isinstance(by, str) or not by:
        raise ValueError("by")
    for name, number, high in (("least", least, 0.5), ("most", most, 1.0), ("parity", parity, 0.5)):
        if number is not None and (
            isinstance(number, bool) or not isinstance(number, (int, float)) or not 0.0 <= number <= high
        ):
            raise ValueError(name)
    if parity is not None and ("least" in value or "most" in value):
        raise ValueError("parity")
    if parity is None and (most <= least or most == 0.0):
        raise ValueError("most")
    return Exposure(by, float(least), float(most), None if parity is None else float(parity))


def exposure_to_json(exposure: Exposure) -> dict[str, object]:
    """The JSON object of a constraint."""
    if exposure.parity is not None:
        return {"by": exposure.by, "parity": exposure.parity}
    return {"by": exposure.by, "least": exposure.least, "most": exposure.most}


def groups_of(action_lines: Sequence[str], by: str) -> list[int]:
    """The group of each action, numbered from 0 as they occur. Actions without the feature are one group."""
    return list(_groups(tuple(action_lines), by))


@lru_cache(LISTS)
def _groups(action_lines: tuple[str, ...], by: str) -> tuple[int, ...]:
    if by == ACTION:
        return tuple(range(len(action_lines)))
    numbers: dict[str, int] = {}
    return tuple(numbers.setdefault(value_of(line, by), len(numbers)) for line in action_lines)


def constrained(probabilities: FloatArray, action_lines: Sequence[str], exposure: Exposure) -> FloatArray:
    """The closest distribution within the bounds, shape (K,), summing to 1 within 1e-12.

    :param probabilities: positive where a group has to get something; a group without any stays without.
    """
    groups, chances = _groups(tuple(action_lines), exposure.by), probabilities.tolist()
    members: list[list[float]] = [[] for _ in range(max(groups) + 1)]
    for group, chance in zip(groups, chances, strict=True):
        members[group].append(chance)
    masses = [math.fsum(part) for part in members]
    low, high = exposure.bounds(len(masses))
    if min(masses) >= low and max(masses) <= high:
        return probabilities
    wanted = projected(masses, low, high)
    scales = [share / mass if mass > 0.0 else 0.0 for share, mass in zip(wanted, masses, strict=True)]
    moved = [chance * scales[group] for group, chance in zip(groups, chances, strict=True)]
    total = math.fsum(moved)
    return np.array([chance / total for chance in moved])


def projected(masses: Sequence[float], low: float, high: float) -> list[float]:
    """The shares ``clip(v * masses, low, high)`` that sum to 1; `low` and `high` leave room for that.

    The sum grows with v, in straight pieces between the values at which a share leaves `low` or reaches `high`.
    """
    bends = sorted({bound / mass for mass in masses if mass > 0.0 for bound in (low, high)})
    left, right = 0, len(bends) - 1
    while left < right:  # the first bend from which on the sum is at least 1
        middle = (left + right) // 2
        if math.fsum(_clipped(bends[middle], masses, low, high)) < 1.0:
            left = middle + 1
        else:
            right = middle
    if left == 0:
        return _clipped(bends[0], masses, low, high)
    begin, end = bends[left - 1], bends[left]
    at_begin, at_end = (math.fsum(_clipped(bend, masses, low, high)) for bend in (begin, end))
    part = min(1.0, (1.0 - at_begin) / (at_end - at_begin)) if at_end > at_begin else 1.0
    return _clipped(begin + part * (end - begin), masses, low, high)


def _clipped(v: float, masses: Sequence[float], low: float, high: float) -> list[float]:
    return [min(max(v * mass, low), high) for mass in masses]


@lru_cache(LINES)
def value_of(line: str, by: str) -> str:
    """The token of a feature in an action's encoded line; "" where it has no text there."""
    start = escape(by) + "="
    return next((token for token in line.split(" ") if token.startswith(start)), "")
