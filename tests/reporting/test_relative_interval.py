"""The relative lift's interval that holds at every look: as wide, in standard errors, as the difference's own sequence."""

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from app.design.definition_rules import parse_config
from app.reporting.comparison import result_lines
from app.reporting.comparison.result_lines import Pair, StratumKey
from app.reporting.documents.results import ComparisonLine
from app.reporting.store.metric_sums import ArmSums
from experiments.arms.comparison import ArmEstimate, relative_lift
from experiments.sequences import mixture_tau, mixture_test
from tests.lab import AB

CONFIG = parse_config({"key": "k", "actions": [{"id": "a"}], "arms": AB, "control_arm": "control"})
METRIC = CONFIG.all_metrics()[0]


def sums(arm: str, values: Any) -> ArmSums:
    """One decision per unit."""
    return sums_of(arm, len(values), values.mean(), values.var(), np.abs(values).mean())


def sums_of(arm: str, n: int, mean: float, variance: float, size: float) -> ArmSums:
    return ArmSums(arm, None, 0, n, n, mean, 1.0, variance, 0.0, 0.0, size)


def compared(rows: list[ArmSums]) -> ComparisonLine:
    """The treated arm against the control."""
    return result_lines.compare(
        CONFIG, METRIC, Pair("treated", "control", None), rows, lambda row: StratumKey(None, row.segment)
    ).line


def line(control: Any, treated: Any) -> dict[str, Any]:
    return dict(compared([sums("control", control), sums("treated", treated)]).as_json())


def test_it_is_the_one_look_interval_at_the_level_of_the_mixtures_width() -> None:
    random = np.random.default_rng(1)
    control, treated = random.gamma(2, 1, 900), random.gamma(2, 1.2, 700)
    found = line(control, treated)
    pooled = (899 * control.var(ddof=1) + 699 * treated.var(ddof=1)) / 1598
    ends = [ArmEstimate(one.mean(), max(one.var(ddof=1), pooled) / len(one), len(one)) for one in (control, treated)]
    error = math.sqrt(ends[0].variance + ends[1].variance)
    interval = mixture_test(treated.mean() - control.mean(), error, mixture_tau(error, 1600)).interval
    assert interval.high is not None and interval.low is not None
    width = (interval.high - interval.low) / 2 / error
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
    assert "needs 100 effective units per arm" in found["interval"]["reason"]


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
            rates_seen = zip(("control", "treated"), wins[:, look] / n, strict=True)
            found = compared([sums_of(name, n, rate, rate * (1 - rate), rate) for name, rate in rates_seen])
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
