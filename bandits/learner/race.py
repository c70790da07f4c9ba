"""The race between candidates: squared errors of predictions that were made before the reward was learned.

Scores fade with a half-life, so that what is best now wins. A challenger takes over only when its lead over the served
candidate is larger than its standard error; both follow from the mean and the covariance of the candidates' losses.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bandits.distribution import FloatArray

HALF_LIFE: Final = 1000.0  # decisions
LEAD: Final = 2.0  # standard errors; with rare rewards, equal losses hide very different choices
RECENT: Final = 150.0  # decisions: half-life of the loss that reveals a change of the world
DRIFT: Final = 4.0  # standard errors between the recent loss and the usual one
DIGITS: Final = 9  # kept of each sum: the last bits may differ between machines


@dataclass
class Race:
    """The scores of the candidates, in their order."""

    names: tuple[str, ...]
    served: int  # index of the candidate that decides
    weight: float  # decisions, faded
    losses: FloatArray  # (m,): sum of squared errors
    products: FloatArray  # (m, m): sum of the products of squared errors
    recent: FloatArray  # (2,): weight and loss of what was served, faded faster

    @classmethod
    def new(cls, names: Sequence[str], served: int = 0) -> "Race":
        """A race without any score."""
        return cls(tuple(names), served, 0.0, np.zeros(len(names)), np.zeros((len(names), len(names))), np.zeros(2))

    def score(self, predicted: FloatArray, rewards: FloatArray) -> None:
        """Adds the squared errors of predictions (m, n) of rewards (n,), and fades what was there before."""
        loss = np.square(predicted - rewards)
        mine = np.array([rewards.size, float(loss[self.served].sum())])
        self.recent = _round(self.recent * 0.5 ** (rewards.size / RECENT) + mine)
        fade = 0.5 ** (rewards.size / HALF_LIFE)
        self.weight = _rounded(self.weight * fade + rewards.size)
        self.losses = _round(self.losses * fade + loss.sum(axis=1))
        self.products = _round(self.products * fade + np.einsum("in,jn->ij", loss, loss))

    def choose(self) -> None:
        """Serves the candidate with the least loss if its lead is clear; otherwise the served one stays."""
        if not self.weight:
            return
        best = int(self.losses.argmin())
        if self.lead(best) > LEAD * self.error(best):
            self.served = best

    @property
    def drifted(self) -> bool:
        """Whether what is served predicts clearly worse of late than over the whole race."""
        if not self.recent[0] or not self.weight:
            return False
        served, mean = self.served, float(self.losses[self.served]) / self.weight
        variance = max(float(self.products[served, served]) / self.weight - mean * mean, 0.0)
        above = float(self.recent[1] / self.recent[0]) - mean
        return above > DRIFT * math.sqrt(variance / float(self.recent[0])) and above > 0.0

    def means(self) -> FloatArray:
        """Mean squared error of each candidate, shape (m,); NaN before the first score."""
        return self.losses / self.weight if self.weight else np.full(len(self.names), math.nan)

    def lead(self, other: int) -> float:
        """How much smaller a candidate's mean loss is than that of the served one."""
        return float(self.losses[self.served] - self.losses[other]) / self.weight

    def error(self, other: int) -> float:
        """Standard error of `lead`."""
        served, products = self.served, self.products
        square = products[other, other] + products[served, served] - 2.0 * products[other, served]
        return math.sqrt(max(square / self.weight - self.lead(other) ** 2, 0.0) / self.weight)


def _round(values: FloatArray) -> FloatArray:
    return np.array([_rounded(value) for value in values.ravel().tolist()]).reshape(values.shape)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
