"""Private reports: OpenDP's noise at the stated scale, one budget, small arms suppressed, one unit moves little."""

import math

import numpy as np
import opendp.prelude as dp
import pytest

from app.design.experiment_config import ExperimentConfig
from app.foundation.errors import Conflict
from app.reporting import privacy
from app.reporting.store.privacy import ArmTotal
from tests.service import Loop, definition

EPSILON = 0.8


def exactly(value: int, scale: float) -> int:
    return value


def test_without_noise_a_report_is_the_means_of_the_units(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    made = loop.make("private")
    decided = loop.decide("private", [{"unit_id": f"u{n % 40}"} for n in range(80)])
    loop.reward([{"decision_id": one["decision_id"], "value": 0.25} for one in decided[:40]])
    loop.reward([{"decision_id": one["decision_id"], "value": 0.75} for one in decided[40:]])
    loop.close_windows(made)
    loop.train(made, "all")
    monkeypatch.setattr(privacy, "_mechanism", lambda: exactly)
    report = privacy.give(loop.runtime.engine, loop.settings, "private", EPSILON, "test").as_json()
    (arm,) = report["arms"]
    assert (arm["units"], arm["mean_reward"], arm["suppressed"]) == (40, 0.5, False)
    assert report["budget_left"] == pytest.approx(3.0 - EPSILON)


def test_the_budget_is_one_for_all_reports(loop: Loop) -> None:
    loop.make("budgeted")
    for _ in range(3):
        privacy.give(loop.runtime.engine, loop.settings, "budgeted", 0.9, "test")
    with pytest.raises(Conflict, match=r"3 there is 0\.3 left; this report asks for 0\.9"):
        privacy.give(loop.runtime.engine, loop.settings, "budgeted", 0.9, "test")
    given = privacy.given(loop.runtime.engine, loop.settings, "budgeted").as_json()
    assert len(given["reports"]) == 3 and given["budget_left"] == pytest.approx(0.3)


def test_the_noise_is_the_discrete_laplace_law_of_the_stated_scale() -> None:
    noise, scale = privacy._mechanism(), 2.0 / EPSILON
    drawn = np.array([noise(0, scale) for _ in range(4000)])
    expected = math.exp(-1 / scale)
    assert np.mean(drawn == 0) == pytest.approx((1 - expected) / (1 + expected), abs=0.03)
    variance = 2 * expected / (1 - expected) ** 2
    assert abs(np.mean(drawn)) < 4 * math.sqrt(variance / len(drawn))
    assert np.var(drawn) == pytest.approx(variance, rel=0.15)
    assert np.mean(np.abs(drawn) <= privacy.half_width(scale)) >= 0.94


def test_what_is_spent_is_what_the_library_says_it_costs() -> None:
    dp.enable_features("contrib")
    space = dp.atom_domain(T=int), dp.absolute_distance(T=int)
    units = dp.m.make_laplace(*space, scale=2.0 / EPSILON).map(1)  # one unit changes one count by 1
    points = dp.m.make_laplace(*space, scale=2.0 * privacy.POINTS / EPSILON).map(privacy.POINTS)
    assert units + points == pytest.approx(EPSILON)


def test_one_unit_changes_a_count_by_one_and_the_points_by_at_most_the_range(loop: Loop) -> None:
    from app.foundation.store.engine import transaction
    from app.reporting.store import privacy as store

    made = loop.make("neighbours")
    decided = loop.decide("neighbours", [{"unit_id": f"u{n}"} for n in range(5)] + [{"unit_id": "extra"}] * 30)
    loop.reward([{"decision_id": one["decision_id"], "value": 1.0} for one in decided])
    loop.close_windows(made)
    loop.train(made, "all")
    with transaction(loop.runtime.engine) as connection:
        (arm,) = store.totals(connection, made, 0.0, 1.0, privacy.POINTS)
    assert arm == ArmTotal("all", 6, 6 * privacy.POINTS)


def test_small_arms_are_suppressed() -> None:
    config = ExperimentConfig.model_validate(definition("x"))
    report = privacy._report(config, [ArmTotal("all", privacy.SMALL - 1, 900)], 1.0, exactly)
    assert report.as_json()["arms"] == [{"arm": "all", "suppressed": True}]
