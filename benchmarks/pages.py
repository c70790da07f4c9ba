"""python -m benchmarks.pages: how long each admin page takes with 1,000 experiments and a log of five million decisions.

The log is made with `generate_series` in an embedded PostgreSQL (fsync on); the worker's figures are computed once and
timed too. A signed-in browser's requests ask for each page, in interleaved rounds. The output has medians, the slowest answer,
and the ratio to the sign-in page, which does not use the database. An answer other than 200 ends the run.
"""

import argparse
import http.client
import re
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, urlencode

from sqlalchemy import text

from app.accounts import users
from app.design import experiments
from app.foundation.store.engine import transaction
from app.off_policy import candidate_policies, evaluations
from app.off_policy.evaluation_request import CandidateSpec, EvaluationRequest
from app.reporting import activity, health_checks, results
from app.reporting.whom import report as whom
from benchmarks import figures
from benchmarks.rig import Rig

BIG: Final = "big"
PASSWORD: Final = "benchmarks only"
ARMS: Final = [
    {"key": "control", "share": 0.2, "policy": {"type": "fixed", "action": "a-0"}},
    {"key": "learned", "share": 0.6, "policy": {"type": "bandit", "algorithm": "squarecb", "exploration_floor": 0.05}},
    {"key": "even", "share": 0.2, "policy": {"type": "uniform"}},
]
DECISIONS: Final = """
    INSERT INTO decisions (id, experiment_id, config_version, key_id, body_hash, unit_id, arm, policy_version, policy_sha256,
        eligible, distribution, chosen, propensity, draw, context, encoding_version, state, seal, decided_at, closes_at)
    SELECT 'd-' || :id || '-' || lpad(n::text, 9, '0'), :id, 1, 'lw_bench', '', 'unit-' || unit, arm, 0, NULL,
        ARRAY['a-0','a-1','a-2','a-3','a-4'],
        CASE arm WHEN 'control' THEN ARRAY[1,0,0,0,0]::float8[] ELSE ARRAY[.2,.2,.2,.2,.2]::float8[] END,
        CASE arm WHEN 'control' THEN 0 ELSE floor(u * 5)::int END, CASE arm WHEN 'control' THEN 1 ELSE .2 END, u,
        json_build_object('country', (ARRAY['at','de','ch','fr'])[1 + n % 4], 'age', n % 60), 1, 'active', '',
        clock_timestamp() - make_interval(secs => (:rows - n) * :gap_s),
        clock_timestamp() - make_interval(secs => (:rows - n) * :gap_s)
    FROM (
        SELECT n, random() AS u, unit, (ARRAY['control','learned','learned','learned','even'])[1 + abs(hashint8(unit)) % 5] AS arm
        FROM (SELECT n, (random() * :units)::bigint AS unit FROM generate_series(1, :rows) n) numbered
    ) made
"""
OUTCOMES: Final = """
    INSERT INTO outcomes (experiment_id, decision_id, arm, unit_id, reward, events, decided_at)
    SELECT experiment_id, id, arm, unit_id, (random() < CASE arm WHEN 'learned' THEN .12 ELSE .1 END)::int, 1, decided_at
    FROM decisions WHERE experiment_id = :id
"""
IDS: Final = "INSERT INTO decision_ids SELECT id, experiment_id, decided_at FROM decisions WHERE experiment_id = :id"
REWARDS: Final = """
    INSERT INTO rewards (decision_id, reward_id, experiment_id, metric, value, occurred_at, received_at, late)
    SELECT decision_id, 'r', experiment_id, 'reward', 1, decided_at, decided_at, false FROM outcomes
    WHERE experiment_id = :id AND reward > 0
"""


def main() -> None:
    """Fill, compute, ask."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000, help="decisions of the big experiment")
    parser.add_argument("--experiments", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with Rig() as rig:
        _fill(rig, arguments.rows, arguments.experiments)
        figures.title(
            f"the worker's part, {arguments.rows:,} decisions in one experiment, {arguments.experiments} beside it"
        )
        for name, work in _worker(rig).items():
            figures.line(name, f"{_seconds(work):.2f} s")
        _ask_all(rig, arguments.rounds)


def _fill(rig: Rig, rows: int, count: int) -> None:
    big = _make(rig, BIG)
    with transaction(rig.engine) as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        parameters = {"id": big, "rows": rows, "units": max(1, rows // 5), "gap_s": 0.2}
        connection.execute(text(DECISIONS), parameters)
        connection.execute(text(IDS), {"id": big})
        connection.execute(text(OUTCOMES), {"id": big})
        connection.execute(text(REWARDS), {"id": big})
    for number in range(count - 1):
        small = _make(rig, f"small-{number:04d}")
        with transaction(rig.engine) as connection:
            connection.execute(text(DECISIONS), {"id": small, "rows": 60, "units": 50, "gap_s": 60.0})
            connection.execute(text(IDS), {"id": small})
            connection.execute(text(OUTCOMES), {"id": small})
    with rig.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE"))


def _make(rig: Rig, key: str) -> int:
    actions = [{"id": f"a-{n}", "features": {"size": n}, "payload": {"title": f"Action {n}"}} for n in range(5)]
    document = {"key": key, "name": f"Experiment {key}", "actions": actions, "arms": ARMS, "control_arm": "control"}
    made = experiments.create(rig.engine, rig.settings, document | {"segments": ["country"]}, "benchmark")
    experiments.move(rig.engine, key, "start", "benchmark")
    return int(made.id)


def _worker(rig: Rig) -> dict[str, Callable[[], Any]]:
    engine = rig.engine
    return {
        "results of the big experiment": lambda: results.compute(engine, BIG),
        "its segments": lambda: results.compute(engine, BIG, "country"),
        "what works for whom, the newest 20,000": lambda: whom.compute(engine, rig.settings, BIG),
        "activity of every experiment": lambda: activity.compute_due(engine),
        "health checks of every experiment": lambda: health_checks.compute_due(engine, 30.0),
        "results of every other experiment": lambda: results.compute_stale(engine, 30.0),
        "an evaluation on 100,000 decisions": lambda: _evaluate(rig),
    }


def _evaluate(rig: Rig) -> None:
    spec = CandidateSpec.model_validate({"key": "always-1", "policy": {"type": "fixed", "action": "a-1"}})
    candidate_policies.add(rig.engine, BIG, spec, "benchmark")
    evaluations.ask(rig.engine, BIG, EvaluationRequest(), "benchmark")
    evaluations.run_waiting(rig.engine, rig.settings)


def _pages(rig: Rig) -> list[str]:
    with transaction(rig.engine) as connection:
        decision = connection.execute(
            text(
                "SELECT id FROM decisions WHERE arm = 'learned' AND experiment_id = 1 ORDER BY decided_at LIMIT 1 OFFSET 1000"
            )
        ).scalar_one()
    experiment = f"/admin/experiments/{BIG}"
    return [
        "/admin/",
        "/admin/?search=small-07&sort=lift",
        "/admin/?sort=problems&from=900",
        f"{experiment}/",
        f"{experiment}/live?fragment=1",
        f"{experiment}/results",
        f"{experiment}/results?segment=country",
        f"{experiment}/what-works-for-whom",
        f"{experiment}/off-policy",
        f"{experiment}/policy",
        f"{experiment}/decisions",
        f"{experiment}/decisions?{urlencode({'unit': 'unit-77'})}",
        f"{experiment}/decisions?{urlencode({'action': 'a-3'})}",
        f"{experiment}/decisions?{urlencode({'action': 'no-such-action'})}",
        f"{experiment}/replay?id={quote(decision)}",
        f"{experiment}/log",
        f"{experiment}/integration",
        f"{experiment}/report",
        "/admin/keys",
        "/admin/users",
        "/admin/settings",
        "/admin/audit-log",
    ]


def _ask_all(rig: Rig, rounds: int) -> None:
    cookie = _sign_in(rig)
    pages = ["/admin/sign-in", *_pages(rig)]
    took: dict[str, list[float]] = {page: [] for page in pages}
    for _ in range(rounds):
        for page in pages:
            began = time.perf_counter()
            status, body = _get(rig, page, cookie)
            took[page].append(time.perf_counter() - began)
            if status != 200:
                raise RuntimeError(f"{page}: {status} {body[:300]!r}")
    figures.title(f"seconds per page, median of {rounds} rounds (slowest), ratio to the sign-in page")
    base = figures.median(took["/admin/sign-in"])
    for page in pages:
        middle = figures.median(took[page])
        figures.line(page, f"{middle:.3f} s ({max(took[page]):.3f})", f"{middle / base:.1f}")


def _sign_in(rig: Rig) -> str:
    address = f"/admin/link/{users.create_user(rig.engine, 'bench', 'admin', 'benchmark')}"
    connection = http.client.HTTPConnection("127.0.0.1", rig.port, timeout=60)
    connection.request("GET", address)
    answer = connection.getresponse()
    cookie = (answer.headers["Set-Cookie"] or "").partition(";")[0]
    token = re.search(rb'name="csrf_token" value="([^"]+)"', answer.read())
    assert token is not None, "the page has no form"
    form = urlencode({"csrf_token": token[1].decode(), "password": PASSWORD})
    headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", address, form, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return str(answer.headers["Set-Cookie"]).partition(";")[0]


def _get(rig: Rig, page: str, cookie: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", rig.port, timeout=60)
    connection.request("GET", page, headers={"Cookie": cookie})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
