"""Targets over a window: decisions follow the counts that they saw, log them, and are computed again from them."""

import math
from typing import Any
from unittest.mock import patch

import pytest

from app.deciding import runtime
from app.deciding.windows import targets as rule
from app.design.experiment_config import ExperimentConfig
from app.fairness import targets
from app.fairness.documents import TargetReport
from app.foundation.store.engine import transaction
from app.learning.examples import Configs
from app.off_policy.log_table import build
from app.off_policy.policies import Policies
from app.off_policy.store.evaluations import log_rows
from app.registry.lookup import stored_experiment
from bandits.exposure import parse_exposure
from tests.lab import Lab, arm
from tests.page_client import Browser
from tests.service import Client, query, settings

ACTIONS = [{"id": f"a{n}", "features": {"supplier": "big" if n < 4 else "small"}} for n in range(5)]
TARGET = {"by": "supplier", "least": 0.3, "window": 200}
ROWS = """
    SELECT eligible, distribution, counted, arm, eligible[chosen + 1] FROM decisions WHERE experiment_id = %s
    ORDER BY decided_at, id
"""


def policy(exposure: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "type": "bandit", "algorithm": "squarecb", "parameters": {"bits": 12}, "exploration_floor": 0.02,
        **({"exposure": exposure} if exposure else {}),
    }  # fmt: skip


def small(row: tuple[Any, ...]) -> float:
    return math.fsum(p for p, name in zip(row[1], row[0], strict=True) if name == "a4")


def pays(_: dict[str, Any], answer: dict[str, Any]) -> float:
    return float(answer["action"]["id"] == "a0")


def look(lab: Lab, key: str) -> None:
    """The worker counts, and the process reads."""
    targets.compute(lab.runtime.engine, key)
    lab.runtime.snapshots.refresh()


def reached(lab: Lab, key: str) -> TargetReport:
    with transaction(lab.runtime.engine) as connection:
        stored = stored_experiment(connection, key)
        (found,) = targets.reports(connection, stored.id, ExperimentConfig.model_validate(stored.config))
    return found


@pytest.fixture(scope="module")
def played(lab: Lab) -> int:
    """A learner that soon takes a0; its counts are renewed every 50 decisions."""
    experiment_id = lab.make("windowed", actions=ACTIONS, arms=[arm("learned", 1.0, policy(TARGET))])
    for part in range(20):
        lab.play("windowed", [{"unit_id": f"u{part}-{n}"} for n in range(50)], pays)
        look(lab, "windowed")
    return experiment_id


def test_the_share_of_the_window_is_reached_and_every_decision_says_what_it_saw(lab: Lab, played: int) -> None:
    rows = query(lab.database_url, ROWS, played)
    share = sum(row[4] == "a4" for row in rows[-200:]) / 200
    assert share == pytest.approx(0.3, abs=0.07)
    assert all(row[2] is None for row in rows[:50]), "nothing was counted, so the bound holds in every decision"
    assert {round(small(row), 9) for row in rows[:50]} == {0.3}
    for row in rows[50:]:
        seen = row[2]["learned"]
        assert seen["decisions"] <= 200 and sum(seen["groups"]) == seen["decisions"]
        behind = seen["groups"][1] < 0.3 * seen["decisions"]
        assert small(row) > 0.3 - 1e-9 if behind else small(row) <= 0.3 + 1e-9
        assert min(row[1]) >= 0.02 / 5 / 2 - 1e-12, "bounded below"
    report = lab.audit("windowed")
    assert report.ok, report.findings


def test_what_was_reached_is_reported_with_its_age(lab: Lab, played: int) -> None:
    found = reached(lab, "windowed")
    drawn = [row[4] for row in query(lab.database_url, ROWS, played)[-200:]]
    assert (found.arm, found.window, found.decisions, found.rests) == ("learned", 200, 200, False)
    shares = {group.name: group.share for group in found.groups}
    assert shares == pytest.approx({"small": drawn.count("a4") / 200, "big": 1 - drawn.count("a4") / 200})
    assert all(group.eligible == 1.0 and group.possible == 0.5 and not group.out_of_reach for group in found.groups)


def test_the_page_and_the_api_say_what_was_reached(lab: Lab, played: int, viewer: Browser, client: Client) -> None:
    target = client.get("/v1/experiments/windowed/fairness").body["targets"][0]
    assert (target["arm"], target["by"], target["window"], target["rests"]) == ("learned", "supplier", 200, False)
    page = viewer.get("/admin/experiments/windowed/fairness").text
    share = next(group["share"] for group in target["groups"] if group["name"] == "small")
    assert f"small: {share:.1%} of the last 200, target 30.0%." in page
    assert "Arm learned: target for supplier of the actions over the last 200 decisions" in page
    query(lab.database_url, "UPDATE latest SET computed_at = computed_at - interval '1 hour' WHERE kind = 'targets'")
    assert (
        "the target rests: the bounds hold in every decision" in viewer.get("/admin/experiments/windowed/fairness").text
    )
    look(lab, "windowed")


def test_changed_counts_break_the_seal_and_give_another_distribution(lab: Lab, played: int) -> None:
    ((name, before),) = query(
        lab.database_url,
        "SELECT id, counted::text FROM decisions WHERE experiment_id = %s AND counted IS NOT NULL ORDER BY decided_at LIMIT 1",
        played,
    )
    change = "UPDATE decisions SET counted = %s WHERE id = %s"
    forged = '{"learned": {"decisions": 200, "groups": [0, 200], "eligible": [200, 200], "lag": 0.0, "age_s": 0.1}}'
    query(lab.database_url, change, forged, name)
    (finding,) = lab.audit("windowed").findings
    assert "the seal is broken" in finding and "the distribution differs" in finding
    query(lab.database_url, change, before, name)


def test_other_arms_log_the_counts_too_so_that_an_evaluation_knows_what_the_arm_would_have_done(lab: Lab) -> None:
    experiment_id = lab.make(
        "mixed", actions=ACTIONS, arms=[arm("learned", 0.5, policy(TARGET)), arm("control", 0.5)], control_arm="control"
    )
    for part in range(4):
        lab.play("mixed", [{"unit_id": f"u{part}-{n}"} for n in range(100)], pays)
        look(lab, "mixed")

    with transaction(lab.runtime.engine) as connection:
        stored = stored_experiment(connection, "mixed")
        config = ExperimentConfig.model_validate(stored.config)
        load = Policies(connection, lab.settings, stored, config).version
        table = build(log_rows(connection, experiment_id, 1000), Configs(connection, experiment_id), load)
    late = [index for index, row in enumerate(table.rows) if row.counted is not None]
    assert {table.rows[index].arm for index in late} == {"learned", "control"}
    target, met = parse_exposure(TARGET), set()
    for index in late:
        row = table.rows[index]
        (_, least), _ = target.limits(2, rule.counts_of(row.counted, "learned"))
        exposed = float(table.arms["learned"][index][row.eligible.index("a4")])
        assert exposed >= least - 1e-9
        met |= {row.arm} if exposed == pytest.approx(least) and least != pytest.approx(0.3) else set()
    assert met == {"learned", "control"}, "the rows of both arms follow what they saw"


def test_counts_that_are_old_or_of_another_window_rest(lab: Lab, played: int) -> None:
    look(lab, "windowed")
    with patch.object(rule, "RESTS_AFTER_S", 0.0):
        (row,) = [lab.decide("windowed", [{"unit_id": "late"}])[0]]
    assert query(lab.database_url, "SELECT counted FROM decisions WHERE id = %s", row["decision_id"]) == [(None,)]
    lab.change("windowed", arms=[arm("learned", 1.0, policy(TARGET | {"window": 300}))])
    (row,) = [lab.decide("windowed", [{"unit_id": "changed"}])[0]]
    logged = query(lab.database_url, "SELECT counted, distribution[5] FROM decisions WHERE id = %s", row["decision_id"])
    assert logged == [(None, pytest.approx(0.3))]
    look(lab, "windowed")
    (row,) = [lab.decide("windowed", [{"unit_id": "counted"}])[0]]
    assert query(lab.database_url, "SELECT counted FROM decisions WHERE id = %s", row["decision_id"])[0][0]
    assert lab.audit("windowed").ok


def test_two_processes_see_the_same_counts_and_the_worker_finds_what_is_due(lab: Lab) -> None:
    lab.make(
        "shared",
        actions=ACTIONS,
        arms=[arm("learned", 1.0, policy({"by": "supplier", "parity": 0.1, "window_s": 3600}))],
    )
    assert "shared" in targets.compute_due(lab.runtime.engine), "also before the first decision"
    lab.play("shared", [{"unit_id": f"u{n}"} for n in range(60)])
    other = runtime.start(settings(lab.database_url), bound_waits=False)
    try:
        look(lab, "shared")
        other.snapshots.refresh()
        seen = [process.snapshots.current for process in (lab.runtime, other)]
        ids = [snapshot.experiments["shared"].id for snapshot in seen]
        first, second = (snapshot.counts[id_] for snapshot, id_ in zip(seen, ids, strict=True))
        assert first.arms == second.arms and first.arms["learned"].decisions == 60
    finally:
        other.stop()


def test_a_group_that_is_rarely_eligible_is_not_chased_beyond_an_equal_share(lab: Lab) -> None:
    experiment_id = lab.make("rare", actions=ACTIONS, arms=[arm("learned", 1.0, policy(TARGET))])
    for part in range(6):
        bodies = [{"unit_id": f"u{part}-{n}", "excluded_actions": ["a4"] if n % 20 else []} for n in range(60)]
        lab.play("rare", bodies, pays)
        look(lab, "rare")
    rows = [row for row in query(lab.database_url, ROWS, experiment_id)[120:] if "a4" in row[0]]
    assert {round(small(row), 9) for row in rows} == {0.5}, "never more than an equal share of a decision"

    found = reached(lab, "rare")
    worst = found.groups[0]
    assert worst.name == "small" and worst.out_of_reach and worst.eligible == pytest.approx(0.05, abs=0.02)


def test_calls_with_their_own_actions_are_counted_by_the_features_that_they_bring(lab: Lab) -> None:
    experiment_id = lab.make(
        "brought", actions=ACTIONS, arms=[arm("learned", 1.0, policy({"by": "supplier", "least": 0.3, "window": 100}))]
    )
    for part in range(3):
        own = [{"id": f"n{part}-{n}", "features": {"supplier": "new" if n else "old"}} for n in range(4)]
        lab.play("brought", [{"unit_id": f"u{part}-{n}", "actions": own} for n in range(50)])
        look(lab, "brought")
    counts = lab.runtime.snapshots.current.counts[experiment_id].arms["learned"]
    assert set(counts.groups) == {"supplier=new", "supplier=old"} and counts.decisions == 100
    assert lab.audit("brought").ok
