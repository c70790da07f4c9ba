"""An experiment that PostgreSQL's statistics do not know yet, because it began after they were gathered.

The planner then takes it to have one row, and what it does once for one row it would do for every row of it.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.files.exporting import export_log
from app.off_policy import candidate_policies, evaluations
from app.off_policy.caps import cap_evaluation
from app.off_policy.caps.cap_evaluation import CapQuestion
from app.off_policy.evaluation_request import CandidateSpec, EvaluationRequest
from app.reporting import activity, exports, feedback_report
from app.verification import browse, standing_audit
from app.verification.browse import Search
from tests.lab import Lab
from tests.service import bandit, query, settings

TABLES = ("decision_ids", "outcomes", "rewards", "feedback", "training_ledger", "awaiting_outcome", "restrictions")
COUNT, PER_UNIT = 3000, 10
MOST = 20 * COUNT  # rows that one use may read; a nested scan reads COUNT * COUNT / 2
SAYS = {"channel": "in_app", "texts": {"en": {"body": "Hello"}}}
CAP = {"limit": 1, "window_s": 3600.0}


def _tables(url: str) -> list[str]:
    """Those of the log, with its partitions."""
    partitions = query(url, "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'decisions'::regclass")
    return [*TABLES, *(name for (name,) in partitions)]


def _reads(url: str) -> dict[str, int]:
    """Rows read so far, by index, or by table where no index was used."""
    rows = query(
        url,
        "SELECT indexrelname, idx_tup_read FROM pg_stat_user_indexes WHERE relname = ANY(%s) "
        "UNION ALL SELECT relname, seq_tup_read FROM pg_stat_user_tables WHERE relname = ANY(%s)",
        _tables(url),
        _tables(url),
    )
    return dict(rows)


def _settled_reads(url: str) -> dict[str, int]:
    """The same, when every process has told what it did."""
    before = _reads(url)
    while True:
        time.sleep(1.5)
        if (now := _reads(url)) == before:
            return now
        before = now


def _bodies(count: int) -> list[dict[str, Any]]:
    return [{"unit_id": f"u{n // PER_UNIT}", "context": {"device": "phone"}} for n in range(count)]


def _read_too_often(url: str, uses: dict[str, Callable[[], Any]]) -> dict[str, dict[str, int]]:
    """Uses that read an index oftener than ``MOST``, with the counts by index."""
    found = {}
    before = _settled_reads(url)
    for name, use in uses.items():
        use()
        after = _settled_reads(url)
        read = {index: count - before[index] for index, count in after.items() if count - before[index] > MOST}
        if read:
            found[name] = read
        before = after
    return found


def test_nothing_reads_an_unknown_experiment_once_for_each_of_its_rows(lab: Lab, tmp_path: Path) -> None:
    url, engine, key = lab.database_url, lab.runtime.engine, "unknown"
    lab.make("known", reward={"window_s": 600.0})
    lab.play("known", _bodies(1000), lambda *_: 1.0)
    for table in _tables(url):
        query(url, f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
        query(url, f"ANALYZE {table}")
    query(url, "ANALYZE decisions")
    actions = [{"id": "a", "template": SAYS}, {"id": "b", "template": SAYS}, {"id": "nothing"}]
    fields = {"actions": actions, "profile": {"half_life_s": 3600.0}, "segments": ["device"]}
    lab.make(key, arms=bandit(), reward={"window_s": 600.0}, **fields)

    def segmented() -> None:
        lab.results(key, segment="device")

    def evaluated() -> None:
        candidate_policies.add(engine, key, CandidateSpec.model_validate(
            {"key": "always", "policy": {"type": "fixed", "action": "a"}}), "test")  # fmt: skip
        evaluations.ask(engine, key, EvaluationRequest(), "test")
        evaluations.run_waiting(engine, settings(url))

    def exported() -> None:
        with (tmp_path / "decisions").open("wb") as file:
            exports.write(engine, key, file, kind="decisions", form="csv")
        export_log(engine, settings(url), key, tmp_path / "log.jsonl")

    uses: dict[str, Callable[[], Any]] = {
        "decide, reward, learn": lambda: lab.play(key, _bodies(COUNT), lambda *_: 1.0),
        "decide with a profile": lambda: lab.decide(key, _bodies(100)),
        "results": lambda: lab.results(key),
        "results by segment": segmented,
        "health checks": lambda: lab.health(key),
        "evaluation": evaluated,
        "cap": lambda: cap_evaluation.evaluate(engine, key, CapQuestion.model_validate({"cap": CAP})),
        "feedback report": lambda: feedback_report.get(engine, key),
        "activity": lambda: activity.compute(engine, key),
        "standing audit": lambda: standing_audit.run(engine, settings(url), key),
        "audit": lambda: lab.audit(key),
        "decisions page": lambda: browse.search(engine, key, Search()),
        "exports": exported,
    }
    found = _read_too_often(url, uses)
    assert not found, found
