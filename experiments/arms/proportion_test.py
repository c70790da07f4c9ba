"""An exact test of two proportions that holds at every look, for any number of events: no gate, no normal approximation.

Units are assigned by a coin with a known chance, and each has the event or not. If the arms are alike, an event says
nothing of the coin; so for any two proportions the bet prod p_arm(y) / (share-weighted mean of both p(y)) is fair,
whatever the true rate is and however it moves (Turner, Ly and Gruenwald 2024, "Generic E-variables for exact sequential
k-sample tests"). The average over a grid of proportions is fair too. It tests "no difference" and gives no interval.
This module must never estimate the chance of the coin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from experiments.sequences import e_to_p
from experiments.validation import DataError, FloatArray

BASES = np.linspace(-8.0, 8.0, 33)
"""Log odds in the middle of both arms: 0.03% to 99.97%."""
EFFECTS = np.array([sign * size for size in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4) for sign in (-1.0, 1.0)])
"""Log odds ratios that are betted on, alike for and against the treatment."""


class Counts(NamedTuple):
    """The units of a stratum."""

    chance: float
    """Of the treatment, given that a unit gets one of the two arms; between 0 and 1."""
    events: tuple[int, int]
    """Units with the event: control, treatment."""
    units: tuple[int, int]
    """Units: control, treatment."""


def log_evidence(strata: Sequence[Counts]) -> float:
    """Log of the e-value against "both arms have the same proportion in every stratum"; 0 without units."""
    middle, effect = np.meshgrid(BASES, EFFECTS, indexing="ij")
    control, treatment = special.expit(middle - effect / 2), special.expit(middle + effect / 2)
    total = np.zeros(middle.shape)
    for stratum in strata:
        if not 0 < stratum.chance < 1:
            raise DataError(f"the chance of the treatment is {stratum.chance}", fix="it must lie between 0 and 1")
        total += _log_bets(stratum, control, treatment)
    return float(special.logsumexp(total) - np.log(total.size))


def _log_bets(stratum: Counts, control: FloatArray, treatment: FloatArray) -> FloatArray:
    pooled = stratum.chance * treatment + (1 - stratum.chance) * control
    out = np.zeros(control.shape)
    for rate, events, units in zip((control, treatment), stratum.events, stratum.units, strict=True):
        out += events * np.log(rate / pooled) + (units - events) * (np.log1p(-rate) - np.log1p(-pooled))
    return out


def p_value(strata: Sequence[Counts]) -> float:
    """min(1, 1 / e-value) at this look. Of all looks together, the smallest is at most alpha with a chance of alpha."""
    return e_to_p(log_evidence(strata))
