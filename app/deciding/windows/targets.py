"""Targets on exposure over a window: the counts that a decision sees, and how it logs them.

The worker counts (`app.fairness.targets`), and each process reads the counts with its snapshot, so no decision waits for a query.
A decision logs the counts of every arm with such a target, as far as they concern its eligible actions: its own arm's, from which
the audit computes it again, and the others', from which an evaluation computes what these arms would have done.
"""

import time
from collections.abc import Mapping
from typing import NamedTuple

from pydantic import TypeAdapter

from app.deciding.store.counts import Counted, CountsRow
from bandits.exposure import ACTION, Counts, Exposure, group_names
from bandits.policy import BanditPolicy, Policy

RESTS_AFTER_S = 60.0  # then the bounds hold in every decision, until there are newer counts
DIGITS = 6


class ArmCounts(NamedTuple):
    """What was counted in the window of one arm, as the worker stores it."""

    by: str
    window: int | None
    window_s: float | None
    decisions: int
    groups: dict[str, int]  # decisions that drew it, by group as `bandits.exposure.group_names` names it
    eligible: dict[str, int]  # decisions in which it could be drawn
    even: dict[str, float]  # the sum of equal shares over these: what a target can ask for at most
    span_s: float  # from the oldest of these decisions until they were counted


class ExperimentCounts(NamedTuple):
    """The newest counts of an experiment in the memory of one process."""

    arms: Mapping[str, ArmCounts]
    counted_at: float  # on this process's monotonic clock


_ARMS = TypeAdapter(dict[str, ArmCounts])


def read(row: CountsRow) -> ExperimentCounts:
    """Return counts as they were stored, with their age on this process's clock."""
    return ExperimentCounts(_ARMS.validate_python(row.body), time.monotonic() - row.age_s)


def target_of(policy: Policy) -> Exposure | None:
    """Return the target over a window of an arm, if it has one."""
    exposure = policy.exposure if isinstance(policy, BanditPolicy) else None
    return exposure if exposure is not None and exposure.windowed else None


def belong(counts: ArmCounts, target: Exposure) -> bool:
    """Return True if the counts are of the target's groups and window, and not of earlier ones."""
    return (counts.by, counts.window, counts.window_s) == (target.by, target.window, target.window_s)


def seen(
    targets: Mapping[str, Exposure], counts: ExperimentCounts | None, ids: list[str], lines: list[str]
) -> Counted | None:
    """Return the counts that a decision logs, of the groups of its eligible actions; None if there are none, or they are old."""
    age_s = RESTS_AFTER_S if counts is None else time.monotonic() - counts.counted_at
    if counts is None or age_s >= RESTS_AFTER_S:
        return None
    found: Counted = {}
    for arm, target in targets.items():
        counted = counts.arms.get(arm)
        if counted is not None and belong(counted, target):
            names = ids if target.by == ACTION else group_names(lines, target.by)
            found[arm] = {
                "decisions": counted.decisions,
                "groups": [counted.groups.get(name, 0) for name in names],
                "eligible": [counted.eligible.get(name, 0) for name in names],
                "lag": round(age_s / counted.span_s, DIGITS) if counted.span_s > 0.0 else 0.0,
                "age_s": round(age_s, 1),
            }
    return found or None


def counts_of(counted: Counted | None, arm: str) -> Counts | None:
    """Return the counts of an arm that a decision logged."""
    logged = (counted or {}).get(arm)
    return None if logged is None else Counts(logged["decisions"], logged["groups"], logged["eligible"], logged["lag"])
