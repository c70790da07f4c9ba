"""A constraint on a distribution before the draw: what each group of actions gets at least and at most.

A group is the value of one feature of the actions, such as their supplier, or each action is its own. `constrained` returns
the distribution with group sums within the bounds that is closest to the given one in the Kullback-Leibler divergence
KL(q || p). Within a group that distribution keeps the given proportions, and the group sums are ``clip(v * m, low, high)`` for
one number v (the conditions of Karush, Kuhn and Tucker of that projection; Csiszár 1975 has I-projections in general). So
v is found exactly, from the sorted bends of a piecewise linear function, and the result is what is drawn from and logged.

Over a window the bounds are a target for the share that each group had of the newest decisions. They follow it: a group below
its target has a higher `low` in the next decision, a group above it a lower one (`Exposure.limits`). No `low` is above an
equal share, and no `high` below it. So with K groups v is at least 1 / K: every action keeps at least 1 / K of its probability.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import le
from typing import Any, Final, NamedTuple

import numpy as np

from bandits.distribution import FloatArray
from bandits.encoding import escape

ACTION: Final = "action"  # every action is a group of its own
LINES: Final = 4096
LISTS: Final = 64  # of actions; a call may bring a thousand with long lines
# What a missing share of the window adds to the bound of one decision: at most GAIN, and so much less as the counts are late
# that the share does not swing (`python -m benchmarks.targets`). Counts as old as the window add a quarter.
GAIN: Final = 2.0
LATE: Final = 4.0
WINDOWS: Final = (100, 10_000)  # decisions
WINDOWS_S: Final = (60.0, 2_592_000.0)


class Counts(NamedTuple):
    """What the groups of a decision had in a window of the arm's decisions."""

    decisions: int
    groups: Sequence[float]  # of these decisions, those that drew each group; in the order of `groups_of`
    eligible: Sequence[int]  # of these decisions, those that could draw it
    lag: float  # how old the counts are, as a part of the time that the window spans

    @property
    def gain(self) -> float:
        """What a missing share adds to the bound of one decision: ``min(GAIN, 1 / (LATE * lag))``."""
        return min(GAIN, 1.0 / (LATE * self.lag)) if self.lag > 0.0 else GAIN


@dataclass(frozen=True)
class Exposure:
    """Bounds on the share of every group in each decision of a policy, or in a window of its newest decisions."""

    by: str  # name of a feature of the actions, with text values; or ACTION
    least: float = 0.0  # of each group that has an eligible action
    most: float = 1.0
    parity: float | None = None  # instead: every group gets the same, give or take this
    window: int | None = None  # the bounds are a target over so many newest decisions of the arm
    window_s: float | None = None  # or over so many seconds

    @property
    def windowed(self) -> bool:
        """Whether the bounds are a target over a window."""
        return self.window is not None or self.window_s is not None

    def limits(self, groups: int, counts: Counts | None) -> tuple[Sequence[float], Sequence[float]]:
        """The least and the most that each group gets in the next decision.

        Over a window: ``low = clip((least + gain * (least - share)) / e, 0, 1 / K)`` and ``high = clip((most + gain * (most -
        share)) / e, 1 / K, 1)`` for K groups, where `share` is what the group had in the window, and `e` the part of the window
        in which it could be drawn (1 if that was never). Without counts: `bounds` for every group.
        """
        low, high = self.bounds(groups)
        if counts is None or not counts.decisions or not self.windowed:
            return [low] * groups, [high] * groups
        even, gain = 1.0 / groups, counts.gain
        least, most = (low, high) if self.parity is not None else (self.least, self.most)
        lows, highs = [], []
        for count, eligible in zip(counts.groups, counts.eligible, strict=True):
            share, part = count / counts.decisions, (eligible or counts.decisions) / counts.decisions
            lows.append(min(max((least + gain * (least - share)) / part, 0.0), even))
            highs.append(max(min((most + gain * (most - share)) / part, 1.0), even))
        return lows, highs

    def bounds(self, groups: int) -> tuple[float, float]:
        """The least and the most that each of so many groups gets; wide enough that their shares can sum to 1."""
        even = 1.0 / groups
        if self.parity is not None:
            return max(0.0, even - self.parity), min(1.0, even + self.parity)
        return min(self.least, even), max(self.most, even)


def parse_exposure(value: Mapping[str, Any]) -> Exposure:  # Any: JSON that a person or a client wrote
    """The constraint that a JSON object describes. Raises `ValueError` with the name of the first wrong member."""
    by, least, most, parity = value.get("by"), value.get("least", 0.0), value.get("most", 1.0), value.get("parity")
    if not {*value} <= _MEMBERS:
        raise ValueError(min({*value} - _MEMBERS))
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
    window, window_s = _window(value)
    return Exposure(by, float(least), float(most), None if parity is None else float(parity), window, window_s)


_MEMBERS: Final = {"by", "least", "most", "parity", "window", "window_s"}


def _window(value: Mapping[str, Any]) -> tuple[int | None, float | None]:  # Any: JSON that a person or a client wrote
    window, window_s = value.get("window"), value.get("window_s")
    if window is not None and (
        isinstance(window, bool) or not isinstance(window, int) or not WINDOWS[0] <= window <= WINDOWS[1]
    ):
        raise ValueError("window")
    if window_s is not None and (
        isinstance(window_s, bool)
        or not isinstance(window_s, (int, float))
        or not WINDOWS_S[0] <= window_s <= WINDOWS_S[1]
        or window is not None
    ):
        raise ValueError("window_s")
    return window, None if window_s is None else float(window_s)


def exposure_to_json(exposure: Exposure) -> dict[str, object]:
    """The JSON object of a constraint."""
    bounds: dict[str, object] = {"least": exposure.least, "most": exposure.most}
    if exposure.parity is not None:
        bounds = {"parity": exposure.parity}
    if exposure.window is not None:
        bounds["window"] = exposure.window
    if exposure.window_s is not None:
        bounds["window_s"] = exposure.window_s
    return {"by": exposure.by, **bounds}


def groups_of(action_lines: Sequence[str], by: str) -> list[int]:
    """The group of each action, numbered from 0 as they occur. Actions without the feature are one group."""
    return list(_groups(tuple(action_lines), by))


@lru_cache(LISTS)
def _groups(action_lines: tuple[str, ...], by: str) -> tuple[int, ...]:
    if by == ACTION:
        return tuple(range(len(action_lines)))
    numbers: dict[str, int] = {}
    return tuple(numbers.setdefault(value_of(line, by), len(numbers)) for line in action_lines)


def group_names(action_lines: Sequence[str], by: str) -> list[str]:
    """The token of each group of a feature, in the order of `groups_of`; "" for the actions without the feature."""
    return list(_names(tuple(action_lines), by))


@lru_cache(LISTS)
def _names(action_lines: tuple[str, ...], by: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value_of(line, by) for line in action_lines))


def constrained(
    probabilities: FloatArray, action_lines: Sequence[str], exposure: Exposure, counts: Counts | None = None
) -> FloatArray:
    """The closest distribution within the bounds, shape (K,), summing to 1 within 1e-12.

    :param probabilities: positive where a group has to get something; a group without any stays without.
    :param counts: of a target over a window; without them its bounds hold in this decision.
    :raises ValueError: there are counts of another number of groups.
    """
    groups, chances = _groups(tuple(action_lines), exposure.by), probabilities.tolist()
    members: list[list[float]] = [[] for _ in range(max(groups) + 1)]
    for group, chance in zip(groups, chances, strict=True):
        members[group].append(chance)
    masses = [math.fsum(part) for part in members]
    if counts is not None and len(counts.groups) != len(masses):
        raise ValueError(f"counts of {len(counts.groups)} groups for {len(masses)} groups")
    low, high = exposure.limits(len(masses), counts)
    if all(map(le, low, masses)) and all(map(le, masses, high)):
        return probabilities
    wanted = projected(masses, low, high)
    scales = [share / mass if mass > 0.0 else 0.0 for share, mass in zip(wanted, masses, strict=True)]
    moved = [chance * scales[group] for group, chance in zip(groups, chances, strict=True)]
    total = math.fsum(moved)
    return np.array([chance / total for chance in moved])


def projected(masses: Sequence[float], low: Sequence[float], high: Sequence[float]) -> list[float]:
    """The shares ``clip(v * masses, low, high)`` that sum to 1; `low` and `high` leave room for that.

    The sum grows with v, in straight pieces between the values at which a share leaves `low` or reaches `high`.
    """
    bends = sorted(
        {bound / mass for mass, *bounds in zip(masses, low, high, strict=True) if mass > 0.0 for bound in bounds}
    )
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


def _clipped(v: float, masses: Sequence[float], low: Sequence[float], high: Sequence[float]) -> list[float]:
    return [min(max(v * mass, at_least), at_most) for mass, at_least, at_most in zip(masses, low, high, strict=True)]


@lru_cache(LINES)
def value_of(line: str, by: str) -> str:
    """The token of a feature in an action's encoded line; "" where it has no text there."""
    start = escape(by) + "="
    return next((token for token in line.split(" ") if token.startswith(start)), "")
