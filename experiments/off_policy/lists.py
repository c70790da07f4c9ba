"""Off-policy values of ranked lists whose positions were drawn one after the other.

The estimand is the value of the policy's WHOLE list: it chooses at every position, among what its own choices above left.
Changing one position and leaving the log above is another question, and no policy's value. With p(1..l) the logged
probability of the first l actions, pi(1..l) the policy's, and W_l = pi(1..l) / p(1..l), W_0 = 1:

    whole list   W_L (r_1 + ... + r_L)                              no assumption (Horvitz and Thompson 1952)
    cascade      sum_l W_l r_l                                      RIPS (McInerney et al. 2020)
    cascade DR   sum_l W_{l-1} v_l + W_l (r_l - q_l)                (Kiyohara et al. 2022, with myopic predictions)

The last two assume that the reward of a position depends on its own action and those above it. The arm of a unit is drawn
once for a whole list, so that p(1..l) is a mixture of products, not a product of mixtures. Arrays have the shape (lists,
positions); a position that a list does not have holds chances of 1 and rewards and predictions of 0. This module must
never weight a position without the positions above it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from experiments.off_policy.estimators import importance_weights
from experiments.validation import DataError, FloatArray, IntArray

WHOLE_LIST = "the mean over lists of the sum of a list's rewards, had the policy chosen every position; no assumption"
CASCADE = (
    "the mean over lists of the sum of a list's rewards, had the policy chosen every position, if a position's reward "
    "depends on its own action and those above it only"
)


class ListColumns(NamedTuple):
    """A log of lists for a target policy, arrays of shape (lists, positions)."""

    propensity: FloatArray
    """Logged probability of the actions down to this position."""
    target: FloatArray
    """The policy's probability of the same actions."""
    reward: FloatArray
    q: FloatArray
    """Predicted reward of the logged action; the model has not learned the row."""
    v: FloatArray
    """Average prediction over the policy's choice at this position, given the logged actions above."""

    @property
    def weights(self) -> FloatArray:
        """W_l, shape (lists, positions)."""
        flat = importance_weights(self.propensity.ravel(), self.target.ravel())
        return flat.reshape(self.propensity.shape)

    @property
    def above(self) -> FloatArray:
        """W_{l-1}, same shape; 1 at the first position."""
        weights = self.weights
        return np.concatenate([np.ones((len(weights), 1)), weights[:, :-1]], axis=1)


def prefix_propensity(chances: FloatArray, share: FloatArray) -> FloatArray:
    """The platform's probability of the first l actions, shape (lists, positions).

    chances (arms, lists, positions): each arm's probability of the logged action at its position, given those above;
    share (lists, arms): the chance that the list's unit is in the arm.
    """
    if chances.shape[:2] != share.shape[::-1]:
        raise DataError("the arms' chances do not fit the arms' shares", fix="pass one share per list and arm")
    total = share.sum(axis=1, keepdims=True)
    return np.asarray(np.einsum("na,anl->nl", share / total, np.cumprod(chances, axis=2)))


def whole_list(columns: ListColumns) -> FloatArray:
    """Each list's contribution to the whole list's value without assumption, shape (lists,)."""
    return np.asarray(columns.weights[:, -1] * columns.reward.sum(axis=1))


def cascade(columns: ListColumns) -> FloatArray:
    """Each list's contribution under the cascade assumption, shape (lists,)."""
    return np.asarray((columns.weights * columns.reward).sum(axis=1))


def cascade_dr(columns: ListColumns) -> FloatArray:
    """The same, doubly robust."""
    residual = columns.weights * (columns.reward - columns.q)
    return np.asarray((columns.above * columns.v + residual).sum(axis=1))


def grid(lists: IntArray, positions: IntArray) -> IntArray:
    """The row of each list and position, shape (lists, positions), -1 where a list has none; lists as they first appear.

    `lists` holds a code per row, `positions` its position from 1. A list without its first positions is left out, and
    what comes after a missing position: nothing tells what was chosen above it.
    """
    order = np.lexsort((positions, lists))
    rows: dict[int, list[int]] = {}
    for row in order:
        members = rows.setdefault(int(lists[row]), [])
        if positions[row] == len(members) + 1:
            members.append(int(row))
    complete = sorted((members for members in rows.values() if members), key=lambda members: members[0])
    width = max((len(members) for members in complete), default=0)
    table = np.full((len(complete), width), -1, dtype=np.int64)
    for index, members in enumerate(complete):
        table[index, : len(members)] = members
    return table
