"""Trials: decisions of a key or a call that is marked as a test. They are made and logged like others, and count nowhere."""

import ast
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.page_client import Browser
from tests.service import ROOT, Client, make_key, query

ACTIONS = [{"id": "say", "template": {"texts": {"en": {"body": "Hi"}}}}, {"id": "nothing"}]
# Statements that read decisions without their outcomes, and for which trials are decisions like others.
KNOWN = {
    "deciding/store/decisions.py": "names, retries, activation",
    "deciding/store/arrivals.py": "shows the person who integrates an app every call",
    "learning/store/feedback.py": "says of each decision whether it is a trial",
    "learning/store/warm.py": "reads what a warm start learned, which are settled decisions",
    "learning/store/rewards.py": "stores what was checked; trials never come so far",
    "people": "what is stored of a person, also by trials, is shown, forgotten and erased",
    "verification/store/browse.py": "the log shows trials, with their state",
    "verification/store/audit.py": "trials are sealed, replayed and counted by the chain",
    "foundation/store/chain.py": "the chain counts every row",
    "foundation/store/fragments.py": "looks one decision up; who asks is looked at",
    "foundation/store/orphans.py": "what the audit compares has a row for every decision",
    "foundation/store/latest.py": "when something changed last",
    "reporting/store/heavy_units.py": "reads rewards, which trials do not have",
    "reporting/store/metric_sums.py": "reads the decisions of outcomes",
    "reporting/store/results.py": "the configuration of a settled decision",
    "reporting/store/counted_units.py": "the configuration of a settled decision",
    "reporting/store/feedback_report.py": "bounds the size of a log",
    "reporting/store/whom.py": "bounds the size of a log",
    "fairness/store/fairness.py": "which actions a call may bring",
}
JOINS = ("analysed", "outcomes", "awaiting_outcome", "training_ledger", "held_out", "FROM feedback f", "FROM rewards r")


def statements() -> Iterator[tuple[str, str]]:
    """(file, text) of each statement of the stores that reads decisions."""
    for path in sorted((ROOT / "app").rglob("store/*.py")):
        nodes = [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
        inner = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in nodes:
            if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in inner:
                text = ast.unparse(node)
                if re.search(r"\b(FROM|JOIN) decisions\b|\bdecision_of\(|\bDECISIONS_OF_IDS\b", text):
                    yield str(path.relative_to(ROOT / "app")), text


def test_whatever_reads_decisions_without_outcomes_leaves_trials_out_or_says_why() -> None:
    seen, careless = 0, []
    for name, text in statements():
        seen += 1
        careful = re.search(r"(?i)not_a?_?trial|state = 'active'|<> 'trial'|\{_NEWEST\}|closes_at IS NOT NULL", text)
        if not careful and not any(join in text for join in JOINS):
            careless += [] if any(name.startswith(known) for known in KNOWN) else [(name, text[:200])]
    assert seen > 40
    assert careless == []


def decided(client: Client, key: str, unit: str, **more: Any) -> dict[str, Any]:
    answer = client.post("/v1/decide", {"experiment": key, "unit_id": unit, **more})
    assert answer.status == 201, answer.raw
    return dict(answer.body)


@pytest.fixture(scope="module")
def tester(client: Client, database_url: str) -> Client:
    """A client whose key is for trials."""
    secret = make_key(database_url, "decide", "reward", test=True)
    return Client(client.port, secret)


def test_a_trial_is_decided_and_logged_and_has_no_window(client: Client, tester: Client, database_url: str) -> None:
    client.make("tried", reward={"window_s": 1.0})
    real = decided(client, "tried", "u1")
    trials = [decided(client, "tried", "u1", test=True), decided(tester, "tried", "u1")]
    assert "test" not in real and all(trial["test"] is True for trial in trials)
    assert trials[0]["arm"] == real["arm"] and trials[0]["propensity"] == real["propensity"]
    ids = [trial["decision_id"] for trial in trials]
    rows = query(database_url, "SELECT state, closes_at FROM decisions WHERE id = ANY(%s)", ids)
    assert rows == [("trial", None)] * 2
    again = {"experiment": "tried", "unit_id": "u2", "decision_id": "mine", "test": True}
    assert client.post("/v1/decide", again).status == 201
    retry = client.post("/v1/decide", again)
    assert retry.status == 200 and retry.body["test"] is True
    activated = client.post("/v1/decisions/mine/activate").body
    assert activated["state"] == "trial" and activated["activated"] is False
    waiting = "SELECT decision_id FROM awaiting_outcome WHERE decision_id = ANY(%s)"
    assert query(database_url, waiting, [*ids, "mine", real["decision_id"]]) == [(real["decision_id"],)]


def test_rewards_and_answers_of_a_trial_are_checked_and_not_kept(client: Client, database_url: str) -> None:
    client.make("unkept", feedback={"thumbs": {"up": 1.0, "down": 0.0}})
    trial = decided(client, "unkept", "u1", test=True)["decision_id"]
    real = decided(client, "unkept", "u1")["decision_id"]
    both = [{"decision_id": trial, "value": 1.0}, {"decision_id": real, "value": 1.0}]
    answers = client.post("/v1/rewards/batch", {"rewards": both}).body["rewards"]
    assert [answer.get("test") for answer in answers] == [True, None]
    assert client.post("/v1/reward", {"decision_id": trial, "value": 9.0}).status == 422
    thumb = {"decision_id": trial, "kind": "thumbs", "value": "up"}
    assert client.post("/v1/feedback", thumb).body["test"] is True
    assert client.post("/v1/feedback", thumb | {"value": "sideways"}).status == 422
    muting = client.post("/v1/feedback", {"decision_id": trial, "kind": "not_interested"})
    assert muting.status == 200 and muting.body["test"] is True
    for table in ("rewards", "feedback"):
        assert query(database_url, f"SELECT count(*) FROM {table} WHERE decision_id = %s", trial) == [(0,)]
    assert query(database_url, "SELECT count(*) FROM rewards WHERE decision_id = %s", real) == [(1,)]


def test_caps_do_not_count_trials_and_hold_for_them(client: Client) -> None:
    cap = {"limit": 1, "window_s": 86_400.0, "across": "experiment"}
    arms = [{"key": "a", "share": 1.0, "policy": {"type": "fixed", "action": "say"}}]
    client.make("capped-trials", actions=ACTIONS, arms=arms, fatigue={"caps": [cap]})
    call = {"experiment": "capped-trials", "unit_id": "u"}
    batch = {"decisions": [call | {"test": True}] * 3}
    assert {one["action"]["id"] for one in client.post("/v1/decide/batch", batch).body["decisions"]} == {"say"}
    assert client.post("/v1/decide", call | {"test": True}).body["action"]["id"] == "say"
    assert client.post("/v1/decide", call).body["action"]["id"] == "say"  # the first one that counts
    assert client.post("/v1/decide", call | {"test": True}).body["action"]["id"] == "nothing"


def test_reports_and_exports_leave_trials_out(client: Client, editor: Browser) -> None:
    client.make("reported")
    trial = decided(client, "reported", "u1", test=True)["decision_id"]
    real = decided(client, "reported", "u2")["decision_id"]
    listed = client.get("/v1/decisions?experiment=reported").body["decisions"]
    assert [decision["decision_id"] for decision in listed] == [real]
    results = client.get("/v1/experiments/reported/results?max_age_s=0").body
    assert results["window"]["decisions"] == 0
    page = editor.get(f"/admin/experiments/reported/replay?id={trial}")
    assert "a trial: it counts nowhere" in page.text


def test_a_list_of_trials_and_a_deferred_trial_count_nowhere(client: Client, database_url: str) -> None:
    client.make("trial-list")
    listed = decided(client, "trial-list", "u1", test=True, slots=2, defer_activation=True)
    ids = [position["decision_id"] for position in listed["positions"]]
    rows = query(database_url, "SELECT DISTINCT state FROM decisions WHERE id = ANY(%s)", ids)
    assert rows == [("trial",)]


def test_a_key_for_trials_is_made_on_the_page(admin: Browser) -> None:
    page = admin.post("/admin/keys", {"scopes": "decide", "name": "staging", "test": "yes"})
    assert page.status == 200 and "trials" in page.text
