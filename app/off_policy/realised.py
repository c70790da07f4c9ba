"""Figures of learning arms: what the other arms' decisions predict for an arm against what it earned; and its actions."""

import numpy as np
from numpy.typing import NDArray

from app.foundation.formats.intervals import document_of
from app.off_policy.documents import ActionLine, ArmActions, Realised
from app.off_policy.list_values import columns_of
from app.off_policy.log_table import LogTable, clusters
from app.off_policy.valued import Sample
from experiments.off_policy import adaptive, estimators, lists, unit_sums
from experiments.off_policy.unit_sums import UnitSums

MIN_SIDE = 50  # evaluated decisions on each side of a comparison of prediction and outcome
MOST_ACTIONS = 20  # whose values are shown
FloatArray = NDArray[np.float64]


def realised(sample: Sample, arm: str) -> Realised:
    """Compare a learning arm's value as predicted from the other arms' rows with what the arm really earned.

    The prediction follows the arm as it ran: each row by the version that served then.
    """
    late, served = sample.late, sample.late.arms[arm].sum(axis=1) > 0
    others = np.array([row.arm != arm for row in late.rows])
    rest, own = np.flatnonzero(others & served), np.flatnonzero(~others)
    if min(len(rest), len(own)) < MIN_SIDE:
        return Realised(arm=arm, reason=f"needs {MIN_SIDE} evaluated decisions in the arm and outside of it")
    predicted_sums = _predicted(late.take(rest), arm, sample.predictions[rest])
    earned_sums = _earned(late.take(own))
    bounds = sample.bounds
    if late.answers_lists:
        longest = int(late.position.max())
        bounds = min(bounds[0], bounds[0] * longest), max(bounds[1], bounds[1] * longest)
    gap = unit_sums.independent_difference(predicted_sums, earned_sums, sample.alpha)
    return Realised(
        arm=arm,
        predicted=predicted_sums.value,
        predicted_interval=document_of(unit_sums.one_look(predicted_sums, bounds, sample.alpha)),
        predicted_from=len(rest),
        realised=earned_sums.value,
        realised_interval=document_of(unit_sums.one_look(earned_sums, bounds, sample.alpha)),
        realised_on=len(own),
        difference_interval=document_of(gap),
        agrees=gap.covers(0.0) if gap.exists else None,
    )


def _predicted(part: LogTable, arm: str, predictions: FloatArray) -> UnitSums:
    """Sums of the doubly robust value of an arm on the rows of the other arms, under these arms' own mixture."""
    rest = part.without(arm)
    target, rows = rest.arms[arm], np.arange(len(rest))
    if rest.answers_lists:
        table = lists.grid(rest.group, rest.position)
        contributions = lists.cascade_dr(columns_of(rest, table, target, predictions))
        return unit_sums.mean_sums(contributions, clusters(rest.unit[table[:, 0]]))
    w = estimators.importance_weights(rest.propensity, np.minimum(target[rows, rest.chosen], 1.0))
    v = (predictions * target).sum(axis=1)
    contributions = v + w * (rest.reward - predictions[rows, rest.chosen])
    return unit_sums.mean_sums(contributions, rest.clusters)


def _earned(own: LogTable) -> UnitSums:
    """Sums of what an arm earned, per decision or per list."""
    if not own.answers_lists:
        return unit_sums.mean_sums(own.reward, own.clusters)
    table = lists.grid(own.group, own.position)
    total = np.where(table < 0, 0.0, own.reward[table]).sum(axis=1)
    return unit_sums.mean_sums(total, clusters(own.unit[table[:, 0]]))


def actions(table: LogTable, arm: str, alpha: float) -> ArmActions:
    """The value of every action of a learning arm, from the arm's own rows; of lists, from their first positions.

    Plain means mislead there: the arm chose when to take which action. Weighted doubly robust scores do not.
    """
    rows = [index for index, row in enumerate(table.rows) if row.arm == arm and table.position[index] == 1]
    names = list(dict.fromkeys(name for index in rows for name in table.rows[index].eligible))
    if len(rows) < MIN_SIDE:
        return ArmActions(arm=arm, decisions=len(rows), reason=f"needs {MIN_SIDE} decisions of the arm")
    if len(names) > MOST_ACTIONS:
        reason = f"the arm has {len(names)} actions; their values are shown for {MOST_ACTIONS} at most"
        return ArmActions(arm=arm, decisions=len(rows), reason=reason)
    own, code = table.take(np.array(rows)), {name: number for number, name in enumerate(names)}
    chances = np.zeros((len(own), len(names)))
    for index, row in enumerate(own.rows):
        chances[index, [code[name] for name in row.eligible]] = row.distribution
    taken = [code[row.eligible[row.chosen]] for row in own.rows]
    if (chances[np.arange(len(own)), taken] <= 0).any():
        return ArmActions(arm=arm, decisions=len(rows), reason="the log does not hold the distributions of the choices")
    values = adaptive.action_values(own.reward, taken, chances, alpha, own.clusters)
    return ArmActions(
        arm=arm,
        decisions=len(rows),
        actions=[
            ActionLine(action=name, value=estimate.value.value, interval=document_of(estimate.value.interval))
            for name, estimate in zip(names, values, strict=True)
        ],
    )
