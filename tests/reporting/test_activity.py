"""What an experiment does now: rates over time against a direct computation, and whether an arm learns, in one word."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from app.foundation.errors import NotFound
from app.reporting import activity
from app.reporting.activity import FEWEST_PARTS, STRETCHES
from tests.lab import Lab, arm
from tests.service import bandit, query

Z = 1.959963984540054
LEARNER = bandit()[0] | {"key": "learned", "share": 0.6}
LEARNING = [arm("control", 0.4, "a"), LEARNER]


def visits(count: int, units: int) -> list[dict[str, Any]]:
    return [{"unit_id": f"u{number % units}"} for number in range(count)]


def spread(lab: Lab, key: str) -> None:
    """One second between decisions, in the order in which they were made."""
    for table, column in (("decisions", "id"), ("decision_ids", "decision_id"), ("outcomes", "decision_id")):
        query(
            lab.database_url,
            f"UPDATE {table} SET decided_at = '2026-01-01'::timestamptz"
            f" + make_interval(secs => substring({column} from '[0-9]+$')::int) WHERE {column} LIKE %s",
            f"{key}-%",
        )


def figures(lab: Lab, key: str) -> dict[str, Any]:
    activity.compute(lab.runtime.engine, key)
    found = activity.get(lab.runtime.engine, key)
    assert found is not None
    return dict(found.as_json())


def test_rates_and_their_intervals_are_those_of_a_direct_computation_clustered_by_unit(lab: Lab) -> None:
    lab.make("rates", arms=[arm("control", 0.5, "a"), arm("treated", 0.5)], control_arm="control")
    random = np.random.default_rng(1)
    taste = random.random(60)  # a unit's decisions resemble each other
    lab.play("rates", visits(900, 60), lambda body, _: float(random.random() < taste[int(body["unit_id"][1:])]))
    spread(lab, "rates")
    found = figures(lab, "rates")
    log = lab.outcomes("rates")
    times = sorted(log.decided_at)
    count = FEWEST_PARTS  # the arms earn the same, so more parts would only be noisier
    cuts = [times[math.ceil(part / count * len(times)) - 1] for part in range(1, count)]
    log["stretch"] = np.searchsorted(pd.to_datetime(cuts), log.decided_at, side="right")
    expected = {key: direct(part) for key, part in log.groupby(["arm", "stretch"])}
    points = {(one["arm"], n): point for one in found["arms"] for n, point in enumerate(one["rates"])}
    assert len(points) == len(expected) == 2 * count
    for (name, stretch), (count, units, rate, half) in expected.items():
        point = points[(name, int(stretch))]
        assert (point["settled"], point["units"]) == (count, units)
        assert point["rate"] == pytest.approx(rate)
        assert (point["high"] - point["low"]) / 2 == pytest.approx(half)
    assert found["decisions"] == found["settled"] == found["rewarded"] == 900
    assert sum(one["reward"] for one in found["arms"]) == pytest.approx(log.reward.sum())


def test_decisions_are_counted_in_stretches_of_equal_length(lab: Lab) -> None:
    lab.make("counted", arms=[arm("control", 0.5, "a"), arm("treated", 0.5)], control_arm="control")
    lab.play("counted", visits(500, 500), lambda *_: 1.0)
    spread(lab, "counted")
    found, log = figures(lab, "counted"), lab.outcomes("counted")
    since = (log.decided_at - log.decided_at.min()).dt.total_seconds()
    log["stretch"] = np.minimum(np.floor(since / found["stretch_s"] + 1e-6), STRETCHES - 1)
    counts = log.groupby(["arm", "stretch"]).size()
    start = log.decided_at.min().timestamp()
    told = {
        (one["arm"], round((point["start"] - start) / found["stretch_s"])): point["decisions"]
        for one in found["arms"]
        for point in one["points"]
    }
    assert told == {(name, int(stretch)): count for (name, stretch), count in counts.items()}


def direct(part: pd.DataFrame) -> tuple[int, int, float, float]:
    """(decisions, units, reward per decision, half of its 95% interval) with errors summed within units."""
    units = part.groupby("unit_id").reward.agg(["sum", "count"])
    n, rate = len(units), units["sum"].sum() / units["count"].sum()
    error = units["sum"] - rate * units["count"]
    return len(part), n, rate, Z * np.sqrt((error**2).sum() * n / (n - 1)) / units["count"].sum()


def test_a_unit_that_decides_often_widens_the_interval(lab: Lab) -> None:
    lab.make("few", arms=[arm("control", 1.0, "a")])
    lab.play("few", visits(1200, 12), lambda body, _: float(int(body["unit_id"][1:]) % 2))
    spread(lab, "few")
    for point in figures(lab, "few")["arms"][0]["rates"]:
        assert point["high"] - point["low"] > 2 * 2 * Z * 0.5 / np.sqrt(point["settled"]) / 2


@pytest.mark.parametrize(
    ("key", "chances", "control", "answer"),
    [
        ("better", (0.2, 0.4, 0.8), 0.3, "yes"),
        ("same", (0.5, 0.5, 0.5), 0.3, "not_shown"),
        ("worse", (0.8, 0.5, 0.2), 0.3, "worse"),
        ("times", (0.2, 0.4, 0.8), None, "not_shown"),  # the control became better by as much
    ],
)
def test_an_arm_learns_when_it_gains_more_than_the_control(
    lab: Lab, key: str, chances: tuple[float, ...], control: float | None, answer: str
) -> None:
    lab.make(key, arms=LEARNING, control_arm="control")
    random = np.random.default_rng(3)
    for third, chance in enumerate(chances):
        bodies = [{"unit_id": f"{third}-{number}"} for number in range(600)]
        other = chance if control is None else control
        lab.play(key, bodies, lambda _, one, p=(chance, other): float(random.random() < p[one["arm"] == "control"]))  # type: ignore[misc]
    spread(lab, key)
    (found,) = figures(lab, key)["learning"]
    assert (found["arm"], found["control"], found["answer"]) == ("learned", "control", answer)
    log = lab.outcomes(key)
    log["third"] = np.minimum(np.arange(len(log)) * 3 // len(log), 2)
    rate = log.groupby(["arm", "third"]).reward.mean()
    change = rate["learned", 2] - rate["learned", 0] - rate["control", 2] + rate["control", 0]
    assert found["change"] == pytest.approx(change, abs=0.01)
    assert found["interval"][0] < found["change"] < found["interval"][1]


def test_a_month_without_decisions_does_not_change_whether_it_learned(lab: Lab) -> None:
    lab.make("idle", arms=LEARNING, control_arm="control")
    random = np.random.default_rng(6)
    for third, chance in enumerate((0.2, 0.5, 0.8)):
        bodies = [{"unit_id": f"{third}-{number}"} for number in range(300)]
        lab.play(
            "idle", bodies, lambda _, one, p=chance: float(random.random() < (0.3 if one["arm"] == "control" else p))
        )  # type: ignore[misc]
    spread(lab, "idle")
    query(
        lab.database_url,
        "UPDATE outcomes SET decided_at = decided_at + interval '30 days' WHERE decision_id = 'idle-899'",
    )
    assert figures(lab, "idle")["learning"][0]["answer"] == "yes"


def test_it_is_too_early_to_say_with_few_units(lab: Lab) -> None:
    lab.make("early", arms=LEARNING, control_arm="control")
    lab.play("early", visits(60, 60), lambda *_: 1.0)
    spread(lab, "early")
    (found,) = figures(lab, "early")["learning"]
    assert (found["answer"], found["change"], found["first"], found["last"]) == ("too_early", None, None, None)


def test_a_single_learning_arm_is_its_own_control(lab: Lab) -> None:
    lab.make("alone", arms=bandit())
    random = np.random.default_rng(4)
    for third, chance in enumerate((0.2, 0.5, 0.8)):
        bodies = [{"unit_id": f"{third}-{number}"} for number in range(200)]
        lab.play("alone", bodies, lambda *_, p=chance: float(random.random() < p))  # type: ignore[misc]
    spread(lab, "alone")
    (found,) = figures(lab, "alone")["learning"]
    assert found["answer"] == "yes" and "control_change" not in found


def test_choices_now_and_at_first_are_those_of_the_log(lab: Lab) -> None:
    lab.make("chose", arms=bandit())
    lab.play("chose", visits(400, 400))
    assert figures(lab, "chose")["choices"][0]["before"] is None  # the two runs would overlap
    answers = lab.play(
        "chose", [{"unit_id": f"v{n}"} for n in range(800)], lambda _, one: float(one["action"]["id"] == "b")
    )
    spread(lab, "chose")
    (found,) = figures(lab, "chose")["choices"]
    newest = pd.Series([one["action"]["id"] for one in answers[-500:]]).value_counts()
    assert found["now"] == {"decisions": 500, "chosen": newest.to_dict()}
    assert found["before"]["decisions"] == 500


def test_rewards_that_never_came_are_told(lab: Lab) -> None:
    lab.make("silent", arms=[arm("control", 1.0, "a")])
    lab.play("silent", visits(99, 99))
    assert figures(lab, "silent")["missing_rewards"] is None  # too few to say
    lab.play("silent", visits(150, 150))
    assert figures(lab, "silent")["missing_rewards"] == "none of 249 settled decisions had a reward in time"


def test_rewards_that_stopped_coming_are_told(lab: Lab) -> None:
    lab.make("stopped", arms=[arm("control", 1.0, "a")])
    lab.play("stopped", visits(600, 600), lambda *_: 1.0)
    lab.play("stopped", visits(200, 200))
    spread(lab, "stopped")
    assert "none of the newest" in figures(lab, "stopped")["missing_rewards"]
    lab.make("rare", arms=[arm("control", 1.0, "a")])
    random = np.random.default_rng(5)
    lab.play("rare", visits(1000, 1000), lambda *_: 1.0 if random.random() < 0.01 else None)
    spread(lab, "rare")
    assert figures(lab, "rare")["missing_rewards"] is None


def test_waiting_decisions_count_as_decided_and_not_as_settled(lab: Lab) -> None:
    lab.make("waits", arms=[arm("control", 1.0, "a")])
    lab.play("waits", visits(30, 30), lambda *_: 1.0)
    lab.play("waits", visits(20, 20), settled=False)
    found = figures(lab, "waits")
    assert (found["decisions"], found["settled"], found["decisions_today"], found["rewards_today"]) == (50, 30, 50, 30)


def test_nothing_is_shown_before_it_was_computed(lab: Lab) -> None:
    lab.make("fresh")
    assert activity.get(lab.runtime.engine, "fresh") is None
    assert "fresh" not in activity.compute_due(lab.runtime.engine)  # nothing was decided
    with pytest.raises(NotFound):
        activity.get(lab.runtime.engine, "nowhere")


def test_rates_have_as_many_parts_as_keep_the_arms_apart(lab: Lab) -> None:
    lab.make("apart", arms=[arm("control", 0.5, "a"), arm("treated", 0.5)], control_arm="control")
    random = np.random.default_rng(2)
    chances = {"control": 0.1, "treated": 0.9}
    lab.play("apart", visits(2000, 2000), lambda _, one: float(random.random() < chances[one["arm"]]))
    spread(lab, "apart")
    assert [len(one["rates"]) for one in figures(lab, "apart")["arms"]] == [STRETCHES, STRETCHES]
