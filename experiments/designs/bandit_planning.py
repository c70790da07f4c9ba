"""What a planned bandit experiment would show, by simulation: power, traffic and regret.

Batches of rounds are drawn for many runs at once; probabilities follow epsilon-greedy or Thompson sampling with an
exploration floor. The analysis uses two-point-weighted contrasts (`experiments.off_policy.adaptive`). All randomness comes
from the seed. This module must never be used as an analysis of data: it answers "what if the arms were like this".
"""

from __future__ import annotations

from math import sqrt
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from experiments.off_policy.adaptive import two_point_weights
from experiments.sums import CHUNK_ROWS
from experiments.validation import ArrayLike, DataError, FloatArray, codes, fraction, propensities, vector

Policy = Literal["uniform", "epsilon_greedy", "thompson"]
THOMPSON_DRAWS = 200


class Design(NamedTuple):
    """A bandit experiment as planned."""

    rounds: int
    """Decisions in one run."""
    batch: int
    """Decisions between policy updates."""
    policy: Policy
    """How probabilities are made from what was learned."""
    floor: float
    """Exploration floor C: every arm keeps at least C / K * t^-decay."""
    decay: float = 0.0
    """Decay of the floor; 0 keeps it constant."""
    epsilon: float = 0.1
    """Share of uniform choices of epsilon-greedy."""


class BanditPlan(NamedTuple):
    """What runs of the design showed on average."""

    power: float
    """Share of runs whose interval for best minus control (arm 0) lies above 0; 0.5 alpha when control is best."""
    best_share: float
    """Share of decisions that went to the truly best arm."""
    mean_reward: float
    """Mean reward per decision."""
    uniform_reward: float
    """Mean reward per decision had arms been chosen uniformly."""
    contrast_std: float
    """Standard deviation of the estimated contrast over runs, unit of the reward."""
    coverage: float
    """Share of intervals that cover the true contrast; far from 1 - alpha says that the design is too short."""


class ArmBaseline(NamedTuple):
    """An arm in a stored log."""

    mean: float | None
    """Self-normalised mean reward; None when the arm was never chosen."""
    std: float
    """Standard deviation of its rewards."""
    pulls: int
    """Times chosen."""


def simulate(
    means: ArrayLike,
    design: Design,
    *,
    seed: int,
    runs: int = 500,
    reward_std: float | None = None,
    alpha: float = 0.05,
) -> BanditPlan:
    """Simulated plan for arms with these mean rewards (K,); arm 0 is the control.

    Rewards are Bernoulli, or normal when `reward_std` is given. Same seed, same answer.
    """
    truth = vector("means", means, minimum_length=2)
    if reward_std is None and ((truth < 0) | (truth > 1)).any():
        raise DataError("a mean lies outside 0 to 1", fix="give reward_std for rewards that are not yes or no")
    _check(design, len(truth))
    rng = np.random.default_rng(seed)
    # Memory stays at tens of megabytes however many runs are asked for.
    size = max(1, min(runs, CHUNK_ROWS * 100 // design.rounds))
    parts = [_simulate_runs(truth, design, rng, min(size, runs - start), reward_std) for start in range(0, runs, size)]
    estimate, error = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    best = int(np.argmax(truth))
    gap = float(truth[best] - truth[0])
    z = float(stats.norm.isf(fraction("alpha", alpha) / 2))
    shares = np.concatenate([part[2] for part in parts]).mean(axis=0)
    return BanditPlan(
        float(np.mean(estimate - z * error > 0)),
        float(shares[best]),
        float(shares @ truth),
        float(truth.mean()),
        float(estimate.std()),
        float(np.mean(np.abs(estimate - gap) <= z * error)),
    )


def _check(design: Design, arms: int) -> None:
    if design.rounds < 2 or not 1 <= design.batch <= design.rounds:
        raise DataError(
            "the design has too few rounds, or a batch that does not fit",
            fix="give 2 rounds or more, and a batch within them",
        )
    if not 0 < design.floor <= 1 or not 0 <= design.decay < 1:
        raise DataError("the design has no lasting floor", fix="give 0 < floor <= 1 and 0 <= decay < 1")
    if arms > design.rounds:
        raise DataError("there are more arms than rounds", fix="plan more rounds")


def _simulate_runs(
    truth: FloatArray, design: Design, rng: np.random.Generator, runs: int, reward_std: float | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Estimated contrast (runs,), its error (runs,), shares of decisions (runs, K)."""
    k, best = len(truth), int(np.argmax(truth))
    against = 0 if best != 0 else 1
    pulls, sums, squares = np.zeros((runs, k)), np.zeros((runs, k)), np.zeros((runs, k))
    probabilities = np.empty((design.rounds, runs, 2))
    scores = np.empty((design.rounds, runs, 2))
    watched = (best, against) if best != 0 else (against, best)
    for start in range(0, design.rounds, design.batch):
        stop = min(start + design.batch, design.rounds)
        p = _distribution(design, rng, (pulls, sums, squares), stop)
        arm = (rng.random((stop - start, runs, 1)) > np.cumsum(p, axis=1)[None, :, :-1]).sum(axis=2)
        noise = rng.random(arm.shape) < truth[arm] if reward_std is None else rng.normal(truth[arm], reward_std)
        reward = np.asarray(noise, dtype=np.float64)
        known = np.divide(sums, pulls, out=np.zeros_like(sums), where=pulls > 0)
        for slot, a in enumerate(watched):
            probabilities[start:stop, :, slot] = p[:, a]
            scores[start:stop, :, slot] = known[:, a] + (arm == a) * (reward - known[:, a]) / p[:, a]
        for a in range(k):
            mine = arm == a
            pulls[:, a] += mine.sum(axis=0)
            sums[:, a] += (reward * mine).sum(axis=0)
            squares[:, a] += (reward**2 * mine).sum(axis=0)
    estimate, error = _contrasts(scores, two_point_weights(probabilities, design.decay))
    return estimate, error, pulls / design.rounds


def _contrasts(scores: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    h = weights / weights.sum(axis=0)
    values = (h * scores).sum(axis=0)
    parts = h * (scores - values)
    return values[:, 0] - values[:, 1], np.sqrt(((parts[..., 0] - parts[..., 1]) ** 2).sum(axis=0))


def _distribution(
    design: Design, rng: np.random.Generator, seen: tuple[FloatArray, FloatArray, FloatArray], t: int
) -> FloatArray:
    """Probabilities (runs, K) for the next batch, which ends at round t, floor mixed in."""
    pulls, sums, squares = seen
    runs, k = pulls.shape
    if design.policy == "uniform" or not pulls.any():
        return np.full((runs, k), 1 / k)
    mean = (sums + 0.5) / (pulls + 1)
    if design.policy == "epsilon_greedy":
        p = np.full((runs, k), design.epsilon / k)
        p[np.arange(runs), mean.argmax(axis=1)] += 1 - design.epsilon
    else:
        spread = np.sqrt(np.maximum(squares - sums * mean, 0.25) / (pulls + 1) / (pulls + 1))
        draws = rng.normal(mean, spread, size=(THOMPSON_DRAWS, runs, k)).argmax(axis=2)
        p = np.stack([(draws == a).mean(axis=0) for a in range(k)], axis=1)
    floor = design.floor * t**-design.decay
    return np.asarray((1 - floor) * p + floor / k)


def arm_baselines(actions: ArrayLike, propensity: ArrayLike, rewards: ArrayLike, n_arms: int) -> list[ArmBaseline]:
    """Means and deviations of each arm from a stored log (n,), weighted by 1 / propensity: inputs for `simulate`."""
    a, p, r = codes("action", actions, n_arms), propensities("propensity", propensity), vector("reward", rewards)
    if not len(a) == len(p) == len(r):
        raise DataError("actions, propensities and rewards differ in length", fix="pass one of each per decision")
    out = []
    for arm in range(n_arms):
        mine = a == arm
        if not mine.any():
            out.append(ArmBaseline(None, 0.0, 0))
            continue
        w = 1 / p[mine]
        mean = float(w @ r[mine] / w.sum())
        out.append(ArmBaseline(mean, sqrt(float(w @ (r[mine] - mean) ** 2 / w.sum())), int(mine.sum())))
    return out
