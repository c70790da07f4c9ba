"""Every call of the Python client, sync and async, and the rows that the server then has."""

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

import loopwise_client
from loopwise_client import Action, AsyncClient, Client, Question, Receipt, Reward
from tests.clients.conftest import EXPERIMENT
from tests.service import ROOT, Web, make_key, query
from tests.service import Client as Plain

IDS = ["ünï-コード-🎯", "a/b?c#d%2F%25", "..", ".", "/", " spaces and\nlines ", "\u202eright-to-left\u202c", "x" * 500]

METHODS = {"decide", "decide_batch", "message", "pending", "reward", "reward_batch", "feedback", "feedback_batch"} | {
    "activate", "received", "event", "events", "consent", "consent_of", "unit_token", "erase", "erasure", "person", "close"
}  # fmt: skip


def test_a_decision_is_the_one_that_is_stored(loopwise: Any, database_url: str) -> None:
    decision = loopwise.decide(EXPERIMENT, "user-42", context={"device": "phone"})
    stored = "SELECT unit_id, arm, propensity, context, state FROM decisions WHERE id = %s"
    assert query(database_url, stored, decision.decision_id) == [
        ("user-42", decision.arm, decision.propensity, {"device": "phone"}, "active")
    ]
    assert (decision.logged, decision.reason, decision.policy_version) == (True, None, 0)
    assert decision.payload == {"text": decision.action_id.upper()}
    assert decision.ranking[0] == (decision.action_id, decision.propensity)
    assert sorted(ranked.id for ranked in decision.ranking) == ["a", "b", "c"]


def test_a_calls_own_candidates_and_exclusions_count(loopwise: Any) -> None:
    candidates = [Action("first", {"minutes": 3}, payload=[1, "two"]), {"id": "second", "features": {"minutes": 5}}]
    decision = loopwise.decide(EXPERIMENT, "u", actions=candidates, excluded_actions=["second"])
    assert (decision.action_id, decision.payload, decision.propensity) == ("first", [1, "two"], 1.0)
    assert decision.ineligible == (("second", "excluded"),)


def test_a_trial_is_logged_and_counts_nowhere(loopwise: Any, database_url: str) -> None:
    decision = loopwise.decide(EXPERIMENT, "tester", test=True)
    (asked,) = loopwise.decide_batch([Question(experiment=EXPERIMENT, unit_id="tester", test=True)])
    assert (decision.logged, decision.test, asked.test) == (True, True, True)
    assert loopwise.decide(EXPERIMENT, "tester").test is False
    stored = "SELECT state, closes_at FROM decisions WHERE id IN (%s, %s)"
    assert query(database_url, stored, decision.decision_id, asked.decision_id) == [("trial", None)] * 2
    loopwise.reward(decision, 1.0)
    assert query(database_url, "SELECT value FROM rewards WHERE decision_id = %s", decision.decision_id) == []


def test_the_same_question_gets_the_same_decision(loopwise: Any) -> None:
    first = loopwise.decide(EXPERIMENT, "u", decision_id=loopwise_client.new_id(), default="a")
    assert loopwise.decide(EXPERIMENT, "u", decision_id=first.decision_id) == first


@pytest.mark.parametrize("text", IDS)
def test_ids_are_any_text(connect: Callable[..., Any], request: Any, text: str, database_url: str) -> None:
    loopwise = connect()
    decision_id = f"{text}{request.node.callspec.params['connect']}"[-500:] if len(text) > 2 else text
    decision = loopwise.decide(
        EXPERIMENT, text, actions=[Action(text, payload=text)], decision_id=decision_id, defer_activation=True
    )
    assert (decision.decision_id, decision.action_id, decision.payload) == (decision_id, text, text)
    opened = loopwise.activate(decision)
    assert opened or len(text) <= 2  # the shortest ids are the same for both clients, and open only once
    assert not loopwise.activate(decision_id)
    assert loopwise.reward(decision, 0.5, reward_id=text).reward_id == text
    stored = (
        "SELECT unit_id, d.state, r.reward_id FROM decisions d JOIN rewards r ON decision_id = d.id WHERE d.id = %s"
    )
    assert query(database_url, stored, decision_id) == [(text, "active", text)]


def test_a_reward_sent_twice_counts_once_and_has_one_receipt(loopwise: Any, database_url: str) -> None:
    decision = loopwise.decide(EXPERIMENT, "u")
    when = datetime(2026, 1, 31, 12, tzinfo=UTC)
    receipts = {loopwise.reward(decision, 0.5, reward_id="order-7", occurred_at=when) for _ in range(3)}
    (receipt,) = receipts
    assert receipt == Receipt(
        decision.decision_id, "order-7", "reward", 0.5, True, when, receipt.received_at, receipt.late
    )
    assert receipt.received_at.tzinfo is not None
    assert query(database_url, "SELECT value FROM rewards WHERE decision_id = %s", decision.decision_id) == [(0.5,)]


def test_two_rewards_without_ids_are_two_events(loopwise: Any, database_url: str) -> None:
    decision = loopwise.decide(EXPERIMENT, "u")
    for _ in range(2):
        loopwise.reward(decision.decision_id, 0.25, metric="clicks")
    stored = "SELECT metric, value FROM rewards WHERE decision_id = %s"
    assert query(database_url, stored, decision.decision_id) == [("clicks", 0.25)] * 2


def test_batches_keep_their_order(loopwise: Any) -> None:
    questions = [Question(experiment=EXPERIMENT, unit_id=f"u{n}", actions=[Action(f"a{n}")]) for n in range(50)]
    decisions = loopwise.decide_batch(questions)
    assert [decision.action_id for decision in decisions] == [f"a{n}" for n in range(50)]
    assert [decision.decision_id for decision in decisions] == [question.decision_id for question in questions]
    events = [Reward(decision, n / 100) for n, decision in enumerate(decisions)]
    receipts = loopwise.reward_batch(events)
    assert [receipt.value for receipt in receipts] == [n / 100 for n in range(50)]
    assert loopwise.reward_batch(events) == receipts
    assert (loopwise.decide_batch([]), loopwise.reward_batch([])) == ([], [])


def _refusals(loopwise: Any) -> dict[str, Callable[[], Any]]:
    deep: Any = 1
    for _ in range(40):
        deep = {"deeper": deep}
    loopwise.decide(EXPERIMENT, "u", decision_id="taken")
    return {
        "BadRequest 400 too_deep": lambda: loopwise.decide(EXPERIMENT, "u", context=deep, default="a"),
        "NotFound 404 unknown_experiment": lambda: loopwise.decide("nowhere", "u", default="a"),
        "NotFound 404 unknown_decision": lambda: loopwise.reward("nowhere", 1.0),
        "Conflict 409 decision_id_reused": lambda: loopwise.decide(EXPERIMENT, "v", decision_id="taken", default="a"),
        "TooLarge 413 request_entity_too_large": lambda: loopwise.decide(
            EXPERIMENT, "u", context={"x": "x" * 2_000_000}, default="a"
        ),
        "Unprocessable 422 invalid_value": lambda: loopwise.decide(EXPERIMENT, "", default="a"),
    }


def test_a_refusal_is_raised_with_its_code_and_no_default_hides_it(loopwise: Any) -> None:
    for expected, call in _refusals(loopwise).items():
        with pytest.raises(loopwise_client.Refused) as caught:
            call()
        refused = caught.value
        assert f"{type(refused).__name__} {refused.status} {refused.code}" == expected
        assert refused.detail
        assert expected.partition(" ")[2] in str(refused)


def test_a_wrong_value_is_named(loopwise: Any) -> None:
    decision = loopwise.decide(EXPERIMENT, "u")
    with pytest.raises(loopwise_client.Unprocessable, match="/value: give a value from 0 to 1") as caught:
        loopwise.reward(decision, 7.0)
    assert [error.path for error in caught.value.errors] == ["/value"]


def test_keys_that_may_not_are_refused(connect: Callable[..., Any], database_url: str) -> None:
    with pytest.raises(loopwise_client.Unauthorized):
        connect(key="lw_of_nobody").decide(EXPERIMENT, "u", default="a")
    with pytest.raises(loopwise_client.Forbidden):
        connect(key=make_key(database_url, "read")).decide(EXPERIMENT, "u", default="a")


MISTAKES: dict[str, Callable[[Any], Any]] = {
    "Out of range": lambda loopwise: loopwise.reward("x", float("nan")),
    "time zone": lambda loopwise: loopwise.reward("x", 1.0, occurred_at=datetime(2026, 1, 1)),
    "list of ids": lambda loopwise: loopwise.decide(EXPERIMENT, "u", excluded_actions="abc", default="a"),
    "seconds above 0": lambda loopwise: loopwise.decide(EXPERIMENT, "u", deadline_s=0, default="a"),
    "not JSON serializable": lambda loopwise: loopwise.decide(EXPERIMENT, "u", context={"x": object()}, default="a"),
}


@pytest.mark.parametrize("said", MISTAKES)
def test_values_that_cannot_be_sent_raise_an_error(loopwise: Any, said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        MISTAKES[said](loopwise)


@pytest.mark.parametrize("url", ["ftp://host", "no address", "http://", "http://user:pass@host", "http://host?x=1"])
def test_a_text_that_is_not_an_address_is_refused_at_once(connect: Callable[..., Any], url: str) -> None:
    with pytest.raises(ValueError, match="give the server's address"):
        connect(url)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_text_that_is_not_a_key_is_refused_and_not_repeated(kind: Any) -> None:
    for key in ("", "secret\n", "secret é"):
        with pytest.raises(ValueError, match="key") as caught:
            kind("http://127.0.0.1:1", key)
        assert "secret" not in str(caught.value)


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: Any) -> dict[str, str]:
        return {name: str(inspect.signature(value)) for name, value in vars(kind).items() if not name.startswith("_")}

    assert methods(Client) == methods(AsyncClient)
    assert methods(Client)["erase"] == ("(self, unit_id: 'str', *, deadline_s: 'float | None' = None) -> 'Erasure'")
    assert inspect.signature(Client.__init__) == inspect.signature(AsyncClient.__init__)
    assert set(methods(Client)) == METHODS
    for name in methods(Client):
        assert inspect.iscoroutinefunction(getattr(AsyncClient, name))


def test_the_readmes_programs_run(web: Web, client: Plain) -> None:
    actions = [{"id": "video"}, {"id": "checklist", "payload": {"text": "Five first steps"}}]
    client.make("onboarding-tip", actions=actions)
    texts = {"de": {"title": 'Hallo {{ user_name | default: "du" }}', "body": "Weiter geht's."}}
    variables = [{"name": "user_name", "sample": "Ada"}]
    client.make("welcome", actions=[{"id": "hello", "template": {"texts": texts}}], variables=variables)
    readme = (ROOT / "clients/python/README.md").read_text(encoding="utf-8")
    programs = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert len(programs) == 7
    environment = {
        "PYTHONPATH": str(ROOT / "clients/python"),
        "LOOPWISE_URL": f"http://127.0.0.1:{web.port}",
        "LOOPWISE_KEY": client.key,
    }
    for program in programs:
        command = [sys.executable, "-P", "-W", "error", "-c", program]
        run = subprocess.run(
            command, check=False, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
        )
        assert (run.returncode, run.stderr) == (0, "")


def test_the_package_needs_httpx_only() -> None:
    script = "import sys, loopwise_client; print(*{name.partition('.')[0] for name in sys.modules})"
    command = [sys.executable, "-P", "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "clients/python")}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    imported = set(run.stdout.split()) - set(sys.stdlib_module_names)
    assert "httpx" in imported
    assert imported.isdisjoint({"app", "bandits", "experiments", "flask", "orjson", "pydantic", "numpy"})
