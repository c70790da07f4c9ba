"""The messages' demo against real servers, with the worker killed in its middle: every promise of it is checked."""

import io
from statistics import mean
from typing import Any

import pytest
from rich.console import Console

from app.demo import DemoFailed, messages
from app.demo.course import worth_under_cap
from app.demo.messages import Play
from app.demo.messages_days import Size
from app.demo.messages_setup import HEADLINES, LISTS, NUDGE
from app.demo.tables import Played
from app.verification.audit import audit_experiment
from tests.service import engine_of, make_key, query, running_web, running_worker, settings

SIZE = Size(days=8, day_s=2.5, headlines=250, lists=100, reminded=500, learners=45)


def second_half(played: list[Played], arm: str) -> float:
    return mean(one.reward for one in played[len(played) // 2 :] if one.arm == arm)


def test_the_course_speaks_to_its_learners_and_everything_holds(database_url: str, redis_url: str) -> None:
    audits: dict[str, Any] = {}

    def audit(experiment: str) -> Any:
        with engine_of(database_url) as engine:
            audits[experiment] = audit_experiment(engine, settings(database_url), experiment)
        return audits[experiment]

    out = io.StringIO()
    with running_web(database_url) as web, running_worker(database_url, redis_url) as worker:

        def kill() -> str:
            worker.kill()
            worker.start("worker")
            return "the worker was killed"

        url, key = f"http://127.0.0.1:{web.port}", make_key(database_url)
        play = Play(url, key, Console(file=out), SIZE)
        play.run(kill, audit)
    text = out.getvalue()
    assert "the worker was killed" in text and "1 said something" in text

    _check_firings(database_url)

    for name, played in ((HEADLINES, play.headlines), (LISTS, play.lists)):
        assert second_half(played, "learned") > second_half(played, "same_for_all"), (name, text)

    low, high = play.cap_answer["interval"]
    wide = (high - low) / 2  # a 95% interval alone would fail one run in twenty
    assert low - wide <= worth_under_cap(2) <= high + wide, text
    assert play.cap_answer["units"] == SIZE.reminded and play.cap_answer["effective_units"] > 20

    learned_anyway = """
        SELECT count(*) FROM training_ledger l JOIN decisions d ON d.id = l.decision_id
        WHERE l.version_id > 0 AND 'personalise' = ANY(d.withheld)
    """
    assert query(database_url, learned_anyway) == [(0,)]
    assert {name: report.ok for name, report in audits.items()} == dict.fromkeys(audits, True), text
    (model,) = play.receipt["models"]
    assert model["experiment"] == NUDGE and model["old"]["sha256"] != model["new"]["sha256"]
    gone = {*model["forgotten_versions"]} - {*(model["relearned_versions"] or ())}
    assert audits[NUDGE].versions_erased == len(gone)


def _check_firings(database_url: str) -> None:
    twice = "SELECT count(*) - count(DISTINCT (trigger_id, cause)) FROM firings"
    assert query(database_url, twice) == [(0,)]
    assert query(database_url, "SELECT count(*) FROM firings WHERE status = 'waiting'") == [(0,)]
    assert query(database_url, "SELECT count(*) FROM awaiting_match") == [(0,)]
    missing = """
        SELECT count(*) FROM firings f LEFT JOIN decisions d ON d.id = f.decision_id
        LEFT JOIN deliveries v ON v.decision_id = d.id
        WHERE f.status = 'decided' AND d.message IS NOT NULL AND v.id IS NULL
    """
    assert query(database_url, missing) == [(0,)]


def test_a_course_that_cannot_go_on_says_why(database_url: str) -> None:
    out = io.StringIO()
    with running_web(database_url) as web, pytest.raises(DemoFailed) as caught:
        messages.run(f"http://127.0.0.1:{web.port}", "lw_000000000000_" + "x" * 43, out, size=SIZE)
    assert "401" in caught.value.detail
