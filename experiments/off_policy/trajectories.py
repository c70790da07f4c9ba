"""Off-policy value of a rule that looks at the unit's own past, such as a tighter cap on messages.

Earlier messages to a unit change which messages it may get next, so the weight of a single decision is not enough. Each
reward is weighted by the product of the ratios of all decisions of its unit so far (per-decision importance sampling,
Precup, Sutton and Singh 2000), self-normalised at each step. This module must never mix units.

Assumptions, which every answer repeats: the rule does not change when decisions occur; the outcomes of a unit do not
depend on other units; the logged probabilities are true.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from experiments.validation import ArrayLike, BoolArray, DataError, FloatArray, IntArray, probabilities, vector

FEW_UNITS = 50.0  # effective units at a step; with fewer, the interval is not trusted
LARGEST = 1e100  # weight
NO_SPREAD = 1e-15  # standard error at rounding level
REACHED = 0.05  # share of units that must reach a step; all later decisions form a single step


class TrajectoryValue(NamedTuple):
    """The value of a rule."""

    value: float  # mean over units of the sum of a unit's rewards, under the rule
    interval: tuple[float, float]  # Student's t, by the jackknife over units; see `value`
    logged: float  # the same sum under the policies that ran
    difference: float  # value - logged
    difference_interval: tuple[float, float]  # paired over units
    units: int
    decisions: int
    touched: int  # decisions that the rule would have changed
    effective_units: float  # smallest over the steps: (sum w)^2 / sum w^2
    largest_weight: float  # largest share of a unit in the weights of a step
    trusted: bool  # False: too few effective units at some step


class CapRatios(NamedTuple):
    """Per decision: target over logged probability of the chosen action, and whether the tighter cap had been reached."""

    ratios: FloatArray
    reached: BoolArray


def cap_ratios(already: ArrayLike, blocked: ArrayLike, mass: ArrayLike, *, limit: int) -> CapRatios:
    """Ratios of "at most `limit` messages in a window" against the logged policy.

    Where the cap is reached, its messages get probability 0 and the other actions keep their proportions.

    :param already: (n,) messages that the cap counts, within its window before each decision; see `used`.
    :param blocked: (n,) 1 where the cap would block the chosen action.
    :param mass: (n,) logged probability of all actions that the cap would block.
    :raises DataError: a decision where the cap is reached gives silence probability 0.
    """
    reached, kept_back = vector("already", already) >= limit, vector("blocked", blocked) > 0
    weight = probabilities("mass", np.minimum(vector("mass", mass), 1.0))
    if (reached & (weight >= 1 - 1e-12)).any():
        problem = "a message is certain in a decision where the tighter cap is reached"
        raise DataError(problem, fix="evaluate a looser cap, or let the policy choose silence sometimes")
    ratios = np.ones(len(weight))
    ratios[reached] = np.where(kept_back[reached], 0.0, 1.0 / (1.0 - weight[reached]))
    return CapRatios(ratios, reached)


def used(units: ArrayLike, times: ArrayLike, counts: ArrayLike, window_s: float) -> IntArray:
    """Per row, how many earlier messages the unit got less than `window_s` seconds ago.

    Rows are sorted by unit, then time.

    :param units: (n,) whole numbers; equal for all rows of a unit.
    :param times: (n,) seconds.
    :param counts: (n,) 1 where the row is a message that the cap counts.
    """
    return _used(*_sorted(units, times), vector("counts", counts) > 0, window_s)


def _used(units: IntArray, times: FloatArray, counts: BoolArray, window_s: float) -> IntArray:
    before = np.concatenate(([0], np.cumsum(counts)))  # messages in all rows before each
    first = np.searchsorted(units, units)  # first row of each row's unit
    # Seconds from the unit's first row keep all rows of all units in one increasing key.
    span = float(times.max() - times.min()) + window_s + 1.0
    key = units * span + (times - times.min())
    since = np.maximum(np.searchsorted(key, key - window_s, side="right"), first)
    counted: IntArray = before[np.arange(len(units))] - before[since]
    return counted


def value(
    units: ArrayLike, times: ArrayLike, ratios: ArrayLike, rewards: ArrayLike, *, touched: int = 0, alpha: float = 0.05
) -> TrajectoryValue:
    """The self-normalised per-decision value of a rule. Rows are sorted by unit, then time.

    Step t holds every unit's t-th decision, the last step all later decisions too (`REACHED`): V_t = sum(w r) / sum(w)
    over its rows, w the product of the unit's ratios up to the row. The value is the sum over t of V_t times the rows
    per unit. Its variance is that over units of the influence sum_t V_t rows_t,u + rows_t (sum_u w r - V_t sum_u w) /
    sum(w) (1 - 1/units_t) / (1 - sum_u w / sum(w)): what leaving the unit u out changes V_t by, the jackknife of a
    ratio (Tukey 1958). Without the last factors, the linearised variance, units with large weights pull V_t towards
    themselves and hide their spread. Student's t has 2 n / (kurtosis of the influence - 1) degrees of freedom, which is
    how well n units know that variance (Satterthwaite 1946, by moments).

    :param ratios: (n,) target over logged probability of the chosen action.
    :param rewards: (n,)
    :raises DataError: at some step the past of no unit, or of a single unit, fits the rule.
    """
    unit, _ = _sorted(units, times)
    ratio, reward = vector("ratios", ratios), vector("rewards", rewards)
    if not len(unit) == len(ratio) == len(reward):
        raise DataError("the columns have different lengths", fix="pass one ratio and one reward per decision")
    earlier = np.arange(len(unit)) - np.searchsorted(unit, unit)
    _, index = np.unique(unit, return_inverse=True)
    count = int(index.max()) + 1
    rule = _rule_sums(index, _steps(earlier, count), _products(ratio, earlier), reward)
    logged = np.bincount(index, reward, count)
    difference = rule.value - float(logged.mean())
    half, half_difference = _half_width(rule.influence, alpha), _half_width(rule.influence - logged, alpha)
    return TrajectoryValue(
        value=rule.value,
        interval=(rule.value - half, rule.value + half),
        logged=float(logged.mean()),
        difference=difference,
        difference_interval=(difference - half_difference, difference + half_difference),
        units=count,
        decisions=len(unit),
        touched=touched,
        effective_units=rule.effective_units,
        largest_weight=rule.largest_weight,
        trusted=rule.effective_units >= FEW_UNITS,
    )


class _RuleSums(NamedTuple):
    value: float
    influence: FloatArray  # (units,)
    effective_units: float
    largest_weight: float


def _rule_sums(index: IntArray, step: IntArray, weight: FloatArray, reward: FloatArray) -> _RuleSums:
    """The rule's value and its influence by unit, from each row's unit, step, weight and reward."""
    count = int(index.max()) + 1
    value, influence, effective, largest = 0.0, np.zeros(count), math.inf, 0.0
    for number in range(int(step.max()) + 1):
        at = step == number
        of, w = index[at], weight[at]
        rows, weights = np.bincount(of, minlength=count), np.asarray(np.bincount(of, w, count), dtype=np.float64)
        share, rest = _shares(weights, int((rows > 0).sum()))
        step_value = float(np.dot(w, reward[at]) / w.sum())
        value += len(w) / count * step_value
        pull = np.bincount(of, w * (reward[at] - step_value), count) / w.sum()
        influence += rows * step_value + len(w) * pull * rest
        effective = min(effective, float(1.0 / np.dot(share, share)))
        largest = max(largest, float(share.max()))
    return _RuleSums(value, influence, effective, largest)


def _steps(earlier: IntArray, count: int) -> IntArray:
    """The step of each row: how many decisions its unit had before. Steps that few units reach are merged."""
    reached = np.flatnonzero(np.bincount(earlier) >= max(2.0, REACHED * count))
    step: IntArray = np.minimum(earlier, reached.max(initial=0))
    return step


def _shares(weights: FloatArray, present: int) -> tuple[FloatArray, FloatArray]:
    """Each unit's share of a step's weights, and the jackknife's factor: 1 where all weights are equal."""
    if weights.sum() <= 0:
        raise DataError(
            "no unit's past fits the rule at some step", fix="evaluate a looser rule, or wait for more data"
        )
    share: FloatArray = weights / weights.sum()
    if present == 1:
        return share, np.ones(len(share))
    if share.max() >= 1.0:
        raise DataError(
            "only one unit's past fits the rule at some step", fix="evaluate a looser rule, or wait for more data"
        )
    return share, (1.0 - 1.0 / present) / (1.0 - share)


def _half_width(influence: FloatArray, alpha: float) -> float:
    """Half width of the interval for a mean of influences over units."""
    error = float(influence.std(ddof=1)) / math.sqrt(len(influence))
    if error <= NO_SPREAD:
        return 0.0
    freedom = 2 * len(influence) / (float(stats.kurtosis(influence, fisher=False)) - 1.0 + 1e-12)
    return float(stats.t.isf(alpha / 2, freedom)) * error


def _products(ratios: FloatArray, step: IntArray) -> FloatArray:
    """For each row the product of its unit's ratios so far."""
    product, first = ratios.copy(), np.flatnonzero(step == 0)
    length = np.diff(first, append=len(step))
    for number in range(1, int(step.max()) + 1):
        first, length = first[length > number], length[length > number]
        rows = first + number
        product[rows] *= product[rows - 1]
        if product[rows].max() > LARGEST:
            raise DataError("the past of a unit is too long for its weight", fix="use fewer of the newest decisions")
    return product


def _sorted(units: ArrayLike, times: ArrayLike) -> tuple[IntArray, FloatArray]:
    unit, time = vector("units", units, minimum_length=2).astype(np.int64), vector("times", times)
    if len(unit) != len(time):
        raise DataError("units and times have different lengths", fix="pass one of each per decision")
    order: npt.NDArray[np.bool_] = (np.diff(unit) > 0) | ((np.diff(unit) == 0) & (np.diff(time) >= 0))
    if not order.all():
        raise DataError("the rows are not in order", fix="sort them by unit, then time", row=int(np.argmin(order)) + 1)
    return unit, time
