"""Fixed-n intervals against brute-force optimisation, and their behaviour at the edges."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from scipy import optimize, stats

from experiments.off_policy import intervals, likelihood
from experiments.validation import DataError


def small_log(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.gamma(2, 0.5, n), rng.uniform(0, 1, n)


@pytest.mark.parametrize("seed", range(5))
def test_cressie_read_equals_the_worst_reweighting_of_a_general_optimiser(seed: int) -> None:
    w, r = small_log(seed, 12)
    wmax = 6.0
    sums = intervals.weight_sums(w, r)
    n = len(w)
    ends = []
    for origin, sign in ((0.0, 1), (1.0, -1)):
        best = inf
        for unseen in (0.0, wmax):
            points, f = np.append(w, unseen), np.append(sign * w * (r - origin), 0.0)
            mass = {"type": "eq", "fun": lambda u: u.mean() - 1}
            weight = {"type": "eq", "fun": lambda u, x=points: (u * x).mean() - 1}
            start = np.ones(n + 1)
            pull = wmax if w.sum() < n else 0.0
            x = np.append(w, pull)
            least = optimize.minimize(
                lambda u: ((u - 1) ** 2).sum(),
                start,
                constraints=[mass, {"type": "eq", "fun": lambda u, x=x: (u * x).mean() - 1}],
                options={"ftol": 1e-14, "maxiter": 500},
            ).fun
            radius = least + stats.f.isf(0.05, 1, n)
            ball = {"type": "ineq", "fun": lambda u, radius=radius: radius - ((u - 1) ** 2).sum()}
            result = optimize.minimize(
                lambda u, f=f: (u * f).mean(),
                start,
                constraints=[mass, weight, ball],
                options={"ftol": 1e-14, "maxiter": 1000},
            )
            if result.success:
                best = min(best, result.fun)
        ends.append(origin + sign * best)
    known = (max(0.0, ends[0]), min(1.0, ends[1]))
    assert intervals.cressie_read(sums, (0, 1), wmax)[:2] == pytest.approx(known, abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_empirical_likelihood_equals_the_primal_problem_solved_by_a_general_optimiser(seed: int) -> None:
    w, r = small_log(seed, 10)
    n, wmax = len(w), 5.0
    # Primal: masses on the rows and on unseen rewards at both weight bounds; the log-likelihood counts the rows only.
    x = np.concatenate([w, [0.0, wmax]])
    constraints = [{"type": "eq", "fun": lambda q: q.sum() - 1}, {"type": "eq", "fun": lambda q: (q * x).sum() - 1}]
    bounds = [(1e-9, 1)] * n + [(0, 1)] * 2
    start = np.append(np.full(n, 0.98 / n), [0.01, 0.01])
    options = {"ftol": 1e-15, "maxiter": 2000}
    best = optimize.minimize(
        lambda q: -np.log(q[:n]).sum(), start, bounds=bounds, constraints=constraints, options=options
    )
    floor = -best.fun - 0.5 * stats.f.isf(0.05, 1, n - 1)
    ball = {"type": "ineq", "fun": lambda q: np.log(np.maximum(q[:n], 1e-12)).sum() - floor}
    ends = []
    for origin, sign in ((0.0, 1), (1.0, -1)):
        f = np.append(sign * w * (r - origin), [0.0, 0.0])
        result = optimize.minimize(
            lambda q, f=f: q @ f, best.x, bounds=bounds, constraints=[*constraints, ball], options=options
        )
        assert result.success or result.status == 8
        ends.append(origin + sign * result.fun)
    assert likelihood.empirical_likelihood(w, r, (0, 1), wmax)[:2] == pytest.approx(ends, abs=2e-4)


def test_a_known_largest_weight_gives_a_much_narrower_interval_for_rare_rewards() -> None:
    rng = np.random.default_rng(0)
    w = rng.choice([0.2, 1.8], size=5000)
    r = (rng.random(5000) < 0.004).astype(float)
    sums = intervals.weight_sums(w, r)
    known, unknown = intervals.cressie_read(sums, (0, 1), 1.8), intervals.cressie_read(sums, (0, 1))
    assert known[0] == pytest.approx(unknown[0], rel=0.05)
    assert known[1] is not None
    assert unknown[1] is not None
    assert unknown[1] > 2 * known[1]


def test_intervals_shift_and_scale_with_the_rewards() -> None:
    w, r = small_log(3, 200)
    plain = intervals.cressie_read(intervals.weight_sums(w, r), (0, 1), 8.0)
    moved = intervals.cressie_read(intervals.weight_sums(w, 5 * r - 2), (-2, 3), 8.0)
    assert moved[:2] == pytest.approx([5 * (x or 0) - 2 for x in plain[:2]], rel=1e-9)
    el = likelihood.empirical_likelihood(w, r, (0, 1), 8.0)
    moved = likelihood.empirical_likelihood(w, 5 * r - 2, (-2, 3), 8.0)
    assert moved[:2] == pytest.approx([5 * (x or 0) - 2 for x in el[:2]], rel=1e-6)


def test_constant_rewards_and_weights_give_an_interval_or_a_reason() -> None:
    for w, r in ((np.ones(50), np.ones(50)), (np.full(50, 0.5), np.zeros(50)), (np.r_[4.0, np.zeros(49)], np.ones(50))):
        result = intervals.cressie_read(intervals.weight_sums(w, r), (0, 1), 5.0)
        assert result.exists
        assert result[0] <= result[1]
        result = likelihood.empirical_likelihood(w, r, (0, 1), 5.0)
        assert (result.exists and 0 <= result[0] <= result[1] <= 1) or result.reason  # type: ignore[operator]


def test_impossible_bounds_are_refused() -> None:
    w, r = small_log(1, 20)
    with pytest.raises(DataError, match="weight bounds"):
        intervals.cressie_read(intervals.weight_sums(w, r), (0, 1), 0.9)
    with pytest.raises(DataError, match="outside the declared bounds"):
        likelihood.empirical_likelihood(w, r, (0, 1), 1.01)
    with pytest.raises(DataError, match="reward range"):
        intervals.cressie_read(intervals.weight_sums(w, r), (1, 1), 9.0)
    assert intervals.empirical_bernstein(0.5, 0.1, 100, inf).reason
    assert intervals.normal(float("nan"), 1.0).reason


def test_rare_rewards_shrink_the_effective_number_of_rewards_not_of_rows() -> None:
    w, r = np.ones(1000), np.r_[np.ones(10), np.zeros(990)]
    sums = intervals.weight_sums(w, r)
    assert intervals.effective_rewards(sums, (0, 1)) == pytest.approx(10)
    assert intervals.effective_rewards(intervals.weight_sums(w, 1 - r), (0, 1)) == pytest.approx(10)


def test_clustering_by_row_changes_nothing_and_copies_of_rows_add_no_information() -> None:
    x = np.random.default_rng(1).normal(size=80)
    x -= x.mean()
    plain = intervals.standard_error(x)
    assert intervals.standard_error(x, np.arange(80)) == pytest.approx(plain)
    assert intervals.standard_error(np.repeat(x, 5), np.repeat(np.arange(80), 5)) == pytest.approx(plain)
    with pytest.raises(DataError, match="only one independent unit"):
        intervals.standard_error(x, np.zeros(80, dtype=int))
