"""How much of a log still holds: the newest part that predicts the last decisions clearly better than the whole log."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from bandits.learner.beliefs import Sums
from bandits.learner.encoder import Encoded

LEAST: Final = 100  # rows of the shortest part, and the fewest that are predicted
MOST_JUDGED: Final = 1000  # rows that are predicted
LEAD: Final = 3.0  # standard errors


def newest_that_hold(table: Encoded, beliefs: Sequence[str]) -> int:
    """The number of newest rows to learn from: all, unless a shorter part is better by more than LEAD standard errors.

    The last rows are predicted from parts of doubling lengths before them, by the most general belief. Of the parts that
    are better than the whole log, the one with the least squared error counts.
    """
    n = len(table.rewards)
    judged = min(max(n // 10, LEAST), MOST_JUDGED)
    before = n - judged
    if before < 2 * LEAST:
        return n
    name = "kernel" if "kernel" in beliefs else beliefs[-1]
    block = np.zeros_like(table.block) if name == "shared" else table.block
    rows, rewards = table.vectors[name], table.rewards - table.rewards.mean()
    blocks = 1 if name == "shared" else int(block.max()) + 1
    sums, reached, losses = Sums.empty(blocks, rows.shape[1]), before, {}
    for length in [*_doubling(before), before]:
        part = slice(before - length, reached)
        sums.add(block[part], rows[part], rewards[part])
        reached = before - length
        losses[length] = np.square(sums.belief().means(block[before:], rows[before:]) - rewards[before:])
    best = min(losses, key=lambda length: float(losses[length].mean()))
    lead = losses[before] - losses[best]
    clear = float(lead.mean()) > LEAD * float(lead.std()) / judged**0.5
    return best + judged if clear else n


def _doubling(before: int) -> list[int]:
    lengths, length = [], LEAST
    while length < before:
        lengths.append(length)
        length *= 2
    return lengths
