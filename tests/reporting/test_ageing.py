"""Effects as they get old: a planted novelty is called one, a shift between cohorts is not, and figures equal the rows'."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from app.reporting import long_term
from app.reporting.documents.long_term import AgeChange, LongTerm
from tests.lab import AB, Lab, arm
from tests.page_client import Browser
from tests.reporting.test_event_metrics import BOUGHT, DAY, first_seen, happen, purchase
from tests.service import query

DAYS, UNITS = 5, 420


def world(lab: Lab, key: str, effect: Any, **fields: Any) -> LongTerm:
    """Units come on two days and return on each later one. ``effect`` of (age in days, cohort) is added in the treated arm."""
    random = np.random.default_rng(len(key))
    lab.make(key, **{"arms": AB, "control_arm": "control", "reward": {"min": -9.0, "max": 9.0}, **fields})
    for day in range(DAYS):
        cohorts = [cohort for cohort in (0, 1) if cohort <= day]
        bodies = [{"unit_id": f"{key}-{cohort}-{n}"} for cohort in cohorts for n in range(UNITS // 2)]

        def reward(body: dict[str, Any], answer: dict[str, Any], day: int = day) -> float:
            cohort = int(body["unit_id"].split("-")[-2])
            shown = effect(day - cohort, cohort) if answer["arm"] == "treated" else 0.0
            return float(np.clip(random.normal(1.0 + shown, 0.4), -9, 9))

        lab.play(key, bodies, reward)
        lab.age(key, 1.0)
    lab.age(key, 0.05)
    return long_term.get(lab.runtime.engine, key)


def change_of(view: LongTerm) -> AgeChange:
    (change,) = view.changes
    return change


def test_a_good_first_day_and_bad_ones_after_it_are_a_novelty_effect(lab: Lab, viewer: Browser) -> None:
    metrics = [{"key": "bought", "source": BOUGHT, "window_s": 2 * DAY}]
    view = world(lab, "novelty", lambda age, _: 0.6 if age == 0 else -0.3, metrics=metrics)
    change = change_of(view)
    assert change.verdict == "novelty" and change.first.high is not None and change.first.low is not None
    assert change.first.low < -0.9 < change.first.high < 0
    (curve,) = (curve for curve in view.curves if curve.kind == "reward")
    by_step = {line.at: line for line in curve.lines}
    for step, truth in ((0.0, 0.6), (1.0, -0.3), (3.0, -0.3)):
        ends = by_step[step].interval
        assert ends.low is not None and ends.high is not None and ends.low < truth < ends.high
        assert (ends.low > 0) == (truth > 0)
    assert by_step[4.0].units == UNITS // 2, "only the first cohort was followed for five days"
    units = first_seen(lab, "novelty")
    events = [
        purchase(unit, number, first + timedelta(hours=hours))
        for unit, (name, first) in units.items()
        for number, hours in enumerate((1.0, 1.25, 30.0) if name == "treated" else (1.0,))
    ]
    happen(lab, events)
    long_term.compute(lab.runtime.engine, "novelty")
    view = long_term.get(lab.runtime.engine, "novelty")
    windows = next(curve for curve in view.curves if curve.kind == "window")
    assert [line.at / DAY for line in windows.lines] == [1.0, 3.0]
    page = viewer.get("/admin/experiments/novelty/long-term")
    assert "a novelty effect" in page.text and "Effect in the first day, by the day in which units came" in page.text


def test_a_shift_between_cohorts_is_not_called_novelty(lab: Lab) -> None:
    change = change_of(world(lab, "shift", lambda _, cohort: 0.6 if cohort == 0 else -0.3))
    assert change.verdict == "cohorts"
    assert change.first.low is not None and change.first.high is not None and change.first.low < 0 < change.first.high


def test_a_steady_effect_and_an_effect_that_wears_out_are_told_apart(lab: Lab) -> None:
    assert change_of(world(lab, "steady", lambda *_: 0.4)).verdict == "steady"
    assert change_of(world(lab, "wearing", lambda age, _: 0.9 - 0.4 * age)).verdict == "wear_out"


def test_sessions_from_events_equal_a_count_by_hand(lab: Lab) -> None:
    """Gaps of 15 minutes stay in a session, gaps of 45 begin another; units are followed for seven days."""
    lab.make("visits", arms=AB, control_arm="control")
    lab.play("visits", [{"unit_id": f"visits-{n}"} for n in range(200)])
    lab.age("visits", 9.0)
    units = first_seen(lab, "visits")
    minutes = {"control": [5, 20, 35], "treated": [5, 20, 65, 110]}
    happen(
        lab,
        [
            purchase(unit, number, first + timedelta(minutes=at))
            for unit, (name, first) in units.items()
            for number, at in enumerate(minutes[name])
        ],
    )
    curves = {curve.kind: curve.lines[0] for curve in long_term.get(lab.runtime.engine, "visits").curves}
    assert (curves["sessions"].control_value, curves["sessions"].arm_value) == (1.0, 3.0)
    assert curves["session_length"].control_value == pytest.approx(30 * 60)
    assert curves["session_length"].arm_value == pytest.approx(15 * 60 / 3)


def test_units_that_a_ramp_moves_are_in_no_effect(lab: Lab) -> None:
    lab.make("ramped", arms=[arm("control", 0.8, "a"), arm("treated", 0.2, "a")], control_arm="control")
    bodies = [{"unit_id": f"ramped-{n}"} for n in range(300)]
    lab.play("ramped", bodies, lambda *_: 1.0)
    lab.age("ramped", 2.0)
    lab.change("ramped", arms=[arm("control", 0.5, "a"), arm("treated", 0.5, "a")])
    lab.play("ramped", bodies, lambda *_: 1.0)
    lab.age("ramped", 2.0)
    view = long_term.get(lab.runtime.engine, "ramped")
    stay = query(
        lab.database_url,
        "SELECT count(*) FROM (SELECT unit_id FROM outcomes o JOIN experiments e ON e.id = o.experiment_id WHERE e.key = 'ramped'"
        " GROUP BY unit_id HAVING count(DISTINCT arm) = 1) s",
    )[0][0]
    (curve,) = (curve for curve in view.curves if curve.kind == "seen")
    assert {line.units for line in curve.lines} == {stay} and stay < 300
