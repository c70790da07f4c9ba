"""The always-valid interval of a comparison of arms, and what it rests on.

It is the asymptotic sequence of the difference, with variances at least as large as those of both arms together, and it
stays closed until the smaller arm has enough effective units and may expect enough events. Units are independent. This
module must never give an interval that is narrower than the one for one look beside it.
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

from scipy.stats import norm

from experiments.arms.comparison import Comparison, relative_lift
from experiments.results import Interval, missing
from experiments.sequences import mixture_tau, mixture_test

MIN_SEQUENCE_UNITS = 100.0
"""Effective units of each arm before the always-valid interval, which is asymptotic, opens."""
MIN_SEQUENCE_EVENTS = 10.0
"""Effective events that each arm may expect before it opens: see `Support`."""
TUNED_AT = 5000.0
"""Units at which the always-valid interval is narrowest, when no size was planned."""


class Support(NamedTuple):
    """What an interval rests on: the smaller of both arms."""

    units: float
    """Kish's effective number of units, (sum of weights)^2 / sum of squared weights: far below the number of units where
    a few units make most of the decisions."""
    events: float
    """Effective number of nonzero values that an arm expects if both arms are alike: (sum |x|)^2 / sum x^2 of both arms,
    in proportion to the arm's units. 1% conversions of 2,000 units are 20."""


class AlwaysValid(NamedTuple):
    """What holds at every look together."""

    p_value: float | None
    """Of "no difference"; None with a reason in the intervals."""
    interval: Interval
    """Of the difference."""
    relative_interval: Interval
    """Of the relative lift."""


class Design(NamedTuple):
    """What a sequence knows beside the figures."""

    units: int
    """Units of both arms."""
    tuned_at: float = TUNED_AT
    """Units of both arms at which the sequence is narrowest."""
    shared_variance: float = 0.0
    """Squared error that both values share, see `experiments.arms.adjustment`."""


def always_valid(
    comparison: Comparison,
    variances: tuple[float, float],
    support: Support,
    design: Design,
    *,
    alpha: float = 0.05,
) -> AlwaysValid:
    """The asymptotic sequence of a comparison, closed until its support is large enough, never narrower than one look.

    `variances` are those of control and treatment (Waudby-Smith, Arbour, Sinha, Kennedy and
    Ramdas 2024). It holds asymptotically; `python -m benchmarks looks` measures misses in worlds of rare and skewed values.
    """
    if comparison.std_error is None:
        return AlwaysValid(None, comparison.interval, comparison.interval)
    reason = _closed(support)
    if reason:
        return AlwaysValid(None, missing(reason), missing(reason))
    error = sqrt(sum(variances))
    tau = mixture_tau(error, design.units, design.tuned_at, alpha)
    tested = mixture_test(comparison.difference, error, tau, alpha)
    # In standard errors, the sequence is equally wide for every contrast with the same units. So the relative lift's
    # always-valid interval is its one-look interval at the level that gives this width.
    errors = (tested.interval.high - comparison.difference) / error  # type: ignore[operator]
    ends = [
        arm._replace(variance=variance + design.shared_variance)
        for arm, variance in zip((comparison.control, comparison.treatment), variances, strict=True)
    ]
    level = 2 * float(norm.sf(errors))
    _, relative = relative_lift(ends[0], ends[1], alpha=level, covariance=design.shared_variance)
    return AlwaysValid(
        tested.p_value,
        _at_least(tested.interval, comparison.interval),
        _at_least(relative, comparison.relative_interval),
    )


def _closed(support: Support) -> str:
    if support.units < MIN_SEQUENCE_UNITS:
        return f"needs {MIN_SEQUENCE_UNITS:.0f} effective units per arm; the smallest arm has {support.units:.1f}"
    if support.events < MIN_SEQUENCE_EVENTS:
        return (
            f"needs {MIN_SEQUENCE_EVENTS:.0f} effective events per arm; the smallest arm expects {support.events:.1f}"
        )
    return ""


def _at_least(sequence: Interval, one_look: Interval) -> Interval:
    """The sequence, never narrower than the interval for one look: what holds at every look holds at this one."""
    if sequence.low is None or sequence.high is None or one_look.low is None or one_look.high is None:
        return sequence
    return sequence._replace(low=min(sequence.low, one_look.low), high=max(sequence.high, one_look.high))
