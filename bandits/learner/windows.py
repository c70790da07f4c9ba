"""How much of a log still holds: where the world changed, what came before the change is not learned any more."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from bandits.distribution import FloatArray
from bandits.learner.beliefs import RIDGES, Sums
from bandits.learner.encoder import Encoded

LEAST: Final = 100  # rows that are learned before any is predicted
JUDGED: Final = 1600  # newest rows that are predicted, or a tenth of the log
RISE: Final = 3.0  # standard errors by which the whole log has to predict worse after a cut
LEAD: Final = 5.0  # standard errors; the log is judged again and again


def newest_that_hold(table: Encoded, beliefs: Sequence[str]) -> int:
    """The number of newest rows to learn from: all, unless a cut is better by more than LEAD standard errors.

    Cuts lie 200, 300, 400, 600, 800, 1200, ... rows before the end. The rows after a cut are predicted twice, part by part:
    by a belief that knows what came after the cut, and by one that knows the whole log; each with the best prior precision,
    so that neither loses by learning noise. The clearest cut counts. The most general belief judges: to one that cannot
    express the world, the world seems to change with the contexts in which an action is chosen.

    A cut also needs the whole log to predict clearly worse after it than before. Without this, success would look like a
    change: once nearly every choice is right, "everything pays" predicts better than what knows where it does not.
    """
    n = len(table.rewards)
    if n <= 2 * LEAST:
        return n
    name = next(name for name in ("kernel", "linear", "shared") if name in beliefs)
    block = np.zeros_like(table.block) if name == "shared" else table.block
    log = _Log(block, table.vectors[name], table.rewards - table.rewards.mean())
    cuts = [length for length in _lengths(n) if length > LEAST]
    starts = [length for length in reversed(cuts) if length <= max(JUDGED, n // 10)] + [LEAST]
    whole = log.progressive(0, [length for length in reversed(cuts) if length <= n - LEAST] + [LEAST])
    best, clearest = n, LEAD
    for cut in cuts:
        after = log.progressive(n - cut, [start for start in starts if start <= cut - LEAST])
        judged = after.shape[1]
        lead = _better(whole[:, -judged:]) - _better(after)
        error = float(lead.std()) / judged**0.5
        worse = _rise(_better(whole), cut) > RISE
        if worse and float(lead.mean()) > clearest * error:
            best, clearest = cut, float(lead.mean()) / error if error else float("inf")
    return best


def _rise(errors: FloatArray, cut: int) -> float:
    """How much larger the errors are after a cut than before it, in standard errors; 0 when there is no before."""
    before, after = errors[:-cut], errors[-cut:]
    if len(before) < LEAST:
        return 0.0
    spread = float(before.var() / len(before) + after.var() / len(after)) ** 0.5
    rise = float(after.mean() - before.mean())
    return rise / spread if spread else (float("inf") if rise > 0.0 else 0.0)


def _lengths(n: int) -> list[int]:
    doubled = [LEAST << power for power in range(n.bit_length())]
    return sorted({length for double in doubled for length in (double, double * 3 // 2) if length < n} - {150})


def _better(errors: FloatArray) -> FloatArray:
    """The row with the smaller sum."""
    return np.asarray(errors[int(errors.sum(axis=1).argmin())])


class _Log:
    def __init__(
        self, block: "np.ndarray[tuple[int], np.dtype[np.int64]]", rows: FloatArray, rewards: FloatArray
    ) -> None:
        self._block, self._rows, self._rewards = block, rows, rewards
        self._blocks = int(block.max()) + 1

    def progressive(self, first: int, lengths: Sequence[int]) -> FloatArray:
        """Squared errors of the newest rows under each prior precision, shape (precisions, longest length).

        :param first: the first row that is learned.
        :param lengths: the parts begin so many rows before the end, in falling order; each is predicted from the rows
            between `first` and its beginning.
        """
        n = len(self._rewards)
        sums, learned, errors = Sums.empty(self._blocks, self._rows.shape[1]), first, []
        for length, following in zip(lengths, [*lengths[1:], 0], strict=True):
            past, part = slice(learned, n - length), slice(n - length, n - following)
            sums.add(self._block[past], self._rows[past], self._rewards[past])
            learned = n - length
            weights = [sums.weights(ridge)[self._block[part]] for ridge in RIDGES]
            predicted = [np.einsum("ni,ni->n", self._rows[part], weight) for weight in weights]
            errors.append(np.square(np.stack(predicted) - self._rewards[part]))
        return np.concatenate(errors, axis=1)
