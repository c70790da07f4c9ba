"""Gaussian beliefs about rewards: Bayesian linear regression from sums, one block of columns per action or one for all.

With rows x (d columns) and rewards y, noise of variance v, and the prior N(0, v / ridge I), the belief about the weights is

    precision A = ridge I + sum x x',  mean = A^-1 sum y x,  covariance v A^-1

(Bishop 2006, "Pattern Recognition and Machine Learning", section 3.3). So the belief about the reward of a row is Gaussian with
the mean x' mean and the variance v x' A^-1 x. Rewards are centred before, so what is not known counts as average.

Sums over rows are made without BLAS, in the order of the rows: the same log gives the same bytes. Solving uses LAPACK, which may
differ in the last bits between machines; what is stored are therefore only the sums.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bandits.distribution import FloatArray

# A prior precision in units of the noise, of all columns or of each: rewards and columns are standardised.
Precision = float | tuple[float, ...]
RIDGES: Final = (1.0, 10.0, 100.0, 1000.0)
STRICTEST: Final = 1e4  # precision of a column that says nothing
STEPS: Final = 5  # of the iteration that finds each column's precision
START: Final = 100.0  # where it begins
DIGITS: Final = 3  # kept of each: the last bits may differ between machines
DOUBT: Final = 20.0  # columns for each unit of the largest prior precision that uncertainty may assume
_ROWS: Final = 4096  # rows that are summed at once


@dataclass
class Sums:
    """What a belief has learned. Each block is a regression of its own."""

    gram: FloatArray  # (blocks, d, d): sum of x x'
    moment: FloatArray  # (blocks, d): sum of y x

    @classmethod
    def empty(cls, blocks: int, size: int) -> "Sums":
        """Sums over no rows."""
        return cls(np.zeros((blocks, size, size)), np.zeros((blocks, size)))

    def grown(self, blocks: int) -> "Sums":
        """The same sums with empty blocks appended, up to a number of blocks."""
        more = blocks - len(self.moment)
        if more <= 0:
            return self
        size = self.moment.shape[1]
        gram = np.concatenate((self.gram, np.zeros((more, size, size))))
        return Sums(gram, np.concatenate((self.moment, np.zeros((more, size)))))

    def add(self, block: NDArray[np.int64], rows: FloatArray, rewards: FloatArray) -> None:
        """Adds rows (n, d) with their blocks (n,) and centred rewards (n,)."""
        for number in np.unique(block):
            mine = np.flatnonzero(block == number)
            for first in range(0, mine.size, _ROWS):
                part = mine[first : first + _ROWS]
                x = rows[part]
                self.gram[number] += np.einsum("ni,nj->ij", x, x)
                self.moment[number] += np.einsum("n,ni->i", rewards[part], x)

    @property
    def rows(self) -> float:
        """Rows of a block on the mean. The first column is always 1."""
        return float(self.gram[:, 0, 0].mean())

    def weights(self, precision: Precision) -> FloatArray:
        """The posterior means (blocks, d) under a prior precision."""
        regular = self.gram + _diagonal(precision, self.moment.shape[1])
        return np.asarray(np.linalg.solve(regular, self.moment[..., np.newaxis])[..., 0], dtype=np.float64)

    def relevance(self, noise: float) -> tuple[float, ...]:
        """The precision of each column that the sums suggest, shared by all blocks: large for columns that say nothing.

        Automatic relevance determination (MacKay 1992, "Bayesian interpolation", equation 4.5; Bishop 2006, section 7.2.1): a
        column's prior variance is its squared weights' sum over the number of weights that the rows determine. The first
        column, the average, is held to 0 as little as any.

        :param noise: variance of the rewards around what a good regression predicts.
        """
        precision = np.full(self.moment.shape[1], START)
        for _ in range(STEPS):
            precision[0] = RIDGES[0]
            inverse = np.asarray(np.linalg.inv(self.gram + np.diag(precision)), dtype=np.float64)
            squares = np.square(np.einsum("bij,bj->bi", inverse, self.moment)).sum(axis=0)
            determined = (1.0 - precision * np.einsum("bii->bi", inverse)).sum(axis=0)
            precision = np.clip(noise * determined / np.maximum(squares, 1e-12), RIDGES[0], STRICTEST)
        precision[0] = RIDGES[0]
        return tuple(float(f"{value:.{DIGITS}g}") for value in precision)

    def belief(self, precision: Precision) -> "Belief":
        """The belief that follows from the sums and a prior precision."""
        size = self.moment.shape[1]
        # A strict prior may be right for the means and still is no reason not to explore what is unknown. Only as many rows as a
        # column's precision show that it says nothing.
        most = max(1.0, size / DOUBT)
        if not isinstance(precision, float):
            most = max(most, self.rows)
        prior = np.minimum(_diagonal(precision, size), most)
        inverse = np.asarray(np.linalg.inv(self.gram + prior), dtype=np.float64)
        return Belief(self.weights(precision), inverse, prior.diagonal())


def _diagonal(precision: Precision, size: int) -> FloatArray:
    return np.diag(np.broadcast_to(np.asarray(precision, dtype=np.float64), (size,)))


@dataclass(frozen=True)
class Belief:
    """A solved belief."""

    weights: FloatArray  # (blocks, d): posterior mean
    inverse: FloatArray  # (blocks, d, d): A^-1 for uncertainty
    prior: FloatArray  # (d,): precisions of what is unknown

    def means(self, block: NDArray[np.int64], rows: FloatArray) -> FloatArray:
        """Mean rewards, shape (n,), of rows (n, d) in their blocks (n,); block -1 is unknown and has the mean 0."""
        known = block >= 0
        out = np.zeros(block.size)
        out[known] = np.einsum("ni,ni->n", rows[known], self.weights[block[known]])
        return out

    def of_sparse(self, places: NDArray[np.intp], values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Means and x' A^-1 x, which is the variance in units of the noise's, of a belief with one block.

        :param places: (n, m), the dimensions of each row that have values.
        :param values: (n, m); those of equal dimensions add up.
        """
        inverse, size = self.inverse[0], self.weights.shape[1]
        parts = inverse.ravel().take((places * size)[:, :, np.newaxis] + places[:, np.newaxis, :])
        variance = ((parts @ values[:, :, np.newaxis])[:, :, 0] * values).sum(axis=1)
        return (self.weights[0].take(places) * values).sum(axis=1), np.maximum(variance, 0.0)

    def of_rows(self, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The same for whole rows (n, d), of a belief with one block."""
        variance = np.einsum("ni,ni->n", rows @ self.inverse[0], rows)
        return rows @ self.weights[0], np.maximum(variance, 0.0)
