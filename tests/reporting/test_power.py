"""Planning: against statsmodels, from the log, by simulation, and refusals in words."""

from typing import Any

import numpy as np
import pytest
from statsmodels.stats.power import NormalIndPower, TTestIndPower
from statsmodels.stats.proportion import proportion_effectsize

from app.foundation.errors import NotFound, Unprocessable
from app.reporting import power, results
from app.reporting.planning_request import PowerRequest
from tests.lab import AB, Lab, sound
from tests.service import query


def plan(lab: Lab, **request: Any) -> dict[str, Any]:
    return dict(sound(power.plan(lab.runtime.engine, PowerRequest.model_validate(request)).as_json()))


@pytest.mark.parametrize(("effect", "std", "share"), [(0.5, 3.0, 0.5), (0.1, 1.0, 0.5), (2.0, 10.0, 0.2)])
def test_units_for_a_mean_are_statsmodels_ones(lab: Lab, effect: float, std: float, share: float) -> None:
    asked = {"value": 10.0, "std": std, "effect": effect, "treatment_share": share, "units_per_day": 100.0}
    asked["test"] = "one_look"
    found = plan(lab, metric=asked)["plan"]
    wanted = TTestIndPower().solve_power(effect / std, alpha=0.05, power=0.8, ratio=share / (1 - share))
    assert found["n_control"] == pytest.approx(wanted, abs=1.01)
    assert found["n_treatment"] == pytest.approx(wanted * share / (1 - share), abs=1.01)
    total = found["n_control"] + found["n_treatment"]
    reached = plan(lab, metric=asked | {"solve_for": "power", "units": total})["plan"]["power"]
    assert reached == pytest.approx(0.8, abs=0.01)
    smallest = plan(lab, metric=asked | {"solve_for": "effect", "units": total})["plan"]
    assert any(value == pytest.approx(effect, rel=0.01) for value in smallest.values() if isinstance(value, float))


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3, 0.6 / 0.8, 0.9, 0.99])
def test_arms_of_any_share_can_be_planned(lab: Lab, share: float) -> None:
    found = plan(lab, metric={"kind": "proportion", "value": 0.1, "relative_effect": 0.2, "treatment_share": share})
    assert found["plan"]["n_treatment"] / found["plan"]["n_control"] == pytest.approx(share / (1 - share), rel=0.01)


def test_units_for_a_proportion_are_near_statsmodels_ones(lab: Lab) -> None:
    asked = {"kind": "proportion", "value": 0.1, "relative_effect": 0.2, "test": "one_look"}
    found = plan(lab, metric=asked)["plan"]
    arcsine = NormalIndPower().solve_power(proportion_effectsize(0.12, 0.1), alpha=0.05, power=0.8)
    assert found["n_control"] == pytest.approx(arcsine, rel=0.02)
    cuped = plan(lab, metric=asked | {"correlation": 0.6})["plan"]
    spread = (0.1 * 0.9 * (1 - 0.6**2)) ** 0.5
    assert cuped["n_control"] == pytest.approx(
        TTestIndPower().solve_power(0.02 / spread, alpha=0.05, power=0.8), rel=0.01
    )
    assert found["sequential_factor"] > 1.5


def test_a_baseline_comes_from_the_log(lab: Lab) -> None:
    lab.make("past", arms=AB, control_arm="control", reward={"window_s": 600.0, "min": 0.0, "max": 50.0})
    random = np.random.default_rng(1)
    bodies = [{"unit_id": f"u{n % 300}"} for n in range(900)]
    lab.play("past", bodies, lambda _, one: min(float(random.gamma(2.0, 2.0)), 50.0))
    rows = lab.outcomes("past")
    units = rows[rows.arm == "control"].groupby("unit_id").reward.agg(["sum", "count"])
    ratio = units["sum"].sum() / units["count"].sum()
    influence = (units["sum"] - ratio * units["count"]) / units["count"].mean()
    found = plan(lab, metric={"experiment": "past", "effect": 0.5, "test": "one_look"})["plan"]
    assert found["baseline"]["value"] == pytest.approx(ratio)
    wanted = TTestIndPower().solve_power(0.5 / influence.std(ddof=1), alpha=0.05, power=0.8)
    assert found["n_control"] == pytest.approx(wanted, rel=0.01)


def test_the_baseline_of_a_long_log_comes_from_its_report_and_is_the_same(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"experiment": "past", "effect": 0.5}
    fresh = plan(lab, metric=asked)["plan"]
    results.compute(lab.runtime.engine, "past")
    monkeypatch.setattr(results, "SMALL", 10)
    found = plan(lab, metric=asked)["plan"]
    assert found["baseline"]["value"] == pytest.approx(fresh["baseline"]["value"])
    assert found["baseline"]["unit_std"] == pytest.approx(fresh["baseline"]["unit_std"], rel=0.01)
    with pytest.raises(Unprocessable, match="no metric 'mood'"):
        plan(lab, metric=asked | {"metric": "mood"})


def test_a_bandits_means_come_from_the_log(lab: Lab) -> None:
    chosen = dict(query(lab.database_url, "SELECT id, eligible[chosen + 1] FROM decisions"))
    rows = lab.outcomes("past")
    names = rows.decision_id.map(chosen)
    found = plan(lab, bandit={"experiment": "past", "rounds": 200, "batch": 20, "runs": 10, "reward_std": 2.0})["plan"]
    weights = 1 / rows.propensity
    wanted = (rows.reward * weights).groupby(names).sum() / weights.groupby(names).sum()
    assert found["means"] == pytest.approx(wanted.to_dict())


def test_a_bandit_is_simulated(lab: Lab) -> None:
    asked = {"means": [0.3, 0.5], "rounds": 1000, "batch": 100, "runs": 40, "policy": "thompson"}
    found = plan(lab, bandit=asked)
    assert found["kind"] == "bandit" and found == plan(lab, bandit=asked)  # its seed is given
    uniform = plan(lab, bandit=asked | {"policy": "uniform"})["plan"]
    assert found["plan"] != uniform


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({}, "either metric or bandit"),
        ({"metric": {}, "bandit": {"means": [0.1, 0.2]}}, "either metric or bandit"),
        ({"metric": {"effect": 1.0}}, "expected value"),
        ({"metric": {"value": 1.0, "effect": 1.0}}, "standard deviation"),
        ({"metric": {"value": 1.0, "std": 1.0}}, "effect or relative_effect"),
        ({"metric": {"value": 1.0, "std": 1.0, "effect": 1.0, "solve_for": "power"}}, "units in both arms"),
        ({"metric": {"value": 1.0, "std": 1.0, "effect": 0.0}}, "effect"),
        ({"metric": {"kind": "proportion", "value": 1.5, "effect": 0.1}}, "proportion"),
        ({"metric": {"kind": "proportion", "value": 0.9, "effect": 0.5}}, "1"),
        ({"metric": {"kind": "count", "value": -1.0, "effect": 0.5}}, "rate|count|mean|value"),
        ({"metric": {"experiment": "quiet", "effect": 0.1}}, "fewer than two settled units"),
        ({"metric": {"experiment": "quiet", "metric": "mood", "effect": 0.1}}, "no metric 'mood'"),
        ({"bandit": {"means": [0.1, 0.2], "rounds": 100_000, "runs": 2000}}, "at most 2,000,000"),
        ({"bandit": {"means": [0.1, 1.2]}}, "1"),
    ],
)
def test_what_cannot_be_planned_is_said_in_words(lab: Lab, request_: dict[str, Any], words: str) -> None:
    if "quiet" not in {row["key"] for row in _known(lab)}:
        lab.make("quiet", arms=AB)
    with pytest.raises(Unprocessable, match=words):
        power.plan(lab.runtime.engine, PowerRequest.model_validate(request_))


def _known(lab: Lab) -> list[dict[str, Any]]:
    from app.design import experiments

    return [{"key": one.key} for one in experiments.newest(lab.runtime.engine, after_id=None, limit=100)]


def test_an_unknown_experiment_is_not_found(lab: Lab) -> None:
    with pytest.raises(NotFound):
        power.plan(lab.runtime.engine, PowerRequest.model_validate({"metric": {"experiment": "nobody", "effect": 1.0}}))
