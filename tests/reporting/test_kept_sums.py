"""Sums that are kept from report to report give what all outcomes give, whatever happens to these in between."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg2
import pytest

from app.design import experiments
from app.foundation.store.engine import transaction
from app.people import erasure
from app.people.consent import record
from app.people.consent_request import ConsentRequest
from app.reporting import exclusions, results
from app.reporting.store import results as store
from app.reporting.store import unit_sums
from app.reporting.store.results import Overview
from tests.lab import AB, Lab
from tests.service import query, wait_for

COPY = """
    INSERT INTO outcomes (experiment_id, decision_id, arm, unit_id, reward, events, decided_at, settled_at)
    SELECT experiment_id, decision_id || '-copy', arm, unit_id, 5, 1, decided_at, statement_timestamp()
    FROM outcomes WHERE experiment_id = %s ORDER BY decided_at LIMIT 1
"""
DROP = "DELETE FROM outcomes WHERE decision_id = (SELECT min(decision_id) FROM outcomes WHERE experiment_id = %s)"
KEPT = "SELECT coalesce(sum(decisions), 0)::int FROM unit_sums WHERE experiment_id = %s"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every log is long, and nobody waits for slow machines."""
    monkeypatch.setattr(results, "LONG", 0)
    monkeypatch.setattr(unit_sums, "MARGIN_S", 0.0)


def _play(lab: Lab, key: str, count: int, *, settled: bool = True, **fields: Any) -> list[dict[str, Any]]:
    bodies = [{"unit_id": f"{key}-{n % 37}", **fields} for n in range(count)]
    return lab.play(key, bodies, lambda body, answer: len(answer["decision_id"]) % 4 / 3, settled=settled)


@pytest.fixture
def log(lab: Lab, request: pytest.FixtureRequest) -> tuple[str, int]:
    """An experiment whose sums are kept."""
    key = request.node.name[5:60].replace("_", "-")
    reward = {"window_s": 600.0, "min": 0.0, "max": 5.0, "aggregation": "sum"}
    made = lab.make(key, arms=AB, control_arm="control", reward=reward)
    _play(lab, key, 200)
    for _ in range(3):  # there is a report to begin with; sums may begin; they are made
        results.compute(lab.runtime.engine, key)
    assert query(lab.database_url, KEPT, made) == [(200,)]
    return key, made


class Read:
    """The units of an experiment, from kept sums and from all outcomes."""

    def __init__(self, lab: Lab, made: int, until: datetime | None = None) -> None:
        with transaction(lab.runtime.engine) as connection:
            self.until = until or store.horizon(connection, made)
            self.counted = unit_sums.refresh(connection, made, self.until)
            self.kept = store.overview(connection, made, self.until, self.counted)
            self.full = store.overview(connection, made, self.until)


def _same(read: Read) -> Overview:
    assert read.counted is not None
    assert read.kept.window == read.full.window
    for kept, full in zip(read.kept.reward, read.full.reward, strict=True):
        names = ("arm", "segment", "pre")
        assert [getattr(kept, name) for name in names] == [getattr(full, name) for name in names]
        assert kept[2:-1] == pytest.approx(full[2:-1], rel=1e-9, abs=1e-12)
    return read.full


@contextmanager
def _session(lab: Lab) -> Iterator[Any]:
    """A session whose transaction is open until the end of the block."""
    connection = psycopg2.connect(lab.database_url)
    try:
        with connection, connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def test_new_outcomes_are_added(lab: Lab, log: tuple[str, int]) -> None:
    key, made = log
    for count in (1, 50, 0, 7):
        _play(lab, key, count)
        _same(Read(lab, made))
    assert query(lab.database_url, KEPT, made) == [(258,)]
    assert query(lab.database_url, "SELECT count(*) FROM unit_sums WHERE experiment_id = %s", made) == [(37,)]


def test_a_report_reads_the_kept_sums(lab: Lab, log: tuple[str, int]) -> None:
    key, made = log
    _play(lab, key, 20)
    sums = "UPDATE unit_sums SET reward = reward + 1000 WHERE experiment_id = %s"
    query(lab.database_url, sums, made)
    wrong = lab.results(key)["metrics"][0]["arms"][0]["value"]
    assert wrong > 50
    query(
        lab.database_url, "UPDATE unit_sum_states SET built_at = built_at - interval '25 hours'"
    )  # made anew every day
    assert lab.results(key)["metrics"][0]["arms"][0]["value"] < 5
    _same(Read(lab, made))


def test_every_metric_of_the_reward_is_the_same(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = [
        {"key": "reward", "role": "primary", "source": {"type": "reward"}},
        {"key": "cut", "source": {"type": "reward"}, "winsorize": 0.9},
        {"key": "unit", "source": {"type": "reward", "per": "unit"}},
        {"key": "unit_cut", "source": {"type": "reward", "per": "unit"}, "winsorize": 0.8},
        {"key": "spent", "source": {"type": "value", "metric": "spend"}},
    ]
    reward = {"window_s": 600.0, "min": 0.0, "max": 5.0, "aggregation": "sum"}
    lab.make("many", arms=AB, control_arm="control", reward=reward, metrics=metrics)
    for count in (300, 40, 40, 90):
        lab.play(
            "many", [{"unit_id": f"u{n % 71}"} for n in range(count)], lambda body, _: len(body["unit_id"]) ** 2 % 5 / 2
        )
        kept = lab.results("many")["metrics"]
    _same(Read(lab, lab_id := experiments.get(lab.runtime.engine, "many").id))
    assert query(lab.database_url, KEPT, lab_id) == [(470,)]
    with monkeypatch.context() as patched:
        patched.setattr(results, "LONG", math.inf)
        full = lab.results("many")["metrics"]
    assert [metric["metric"] for metric in kept] == [metric["key"] for metric in metrics]
    for one, other in zip(kept, full, strict=True):
        for arm, same in zip(one["arms"], other["arms"], strict=True):
            assert (arm["units"], arm["value"]) == (same["units"], pytest.approx(same["value"], rel=1e-9))
            assert arm["std_error"] == pytest.approx(same["std_error"], rel=1e-9)
    query(lab.database_url, "UPDATE unit_sums SET reward = reward + 1000 * decisions WHERE experiment_id = %s", lab_id)
    wrong = [metric["arms"][0]["value"] > 50 for metric in lab.results("many")["metrics"]]
    assert wrong == [True, True, True, True, False]


def test_results_without_held_out_decisions_are_read_from_all_outcomes(lab: Lab, log: tuple[str, int]) -> None:
    key, made = log
    hold = """
        INSERT INTO held_out (experiment_id, decision_id, arm, rule, suspect_id, status)
        SELECT experiment_id, decision_id, arm, 'test', 1, 'held' FROM outcomes WHERE experiment_id = %s LIMIT 3
    """
    query(lab.database_url, hold, made)
    for _ in range(2):
        results.compute(lab.runtime.engine, key, held_out="without")
    without = results.get(lab.runtime.engine, key, held_out="without")
    assert (without.window.decisions, without.held_out_decisions) == (197, 3)
    assert lab.results(key)["window"]["decisions"] == 200


def test_late_rewards_and_decisions_that_are_activated_long_after(lab: Lab, log: tuple[str, int]) -> None:
    from app.learning import rewards

    key, made = log
    shown = _play(lab, key, 10, settled=False, defer_activation=True)
    _play(lab, key, 10)
    _same(Read(lab, made))
    lab.reward([{"decision_id": answer["decision_id"], "value": 1, "reward_id": "late"} for answer in shown])
    for answer in shown:
        rewards.activate(lab.runtime, lab.caller, answer["decision_id"])
    lab.settle(key)
    assert sum(row.decisions for row in _same(Read(lab, made)).reward) == 220


def test_arms_that_are_settled_one_after_the_other(lab: Lab, log: tuple[str, int]) -> None:
    """Only decisions from before the oldest that waits count, in every arm: it moves on, and back."""
    key, made = log
    _play(lab, key, 60, settled=False)
    lab.close_windows(made)
    lab.settle_arm(made, "treated")
    read = Read(lab, made)
    assert read.until is not None and _same(read).window.decisions < 260
    _play(lab, key, 15, settled=False)
    lab.close_windows(made)
    lab.settle_arm(made, "treated")
    _same(Read(lab, made))
    lab.settle_arm(made, "control")
    read = Read(lab, made)
    assert read.until is None and _same(read).window.decisions == 275
    times = query(
        lab.database_url, "SELECT DISTINCT decided_at FROM outcomes WHERE experiment_id = %s ORDER BY 1", made
    )
    assert _same(Read(lab, made, times[1][0])).window.decisions == 200
    assert _same(Read(lab, made)).window.decisions == 275


def test_units_that_are_left_out_and_taken_back(lab: Lab, log: tuple[str, int]) -> None:
    key, made = log
    whole = _same(Read(lab, made))
    exclusions.exclude(lab.runtime.engine, key, [f"{key}-3"], "a tester", "test")
    said = {"unit_id": f"{key}-4", "purposes": {"analyse": "denied"}, "text_version": "1", "source": "test"}
    record(lab.runtime.engine, lab.caller, ConsentRequest.model_validate(said))
    assert _same(Read(lab, made)).window.units == whole.window.units - 2
    exclusions.include(lab.runtime.engine, key, [f"{key}-3"], "test")
    assert _same(Read(lab, made)).window.units == whole.window.units - 1
    assert query(lab.database_url, KEPT, made) == [(200,)]


def test_no_sum_of_an_erased_unit_remains(lab: Lab, log: tuple[str, int]) -> None:
    key, made = log
    other = lab.make(f"{key}-other", arms=AB, control_arm="control")
    lab.play(f"{key}-other", [{"unit_id": f"{key}-5"}, {"unit_id": "u"}])
    for _ in range(3):
        results.compute(lab.runtime.engine, f"{key}-other")
    unit = "SELECT count(DISTINCT experiment_id) FROM unit_sums WHERE unit_id = %s"
    assert query(lab.database_url, unit, f"{key}-5") == [(2,)]
    erasure.ask(lab.runtime.engine, lab.settings, lab.caller, f"{key}-5")
    assert len(erasure.run_waiting(lab.runtime.engine, lab.settings)) == 1
    assert query(lab.database_url, unit, f"{key}-5") == [(0,)]
    assert _same(Read(lab, made)).window.units == 36
    assert _same(Read(lab, other)).window.units == 1
    assert query(lab.database_url, unit, f"{key}-5") == [(0,)]


def test_rewards_are_stored_while_an_erasure_waits_for_a_report(lab: Lab, log: tuple[str, int]) -> None:
    key, made = log
    (answer,) = _play(lab, key, 1, settled=False)
    erasure.ask(lab.runtime.engine, lab.settings, lab.caller, f"{key}-6")
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with ThreadPoolExecutor(1) as pool:
        with transaction(lab.runtime.engine) as connection:
            assert unit_sums.refresh(connection, made, None) is not None
            done = pool.submit(erasure.run_waiting, lab.runtime.engine, lab.settings)
            wait_for(lambda: query(lab.database_url, waits) != [(0,)], 20, "the erasure to wait")
            lab.reward([{"decision_id": answer["decision_id"], "value": 0.5, "reward_id": "meanwhile"}])
        assert len(done.result(60)) == 1
    lab.settle(key)
    assert _same(Read(lab, made)).window.units == 36


def test_an_outcome_that_changes_or_goes(lab: Lab, log: tuple[str, int]) -> None:
    """As feedback schemas and retention do it."""
    key, made = log
    query(lab.database_url, "UPDATE outcomes SET reward = reward / 2 WHERE experiment_id = %s AND reward > 0.5", made)
    _same(Read(lab, made))
    query(lab.database_url, DROP, made)
    assert _same(Read(lab, made)).window.decisions == 199
    lab.age(key, 3)
    assert _same(Read(lab, made)).window.decisions == 199


def test_an_outcome_that_is_not_committed_yet_is_counted_afterwards(lab: Lab, log: tuple[str, int]) -> None:
    """A report that comes between its statement and its commit does not pass over it."""
    key, made = log
    with _session(lab) as cursor:
        cursor.execute(COPY, (made,))
        _play(lab, key, 5)
        assert _same(Read(lab, made)).window.decisions == 205
        assert _same(Read(lab, made)).window.decisions == 205
    assert _same(Read(lab, made)).window.decisions == 206
    assert query(lab.database_url, KEPT, made) == [(206,)]


def test_a_removal_that_is_not_committed_yet(lab: Lab, log: tuple[str, int]) -> None:
    key, made = log
    with _session(lab) as cursor:
        cursor.execute(DROP, (made,))
        read = Read(lab, made)
        assert read.counted is None and read.kept == read.full and read.full.window.decisions == 200
        assert lab.results(key)["window"]["decisions"] == 200
    assert _same(Read(lab, made)).window.decisions == 199


def test_a_removal_that_began_before_sums_were_kept(lab: Lab, log: tuple[str, int]) -> None:
    _, made = log
    query(lab.database_url, "DELETE FROM unit_sum_states WHERE experiment_id = %s", made)
    query(lab.database_url, "DELETE FROM unit_sums WHERE experiment_id = %s", made)
    with _session(lab) as cursor:
        cursor.execute(DROP, (made,))
        assert [Read(lab, made).counted for _ in range(3)] == [None] * 3
    assert _same(Read(lab, made)).window.decisions == 199


def test_a_clock_that_was_set_back(lab: Lab, log: tuple[str, int]) -> None:
    _, made = log
    query(lab.database_url, "UPDATE unit_sum_states SET settled_before = settled_before + interval '1 hour'")
    query(lab.database_url, COPY, made)
    assert _same(Read(lab, made)).window.decisions == 201


def test_decisions_of_the_future_are_read_from_all_outcomes(lab: Lab, log: tuple[str, int]) -> None:
    """An imported log may have them; they can be settled before they are decided."""
    _, made = log
    query(lab.database_url, COPY.replace("decided_at, statement", "now() + interval '1 day', statement"), made)
    read = Read(lab, made)
    assert read.counted is None and read.kept == read.full and read.full.window.decisions == 201
    assert Read(lab, made).counted is None
    query(lab.database_url, "DELETE FROM outcomes WHERE experiment_id = %s AND decided_at > settled_at", made)
    _same(Read(lab, made))
