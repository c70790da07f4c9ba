"""The first reward window: what every page says between the first call and the first result."""

import re

import pytest

from app.reporting import activity, results
from tests.e2e.screenshots import OF_AN_EXPERIMENT
from tests.lab import AB, Lab
from tests.page_client import Browser, signed_in
from tests.service import Web, move_decisions, query

DAY_S = 86_400.0
TABS = tuple(tab for tab in OF_AN_EXPERIMENT if tab not in ("", "integration"))


def rewards_of(answers: list[dict[str, object]], every: int) -> list[dict[str, object]]:
    return [{"decision_id": answer["decision_id"], "value": 1.0} for answer in answers[::every]]


@pytest.fixture(scope="module")
def day(lab: Lab) -> int:
    """An experiment whose window is a day: 200 decisions, 50 with a reward so far, nothing settled."""
    experiment_id = lab.make("day", arms=AB, control_arm="control", reward={"window_s": DAY_S})
    answers = lab.decide("day", [{"unit_id": f"u{n}"} for n in range(200)])
    lab.report(rewards_of(answers, 4))
    activity.compute(lab.runtime.engine, "day")
    return experiment_id


def test_every_page_says_when_the_first_window_closes(day: int, lab: Lab, web: Web, database_url: str) -> None:
    browser = signed_in(web, database_url, "viewer")
    browser.cookies["loopwise_zone"] = "Europe%2FVienna"
    closes = query(
        database_url,
        "SELECT to_char(min(closes_at) AT TIME ZONE 'Europe/Vienna', 'YYYY-MM-DD HH24:MI:SS') FROM awaiting_outcome"
        " WHERE experiment_id = %s",
        day,
    )[0][0]
    for tab in ("", *TABS):
        text = browser.get(f"/admin/experiments/day/{tab}").text
        assert f"the first reward window closes {closes} CE" in text, tab
        assert "is the worker running" not in text and "see whether the worker" not in text


def test_provisional_rates_are_those_of_the_rewards_so_far(day: int, lab: Lab, viewer: Browser) -> None:
    figures = activity.get(lab.runtime.engine, "day")
    assert figures is not None and figures.waiting is not None
    for arm in figures.waiting.arms:
        rows = query(
            lab.database_url,
            "SELECT count(*), count(r.value) FROM decisions d LEFT JOIN rewards r ON r.decision_id = d.id"
            " AND r.experiment_id = d.experiment_id WHERE d.experiment_id = %s AND d.arm = %s",
            day,
            arm.arm,
        )
        open_decisions, rewarded = rows[0]
        assert (arm.open, arm.units, arm.rewarded) == (open_decisions, open_decisions, rewarded)
        assert arm.rate == pytest.approx(rewarded / open_decisions)
    for address in ("", "results"):
        text = viewer.get(f"/admin/experiments/day/{address}").text
        assert "Rewards so far provisional" in text and "200 decisions have an open reward window" in text
        assert "do not compare arms by these rates" in text
        for arm in figures.waiting.arms:
            assert f"{arm.arm} {arm.open} {arm.units} {arm.rewarded} {arm.rate:.3f}" in text
    overview = viewer.get("/admin/experiments/day/").text
    assert "25.0% of open decisions have a reward so far provisional" in overview


def test_a_reward_alone_brings_new_figures(day: int, lab: Lab) -> None:
    from app.foundation.store import latest
    from app.foundation.store.engine import transaction

    def due(rewards: bool) -> bool:
        with transaction(lab.runtime.engine) as connection:
            return "day" in latest.due(connection, "activity", every_s=0.0, factor=0.0, rewards=rewards)

    move_decisions(lab.database_url, "d.decided_at - interval '1 minute'", "d.experiment_id = %s", day)
    activity.compute(lab.runtime.engine, "day")
    query(
        lab.database_url,
        "UPDATE latest SET computed_at = computed_at - interval '20 seconds' WHERE experiment_id = %s",
        day,
    )
    assert due(True) and not due(False)


@pytest.mark.parametrize(
    ("aggregation", "expected"), [("sum", 0.75), ("max", 0.5), ("mean", 0.375), ("first", 0.5), ("last", 0.25)]
)
def test_rewards_are_joined_as_the_experiment_says(lab: Lab, aggregation: str, expected: float) -> None:
    key = f"joined-{aggregation}"
    reward = {"window_s": DAY_S, "aggregation": aggregation, "default": 0.1, "max": 2.0}
    lab.make(key, reward=reward)
    answers = lab.decide(key, [{"unit_id": "a"}, {"unit_id": "b"}])
    first = answers[0]["decision_id"]
    lab.report(
        [
            {"decision_id": first, "value": 0.5, "reward_id": "1", "occurred_at": "2026-01-01T00:00:00Z"},
            {"decision_id": first, "value": 0.25, "reward_id": "2", "occurred_at": "2026-01-01T00:00:01Z"},
        ]
    )
    activity.compute(lab.runtime.engine, key)
    figures = activity.get(lab.runtime.engine, key)
    assert figures is not None and figures.waiting is not None
    assert figures.waiting.arms[0].rate == pytest.approx((expected + 0.1) / 2)


def test_units_that_reports_leave_out_are_left_out_here(lab: Lab) -> None:
    experiment_id = lab.make("quiet", reward={"window_s": DAY_S})
    lab.decide("quiet", [{"unit_id": name} for name in ("kept", "denied", "excluded")])
    query(lab.database_url, "INSERT INTO restrictions (unit_id, denied) VALUES ('denied', ARRAY['analyse'])")
    query(
        lab.database_url,
        "INSERT INTO excluded_units (experiment_id, unit_id, reason, actor) VALUES (%s, 'excluded', 'test', 'test')",
        experiment_id,
    )
    activity.compute(lab.runtime.engine, "quiet")
    figures = activity.get(lab.runtime.engine, "quiet")
    assert figures is not None and figures.waiting is not None
    assert [arm.open for arm in figures.waiting.arms] == [1]


def test_closed_windows_are_being_settled_and_nobody_is_blamed_before_five_minutes(lab: Lab, viewer: Browser) -> None:
    experiment_id = lab.make("closed", arms=AB, control_arm="control")
    lab.decide("closed", [{"unit_id": f"u{n}"} for n in range(9)])
    lab.close_windows(experiment_id)
    activity.compute(lab.runtime.engine, "closed")
    text = viewer.get("/admin/experiments/closed/").text
    assert "The first results are being computed" in text and "orker" not in text
    query(
        lab.database_url,
        "UPDATE awaiting_outcome SET closes_at = closes_at - interval '6 minutes' WHERE experiment_id = %s",
        experiment_id,
    )
    assert "Check that a worker runs" in viewer.get("/admin/experiments/closed/results").text
    lab.settle("closed")
    text = viewer.get("/admin/experiments/closed/results").text
    assert "results appear within a minute" in text and "orker" not in text
    results.compute(lab.runtime.engine, "closed")
    assert "first results" not in viewer.get("/admin/experiments/closed/results").text


def test_a_worker_that_catches_up_is_not_called_stopped(lab: Lab, viewer: Browser) -> None:
    experiment_id = lab.make("busy")
    lab.play("busy", [{"unit_id": f"u{n}"} for n in range(5)])
    lab.decide("busy", [{"unit_id": f"v{n}"} for n in range(5)])
    query(
        lab.database_url,
        "UPDATE awaiting_outcome SET closes_at = clock_timestamp() - interval '10 minutes' WHERE experiment_id = %s",
        experiment_id,
    )
    text = viewer.get("/admin/?search=busy").text
    assert "are still being settled" in text and "Check that a worker runs" not in text
    query(
        lab.database_url,
        "UPDATE outcomes SET settled_at = settled_at - interval '10 minutes' WHERE experiment_id = %s",
        experiment_id,
    )
    assert (
        "nothing was settled or learned for 10 minutes. Check that a worker runs"
        in viewer.get("/admin/?search=busy").text
    )


def test_the_integration_page_sees_the_first_call_and_the_first_reward(lab: Lab, viewer: Browser) -> None:
    lab.make("calls", reward={"window_s": DAY_S})
    address = "/admin/experiments/calls/integration/live?fragment=1"
    page = viewer.get("/admin/experiments/calls/integration")
    assert "Waiting for your first call" in page.text and 'data-every="2"' in page.html
    answer = lab.decide("calls", [{"unit_id": "<b>ada</b>"}])[0]
    text = viewer.get(address)
    assert re.search(r"Your first call arrived (just now|\d seconds? ago)", text.text)
    assert (
        f"gave unit <b>ada</b> , in arm all, the action {answer['action']['id']}" in text.text
        and "<b>ada" not in text.html
    )
    assert "Next, report a reward" in text.text
    lab.report([{"decision_id": answer["decision_id"], "value": 1.0}])
    assert re.search(r"Your newest reward arrived (just now|\d seconds? ago) ?: reward 1\.", viewer.get(address).text)
