"""The relative lift's interval that holds at every look: as wide, in standard errors, as the difference's own sequence."""

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from app.design.definition_rules import parse_config
from app.reporting import result_lines
from app.reporting.store.results import ArmSums
from experiments.comparison import ArmEstimate, relative_lift
from experiments.sequences import mixture_tau, mixture_test
from tests.lab import AB

CONFIG = parse_config({"key": "k", "actions": [{"id": "a"}], "arms": AB, "control_arm": "control"})
METRIC = CONFIG.all_metrics()[0]


def sums(arm: str, values: Any) -> ArmSums:
    """One decision per unit."""
    return ArmSums(arm, None, len(values), len(values), values.mean(), 1.0, values.var(), 0.0, 0.0)


def line(control: Any, treated: Any) -> dict[str, Any]:
    arms = {name: sums(name, values) for name, values in (("control", control), ("treated", treated))}
    return dict(result_lines.comparisons(CONFIG, METRIC, arms, None)[0].as_json())


def test_it_is_the_one_look_interval_at_the_level_of_the_mixtures_width() -> None:
    random = np.random.default_rng(1)
    control, treated = random.gamma(2, 1, 900), random.gamma(2, 1.2, 700)
    found = line(control, treated)
    error = math.sqrt(control.var(ddof=1) / 900 + treated.var(ddof=1) / 700)
    interval = mixture_test(treated.mean() - control.mean(), error, mixture_tau(error, 1600)).interval
    assert interval.high is not None and interval.low is not None
    width = (interval.high - interval.low) / 2 / error
    ends = [ArmEstimate(one.mean(), one.var(ddof=1) / len(one), len(one)) for one in (control, treated)]
    lift, relative = relative_lift(*ends, alpha=2 * float(norm.sf(width)))
    assert found["relative_lift"] == pytest.approx(lift)
    given = found["always_valid"]["relative_interval"]
    assert (given["low"], given["high"]) == pytest.approx((relative.low, relative.high))
    one_look = found["relative_interval"]
    assert given["low"] < one_look["low"] < found["relative_lift"] < one_look["high"] < given["high"]


def test_it_opens_with_the_differences_own() -> None:
    random = np.random.default_rng(2)
    found = line(random.random(99), random.random(500))["always_valid"]
    assert found["relative_interval"] == found["interval"]
    assert "opens at 100 units per arm" in found["interval"]["reason"]


def test_it_has_no_bounds_where_the_control_is_not_clearly_different_from_zero() -> None:
    random = np.random.default_rng(3)
    found = line(random.normal(0, 1, 500), random.normal(1, 1, 500))["always_valid"]
    assert found["interval"]["low"] is not None
    assert found["relative_interval"]["low"] is None
    assert "unbounded" in found["relative_interval"]["reason"]


@pytest.mark.slow
def test_over_all_looks_it_misses_about_as_often_as_the_differences_sequence() -> None:
    looks, step, control, treated = 25, 150, 0.3, 0.36
    missed = {"interval": 0, "relative_interval": 0, "one look": 0}
    random = np.random.default_rng(4)
    runs = 200
    for _ in range(runs):
        draws = random.random((2, looks * step)) < np.array([[control], [treated]])
        wins = draws.cumsum(axis=1)[:, step - 1 :: step]
        seen = dict.fromkeys(missed, False)
        for look in range(looks):
            n = (look + 1) * step
            arms = {}
            for name, count in zip(("control", "treated"), wins[:, look], strict=True):
                rate = count / n
                arms[name] = ArmSums(name, None, n, n, rate, 1.0, rate * (1 - rate), 0.0, 0.0)
            (found,) = result_lines.comparisons(CONFIG, METRIC, arms, None)
            always = found.always_valid.as_json()
            given: dict[str, Any] = {**always, "one look": found.relative_interval.as_json()}
            for name, truth in (
                ("interval", treated - control),
                ("relative_interval", treated / control - 1),
                ("one look", treated / control - 1),
            ):
                seen[name] |= not given[name]["low"] <= truth <= given[name]["high"]
        for name, value in seen.items():
            missed[name] += value
    rates = {name: count / runs for name, count in missed.items()}
    assert rates["interval"] < 0.05 and rates["relative_interval"] < 0.05, rates
    assert abs(rates["interval"] - rates["relative_interval"]) < 0.02, rates
    assert rates["one look"] > 0.15, rates  # what looking often does to an interval for one look
