"""Decisions without consent, forgotten people and forgotten models: every page says so, and no page fails."""

import re
from collections.abc import Iterator

import pytest

from app.people import erasure, retention
from app.verification import audit
from tests.page_client import Browser
from tests.people.test_consent_counts import say
from tests.people.test_erasure import rounds
from tests.service import Client, Loop, bandit, move_decisions, query, runtime_of

ONE = "/admin/experiments"
CONTROL = {"key": "plain", "share": 0.0, "policy": {"type": "fixed", "action": "c"}}
MESSAGE = {"texts": {"en": {"body": "Go on, {{ name }}."}}}


@pytest.fixture(scope="module")
def loop(database_url: str) -> Iterator[Loop]:
    with runtime_of(database_url, LOOPWISE_DECIDE_DEADLINE_S="10", LOOPWISE_STATEMENT_TIMEOUT_S="20") as runtime:
        yield Loop(runtime, database_url)


@pytest.fixture(scope="module")
def erased(loop: Loop) -> int:
    """An experiment of which three model versions were forgotten with a unit, and not learned again: as before 0.2."""
    made = loop.make("forgets", arms=bandit())
    rounds(loop, made, "forgets")
    erasure.ask(loop.runtime.engine, loop.settings, loop.caller, "gone-forgets")
    erasure.run_waiting(loop.runtime.engine, loop.settings)
    gone = "UPDATE model_versions SET model = '', manifest = manifest - 'relearned' WHERE experiment_id = %s"
    query(loop.database_url, gone + " AND number IN (1, 2, 3)", made)
    loop.runtime.snapshots.refresh()
    return made


@pytest.fixture(scope="module")
def kept(loop: Loop) -> str:
    """An experiment that forgot its people; returns the id of one decision."""
    made = loop.make("kept", arms=bandit(), retention_s=86_400.0)
    rounds(loop, made, "kept", 2)
    move_decisions(loop.database_url, "d.decided_at - interval '2 days'", "d.experiment_id = %s", made)
    assert retention.run(loop.runtime.engine, loop.settings) == 80
    rounds(loop, made, "kept", 1)
    ((decision_id,),) = query(
        loop.database_url,
        "SELECT id FROM decisions WHERE experiment_id = %s AND unit_id = '' ORDER BY policy_version, id LIMIT 1",
        made,
    )
    return str(decision_id)


def test_forgotten_versions_are_marked_and_cannot_serve(erased: int, editor: Browser, client: Client) -> None:
    page = editor.get(f"{ONE}/forgets/policy")
    assert page.status == 200 and page.text.count("with a unit that it had learned from") == 3
    assert re.findall(r"Roll back to version (\d+)", page.text) == ["0"]
    assert "version_erased" not in page.text and "4 version that serves" in page.text
    for number in (1, 3):
        assert "was forgotten" in editor.get(f"{ONE}/forgets/policy/rollback?arm=learned&version={number}").text
        tried = editor.post(f"{ONE}/forgets/policy/rollback", {"arm": "learned", "version": number, "reason": "mine"})
        assert tried.status == 409 and "was forgotten: a unit that it had learned from was erased" in tried.text
        answer = client.post(
            "/v1/experiments/forgets/policy/rollback", {"arm": "learned", "version": number, "reason": "r"}
        )
        assert (answer.status, answer.body["code"]) == (409, "version_erased")
    versions = client.get("/v1/experiments/forgets/policy").body["arms"][0]["versions"]
    assert [version["erased_at"] is not None for version in versions] == [False, True, True, True, False]


def test_comparing_with_a_forgotten_version_explains_itself(erased: int, viewer: Browser) -> None:
    page = viewer.get(f"{ONE}/forgets/policy/compare?arm=learned&first=2&second=4")
    assert page.status == 200 and "What they would choose is not known" in page.text and "was forgotten" in page.text
    assert "sha256" in page.text and "Roll back" not in page.text


def test_a_forgotten_version_is_no_candidate(erased: int, client: Client) -> None:
    body = {"key": "old", "model": {"arm": "learned", "version": 2}}
    answer = client.post("/v1/experiments/forgets/candidates", body)
    assert answer.status == 422 and "was forgotten" in answer.body["errors"][0]["message"]


def test_a_decision_of_a_forgotten_model_is_replayed_as_far_as_possible(
    erased: int, viewer: Browser, database_url: str
) -> None:
    ((decision_id,),) = query(
        database_url, "SELECT min(id) FROM decisions WHERE experiment_id = %s AND policy_version = 2", erased
    )
    page = viewer.get(f"{ONE}/forgets/replay?id={decision_id}")
    assert page.status == 200 and "The model that chose is forgotten" in page.text
    assert "same The draw chooses this action" in page.text and "differs" not in page.text
    query(database_url, "UPDATE decisions SET propensity = propensity * 0.999 WHERE id = %s", decision_id)
    assert "Recomputing gives something else" in viewer.get(f"{ONE}/forgets/replay?id={decision_id}").text
    gone = viewer.get(f"{ONE}/forgets/replay?id=ghost")
    assert gone.status == 404 and "or it was erased with its unit" in gone.text


def test_a_decision_of_a_forgotten_person_shows_its_remaining_fields(
    kept: str, viewer: Browser, database_url: str
) -> None:
    page = viewer.get(f"{ONE}/kept/replay?id={kept}")
    assert page.status == 200 and "The person behind this decision is forgotten" in page.text
    assert "Its unit, which is forgotten, was in arm learned" in page.text and "It is forgotten." in page.text
    assert "same The seal" in page.text and "differs" not in page.text and "it is in no report" in page.text.lower()
    listed = viewer.get(f"{ONE}/kept/decisions?id={kept}")
    assert "forgotten learned" in listed.text and "in no report" in listed.text
    query(database_url, "UPDATE decisions SET propensity = propensity * 0.999 WHERE id = %s", kept)
    assert "Recomputing gives something else" in viewer.get(f"{ONE}/kept/replay?id={kept}").text


def test_pages_and_files_have_forgotten_rows_beside_others(kept: str, viewer: Browser) -> None:
    for tab in ("", "results", "feedback", "off-policy", "policy", "decisions", "log", "integration"):
        assert viewer.get(f"{ONE}/kept/{tab}").status == 200, tab
    page = viewer.get(f"{ONE}/kept/policy/compare?arm=learned&first=1&second=3")
    assert "On the 40 newest contexts of this arm" in page.text  # of 120, 80 are forgotten
    for form in ("csv", "parquet"):
        assert viewer.get(f"{ONE}/kept/export?kind=decisions&format={form}").status == 200
    lines = viewer.get(f"{ONE}/kept/export?kind=decisions&format=csv").raw.decode().splitlines()
    assert len(lines) == 121 and sum(",,learned," in line for line in lines) == 80


def test_withheld_purposes_dropped_fields_and_messages_are_shown(loop: Loop, client: Client, viewer: Browser) -> None:
    fields = {
        "arms": [*bandit(), CONTROL],
        "actions": [{"id": "a", "template": MESSAGE}, {"id": "c"}],
        "variables": [{"name": "name", "sample": "Ada", "required": True}],
        "context_fields": [{"name": "plan"}],
    }
    client.make("asks", **fields)
    say(loop, "refuser", personalise="denied")
    say(loop, "secretive", learn="denied", analyse="denied", message="denied")
    for unit in ("refuser", "secretive", "open"):
        asked = {
            "experiment": "asks",
            "unit_id": unit,
            "decision_id": unit,
            "context": {"plan": "pro", "street": "x", "age": 4},
        }
        body = asked | {"variables": {"name": "Ada"}} | ({"excluded_actions": ["c"]} if unit == "open" else {})
        answer = client.post("/v1/messages/decide", body)
        assert answer.status == 201, answer.raw
    page = viewer.get(f"{ONE}/asks/replay?id=refuser")
    for words in (
        "What the person did not consent to",
        "personalise : the control's answer was given",
        "None was used and none is stored",
        "got the answer of an arm that does not look at the person: plain",
        "Without consent it is in no report",
        "Recomputing gives the same",
    ):
        assert words in page.text, words
    page = viewer.get(f"{ONE}/asks/replay?id=secretive")
    for words in (
        "learn : it was decided as for anybody",
        "analyse :",
        "no action with a message",
        "no consent to messages",
    ):
        assert words in page.text, words
    page = viewer.get(f"{ONE}/asks/replay?id=open")
    assert "2 fields of what the app sent were not declared" in page.text and "in app: it counts for caps" in page.text
    listed = viewer.get(f"{ONE}/asks/decisions").text
    assert "no consent: personalise" in listed and "no consent: learn, analyse, message" in listed
    assert "said: in app" in listed and "in no report" in listed
    assert viewer.get(f"{ONE}/asks/export?kind=decisions&format=csv").status == 200
    assert audit.audit_experiment(loop.runtime.engine, loop.settings, "asks").ok
