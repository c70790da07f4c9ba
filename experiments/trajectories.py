"""Off-policy value of a rule that looks at the unit's own past, such as a tighter cap on messages.

What a unit was shown changes what it may be shown next, so a decision's own weight is not enough: a unit's rewards are
weighted by the product of the ratios of all its decisions so far (per-decision importance sampling, Precup, Sutton and Singh
2000), self-normalised at each step. This module must never mix units: their order in time is all that it uses.

Assumptions, which every answer repeats: opportunities to decide come at times that the rule does not change; a unit's
outcomes do not depend on other units; the logged probabilities are the true ones.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from experiments.validation import ArrayLike, BoolArray, DataError, FloatArray, IntArray, probabilities, vector

FEW_UNITS = 50.0  # effective units at a step, below which the interval is not to be trusted
LARGEST = 1e100  # weight
NO_SPREAD = 1e-15  # standard error at rounding level
REACHED = 0.05  # share of the units that a step of its own needs; later ones are one step together


class TrajectoryValue(NamedTuple):
    """What a rule would have been worth."""

    value: float  # mean over units of the sum of a unit's rewards, under the rule
    interval: tuple[float, float]  # Student's t, by the jackknife over units; see `value`
    logged: float  # the same sum as it was
    difference: float  # value - logged
    difference_interval: tuple[float, float]  # paired over units
    units: int
    decisions: int
    touched: int  # decisions at which the rule would have acted otherwise
    effective_units: float  # smallest over the steps: (sum w)^2 / sum w^2
    largest_weight: float  # largest share of one unit in a step's weights
    trusted: bool  # False: too few effective units at some step


class CapRatios(NamedTuple):
    """Per decision, target over logged probability of what was chosen, and whether the tighter cap had been reached."""

    ratios: FloatArray
    reached: BoolArray


def cap_ratios(already: ArrayLike, blocked: ArrayLike, mass: ArrayLike, *, limit: int) -> CapRatios:
    """Ratios of "at most `limit` messages in a window" against the logged policy.

    Where the cap is reached the messages that it concerns get probability 0 and the rest keeps its proportions.

    :param already: (n,) messages that the cap counts, within its window before each decision; see `used`.
    :param blocked: (n,) 1 where the chosen action is one that the cap would keep back.
    :param mass: (n,) logged probability of all actions that the cap would keep back.
    :raises DataError: the log never does what the rule would: nothing but messages where the cap is reached.
    """
    reached, kept_back = vector("already", already) >= limit, vector("blocked", blocked) > 0
    weight = probabilities("mass", np.minimum(vector("mass", mass), 1.0))
    if (reached & (weight >= 1 - 1e-12)).any():
        problem = "where the tighter cap is reached the log says something with certainty"
        raise DataError(problem, fix="evaluate a looser cap, or let the policy choose silence now and then first")
    ratios = np.ones(len(weight))
    ratios[reached] = np.where(kept_back[reached], 0.0, 1.0 / (1.0 - weight[reached]))
    return CapRatios(ratios, reached)


def used(units: ArrayLike, times: ArrayLike, said: ArrayLike, window_s: float) -> IntArray:
    """Per row, in how many earlier ones of its unit, less than `window_s` ago, something was said.

    Rows are sorted by unit, then time.

    :param units: (n,) whole numbers; equal for the rows of one unit.
    :param times: (n,) seconds.
    :param said: (n,) 1 where the cap counts the row.
    """
    return _used(*_sorted(units, times), vector("said", said) > 0, window_s)


def _used(units: IntArray, times: FloatArray, said: BoolArray, window_s: float) -> IntArray:
    before = np.concatenate(([0], np.cumsum(said)))  # messages in all rows before each
    first = np.searchsorted(units, units)  # first row of each row's unit
    # Seconds from the unit's first row keep all rows of all units in one increasing key.
    span = float(times.max() - times.min()) + window_s + 1.0
    key = units * span + (times - times.min())
    since = np.maximum(np.searchsorted(key, key - window_s, side="right"), first)
    found: IntArray = before[np.arange(len(units))] - before[since]
    return found


def value(
    units: ArrayLike, times: ArrayLike, ratios: ArrayLike, rewards: ArrayLike, *, touched: int = 0, alpha: float = 0.05
) -> TrajectoryValue:
    """The self-normalised per-decision value of a rule. Rows are sorted by unit, then time.

    Step t holds every unit's t-th decision, the last step all from there on (`REACHED`): V_t = sum(w r) / sum(w) over its rows,
    w the product of the unit's ratios up to the row. The value is the sum over t of V_t times the rows per unit. Its variance
    is that over units of the influence sum_t V_t rows_t,u + rows_t (sum_u w r - V_t sum_u w) / sum(w) (1 - 1/units_t) / (1 -
    sum_u w / sum(w)): what leaving the unit u out changes V_t by, the jackknife of a ratio (Tukey 1958). Without the last
    factors, the linearised variance, units with large weights pull V_t towards themselves and hide their spread. Student's t
    has 2 n / (kurtosis of the influence - 1) degrees of freedom, which is how well n units know that variance (Satterthwaite
    1946, by moments).

    :param ratios: (n,) target over logged probability of what was chosen.
    :param rewards: (n,)
    :raises DataError: at some step no unit's past fits the rule, or only one's.
    """
    unit, _ = _sorted(units, times)
    ratio, reward = vector("ratios", ratios), vector("rewards", rewards)
    if not len(unit) == len(ratio) == len(reward):
        raise DataError("rows are missing somewhere", fix="pass one ratio and one reward per decision")
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
    """Per row its step: how many decisions its unit had before; those that few units reach count as one step."""
    reached = np.flatnonzero(np.bincount(earlier) >= max(2.0, REACHED * count))
    step: IntArray = np.minimum(earlier, reached.max(initial=0))
    return step


def _shares(weights: FloatArray, present: int) -> tuple[FloatArray, FloatArray]:
    """Per unit its share of a step's weights, and the jackknife's factor: 1 where all weigh the same."""
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
    """Of the interval for a mean of influences over units."""
    error = float(influence.std(ddof=1)) / math.sqrt(len(influence))
    if error <= NO_SPREAD:
        return 0.0
    freedom = 2 * len(influence) / (float(stats.kurtosis(influence, fisher=False)) - 1.0 + 1e-12)
    return float(stats.t.isf(alpha / 2, freedom)) * error


def _products(ratios: FloatArray, step: IntArray) -> FloatArray:
    """Per row the product of its unit's ratios up to it."""
    product, first = ratios.copy(), np.flatnonzero(step == 0)
    length = np.diff(first, append=len(step))
    for place in range(1, int(step.max()) + 1):
        first, length = first[length > place], length[length > place]
        rows = first + place
        product[rows] *= product[rows - 1]
        if product[rows].max() > LARGEST:
            raise DataError("a unit's past is too long to be weighed", fix="use fewer of the newest decisions")
    return product


def _sorted(units: ArrayLike, times: ArrayLike) -> tuple[IntArray, FloatArray]:
    unit, time = vector("units", units, minimum_length=2).astype(np.int64), vector("times", times)
    if len(unit) != len(time):
        raise DataError("units and times have different lengths", fix="pass one of each per decision")
    order: npt.NDArray[np.bool_] = (np.diff(unit) > 0) | ((np.diff(unit) == 0) & (np.diff(time) >= 0))
    if not order.all():
        raise DataError("the rows are not in order", fix="sort them by unit, then time", row=int(np.argmin(order)) + 1)
    return unit, time
