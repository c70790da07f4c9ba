"""Bounds on what groups of actions get: exact, the closest that there is, and part of what is logged."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from bandits.distribution import mix_floor
from bandits.encoding import encode_action, encode_context
from bandits.exposure import ACTION, Counts, Exposure, constrained, groups_of
from bandits.model import distribution
from bandits.policy import BanditPolicy, PolicyError, learning_part, parse_policy, policy_to_json
from benchmarks import targets
from benchmarks.targets import over

SUPPLIERS = ["x", "x", "y", "z", "y", "x"]
LINES = [encode_action(f"a{n}", {"supplier": name, "price": n}) for n, name in enumerate(SUPPLIERS)]


def sums(q: "np.ndarray[tuple[int], np.dtype[np.float64]]", by: str = "supplier") -> list[float]:
    groups = np.array(groups_of(LINES, by))
    return [math.fsum(q[groups == group].tolist()) for group in range(groups.max() + 1)]


@pytest.mark.parametrize("seed", range(60))
def test_it_is_the_closest_distribution_within_the_bounds(seed: int) -> None:
    random = np.random.default_rng(seed)
    p = mix_floor(random.dirichlet(np.full(6, 0.3)), 0.02)
    rules = [
        Exposure("supplier", 0.3 * random.random(), 0.35 + 0.6 * random.random()),
        Exposure("supplier", parity=0.3 * random.random()),
        Exposure(ACTION, 0.15 * random.random(), 0.2 + 0.7 * random.random()),
    ]
    rule = rules[seed % 3]
    q = constrained(p, LINES, rule)
    groups = np.array(groups_of(LINES, rule.by))
    low, high = rule.bounds(groups.max() + 1)
    assert math.fsum(q.tolist()) == pytest.approx(1.0, abs=1e-12)
    assert all(low - 1e-12 <= share <= high + 1e-12 for share in sums(q, rule.by))
    for group in range(groups.max() + 1):  # within a group the proportions stay
        inside = groups == group
        assert q[inside] / q[inside].sum() == pytest.approx(p[inside] / p[inside].sum(), abs=1e-12)
    constraints = [{"type": "eq", "fun": lambda x: x.sum() - 1.0}]
    for group in range(groups.max() + 1):
        constraints += [
            {"type": "ineq", "fun": lambda x, g=group: x[groups == g].sum() - low},
            {"type": "ineq", "fun": lambda x, g=group: high - x[groups == g].sum()},
        ]
    found = minimize(
        lambda x: float(np.sum(x * np.log(np.maximum(x, 1e-300) / p))),
        q * 0.9 + np.full(6, 0.1 / 6),
        jac=lambda x: np.log(np.maximum(x, 1e-300) / p) + 1.0,
        bounds=[(1e-12, 1.0)] * 6,
        constraints=constraints,
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    ours = float(np.sum(q * np.log(q / p)))
    assert ours <= found.fun + 1e-7


def test_what_is_within_the_bounds_stays_bit_for_bit() -> None:
    p = mix_floor([0.2, 0.1, 0.2, 0.3, 0.1, 0.1], 0.02)
    assert constrained(p, LINES, Exposure("supplier", 0.1, 0.6)) is p


def test_bounds_open_as_far_as_the_eligible_groups_need() -> None:
    p = np.array([0.9, 0.1])
    assert constrained(p, LINES[:2], Exposure("supplier", 0.2, 0.3)) == pytest.approx(p), "one group gets everything"
    assert sums(constrained(mix_floor([1.0, 0, 0, 0, 0, 0], 0.02), LINES, Exposure(ACTION, 0.5, 1.0)), ACTION) == (
        pytest.approx([1 / 6] * 6)
    )
    plain = [encode_action(f"a{n}") for n in range(3)]
    assert constrained(np.array([0.8, 0.1, 0.1]), plain, Exposure("supplier", 0.3, 0.5)).tolist() == [0.8, 0.1, 0.1]


def test_a_policy_keeps_its_bounds_trained_or_not_and_leaves_its_fallback_alone() -> None:
    policy = parse_policy({"type": "bandit", "exposure": {"by": "supplier", "parity": 0.0}})
    assert isinstance(policy, BanditPolicy)
    ids = [f"a{n}" for n in range(6)]
    q = distribution(policy, None, encode_context({}), LINES, ids)
    assert sums(q) == pytest.approx([1 / 3] * 3)
    assert q[0] == pytest.approx(1 / 9) and q[3] == pytest.approx(1 / 3)
    assert parse_policy(policy_to_json(policy)) == policy and hash(policy)
    assert learning_part(policy) == parse_policy({"type": "bandit"})


@pytest.mark.parametrize(
    ("exposure", "path"),
    [
        ({}, "/exposure/by"),
        ({"by": ""}, "/exposure/by"),
        ({"by": "supplier", "least": 0.6}, "/exposure/least"),
        ({"by": "supplier", "least": True}, "/exposure/least"),
        ({"by": "supplier", "least": float("nan")}, "/exposure/least"),
        ({"by": "supplier", "least": 0.3, "most": 0.3}, "/exposure/most"),
        ({"by": "supplier", "most": "1"}, "/exposure/most"),
        ({"by": "supplier", "parity": 0.1, "least": 0.1}, "/exposure/parity"),
        ({"by": "supplier", "parity": -0.1}, "/exposure/parity"),
        ({"by": "supplier", "slack": 1}, "/exposure/slack"),
        ([], "/exposure"),
    ],
)
def test_a_wrong_constraint_is_refused_by_name(exposure: object, path: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy({"type": "bandit", "exposure": exposure})
    assert [problem.path for problem in caught.value.problems] == [path]


def test_composed_messages_take_no_constraint() -> None:
    with pytest.raises(PolicyError, match="policy_exposure_slates"):
        parse_policy({"type": "bandit", "slates": True, "exposure": {"by": "supplier", "least": 0.1}})


WINDOWED = Exposure("supplier", 0.2, 0.6, window=1000)


@pytest.mark.parametrize("seed", range(40))
def test_over_a_window_a_group_behind_gets_more_and_one_ahead_less_but_every_action_keeps_its_part(seed: int) -> None:
    random = np.random.default_rng(seed)
    p = mix_floor(random.dirichlet(np.full(6, 0.3)), 0.02)
    counts = Counts(
        1000, random.multinomial(1000, random.dirichlet([0.5] * 3)).tolist(), [1000] * 3, float(random.random() / 10)
    )
    low, high = WINDOWED.limits(3, counts)
    q = constrained(p, LINES, WINDOWED, counts)
    assert math.fsum(q.tolist()) == pytest.approx(1.0, abs=1e-12)
    for share, count, least, most in zip(sums(q), counts.groups, low, high, strict=True):
        assert least - 1e-12 <= share <= most + 1e-12
        assert (least > 0.2) == (count < 200) and (least < 0.2) == (count > 200) and (most < 0.6) == (count > 600)
        assert 0.0 <= least <= 1 / 3 + 1e-12 <= most + 2e-12
    assert np.all(q >= p / 3 - 1e-12), "propensities stay bounded below, whatever was counted"


def test_a_target_is_reached_also_by_a_group_that_is_rarely_offered_and_with_old_counts() -> None:
    """The small twin of ``python -m benchmarks.targets``."""
    assert over(1, 1, "plain", targets.WINDOWED, (100, 50)).mean == pytest.approx(0.1, abs=0.005)
    assert over(1, 1, "half", targets.WINDOWED, (100, 50)).mean == pytest.approx(0.1, abs=0.005)
    assert over(1, 1, "half", targets.PLAIN, (100, 50)).mean == pytest.approx(0.05, abs=0.005), "not without a window"
    rare = over(1, 1, "rare", targets.WINDOWED, (100, 50))
    assert rare.mean == pytest.approx(0.03 / 3, abs=0.004), "an equal share of what it is offered, and no more"
    old = over(1, 1, "ramp", targets.WINDOWED, (1000, 300))
    assert old.mean == pytest.approx(0.1, abs=0.005) and old.spread < 0.013, "it does not swing"


def test_the_bounds_of_a_window_follow_the_counts_by_a_stated_rule() -> None:
    assert WINDOWED.limits(3, Counts(1000, [150, 650, 200], [1000] * 3, 0.0)) == (
        [pytest.approx(0.3), 0.0, pytest.approx(0.2)],
        [1.0, pytest.approx(0.5), 1.0],
    )
    half = WINDOWED.limits(3, Counts(1000, [200, 150, 0], [700, 1000, 0], 0.0))[0]
    assert half == [pytest.approx(0.2 / 0.7), pytest.approx(0.3), pytest.approx(1 / 3)], (
        "where it can be drawn, it gets more"
    )
    late = WINDOWED.limits(3, Counts(1000, [150, 650, 200], [1000] * 3, 1.0))
    assert late[0] == [pytest.approx(0.2125), pytest.approx(0.0875), pytest.approx(0.2)], "a quarter of what is missing"
    plain = ([0.2] * 3, [0.6] * 3)
    assert WINDOWED.limits(3, None) == WINDOWED.limits(3, Counts(0, [0, 0, 0], [0, 0, 0], 0.0)) == plain
    assert Exposure("supplier", 0.2, 0.6).limits(3, Counts(1000, [0, 0, 1000], [1000] * 3, 0.0)) == plain, (
        "no window, no counts"
    )
    even = Exposure("supplier", parity=0.0, window=1000).limits(2, Counts(1000, [400, 600], [1000] * 2, 0.0))
    assert even == ([0.5, pytest.approx(0.3)], [pytest.approx(0.7), 0.5])
    with pytest.raises(ValueError, match="2 groups for 3"):
        constrained(np.full(6, 1 / 6), LINES, WINDOWED, Counts(10, [5, 5], [10, 10], 0.0))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("window", 99),
        ("window", 10_001),
        ("window", 500.0),
        ("window", True),
        ("window_s", 59),
        ("window_s", 2_592_001),
    ],
)
def test_a_window_of_a_wrong_length_is_named(member: str, value: object) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy({"type": "bandit", "exposure": {"by": "action", "least": 0.1, member: value}})
    assert caught.value.problems[0].path == f"/exposure/{member}"


def test_a_window_is_of_decisions_or_of_seconds_and_survives_its_json() -> None:
    for window in ({"window": 500}, {"window_s": 3600.0}):
        policy = parse_policy({"type": "bandit", "exposure": {"by": "supplier", "least": 0.1, **window}})
        assert parse_policy(policy_to_json(policy)) == policy
    with pytest.raises(PolicyError):
        parse_policy({"type": "bandit", "exposure": {"by": "supplier", "window": 500, "window_s": 3600}})
