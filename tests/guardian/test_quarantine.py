"""What is held out is learned exactly once after a release, and not at all after an exclusion; reports are read both ways."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.design import history
from app.foundation.errors import NotFound, Unprocessable
from app.guardian import quarantine
from app.guardian.quarantine_documents import Quarantine, QuarantineRequest
from app.off_policy import evaluations
from app.off_policy.evaluation_request import EvaluationRequest
from app.people import erasure
from app.people.receipts import sign
from app.reporting import results
from tests.lab import Lab, arm
from tests.learning.street import AUTO, Street
from tests.page_client import Browser
from tests.service import Client, bandit, query

UNBOUND = {"unit_share": 1.0}


def change(lab: Lab, key: str, do: str, **of: Any) -> Quarantine:
    asked = QuarantineRequest.model_validate({"do": do, "reason": "a test", **of})
    return quarantine.change(lab.runtime.engine, key, asked, "ann")


def rows(lab: Lab, key: str) -> dict[str, int]:
    """How often the current generation of the ledger learned each decision."""
    statement = """
        SELECT l.decision_id, count(*) FILTER (WHERE l.version_id > 0) FROM training_ledger l
        JOIN lineages g USING (experiment_id, arm, generation) JOIN experiments e ON e.id = l.experiment_id
        WHERE e.key = %s GROUP BY 1
    """
    return dict(query(lab.database_url, statement, key))


@pytest.mark.parametrize(("key", "arms"), [("release-auto", AUTO), ("release-vw", bandit())])
def test_released_decisions_are_learned_exactly_once_and_later(lab: Lab, key: str, arms: list[dict[str, Any]]) -> None:
    street = Street(lab, key, arms=arms, safety=UNBOUND)
    street.play(60, 20)
    (suspect,) = change(lab, key, "hold", unit_id="bot").suspects
    assert (suspect.status, suspect.rule, suspect.why, suspect.held) == ("held", "person", "a test", 0)
    street.play(60, 40)
    assert street.learned() == {False: 120, True: 20} and street.held() == {"person": 40}
    manifest = next(v["manifest"] for v in reversed(street.versions()) if v["kind"] == "incremental")
    assert manifest["held_out"]["decisions"] == {"person": 40} and manifest["decisions"] == 60
    change(lab, key, "release", suspect=suspect.id)
    assert street.learned()[True] == 20, "the next round learns it"
    street.play(60, 10)
    assert street.learned() == {False: 180, True: 70} and street.held() == {}
    manifest = next(v["manifest"] for v in reversed(street.versions()) if v["kind"] == "incremental")
    assert manifest["decisions"] == 110
    assert set(rows(lab, key).values()) == {1}
    assert lab.train(street.id) is None, "nothing waits any more"
    report = lab.audit(key)
    assert report.ok, report.findings


def test_a_round_of_released_decisions_alone(lab: Lab) -> None:
    street = Street(lab, "alone", arms=bandit(), safety=UNBOUND)
    street.play(40, 0)
    change(lab, "alone", "hold", unit_id="bot")
    street.play(0, 30)
    assert street.versions()[-1]["number"] == 1 and street.held() == {"person": 30}
    change(lab, "alone", "release", rule="person")
    done = lab.train(street.id)
    assert done is not None and street.learned() == {False: 40, True: 30}
    assert lab.audit("alone").ok


@pytest.mark.parametrize(("key", "arms"), [("exclude-auto", AUTO), ("exclude-vw", bandit())])
def test_an_exclusion_learns_again_without_and_leaves_a_receipt(lab: Lab, key: str, arms: list[dict[str, Any]]) -> None:
    street = Street(lab, key, arms=arms, safety=UNBOUND)
    twin = Street(lab, f"{key}-twin", arms=arms, safety=UNBOUND)
    for world in (street, twin):
        world.play(60, 0)
    for _ in range(4):
        street.play(20, 200)
    assert street.learned() == {False: 140, True: 800}
    before = street.versions()
    change(lab, key, "exclude", unit_id="bot")
    assert quarantine.run_waiting(lab.runtime.engine, lab.settings) == [key]
    assert quarantine.run_waiting(lab.runtime.engine, lab.settings) == []
    lab.runtime.snapshots.refresh()
    (suspect,) = quarantine.listed(lab.runtime.engine, key).suspects
    receipt = suspect.receipt
    assert receipt is not None and (receipt.decisions, suspect.held) == (800, 800)
    (model,) = receipt.models
    after = street.versions()
    assert (model.old.sha256, model.new.sha256) == (before[-1]["sha256"], after[-1]["sha256"])
    assert model.old.sha256 != model.new.sha256 and model.promoted and model.learned == 140
    assert after[: len(before)] == [version | {"serving": False} for version in before], "nothing is erased"
    assert receipt.signature == sign(lab.settings.secret_key, receipt.as_json())
    assert street.learned() == {False: 140}
    assert street.play(300, 50) > 0.85, "people get what is right again"
    assert street.learned() == {False: 440}
    kinds = [line.change.kind for line in history.newest(lab.runtime.engine, experiment_key=key).lines]
    assert kinds[:2] == ["quarantine_relearned", "quarantine_excluded"]
    report = lab.audit(key)
    assert report.ok, report.findings
    change(lab, key, "release", unit_id="bot")
    street.play(10, 0)
    assert street.learned() == {False: 450, True: 850}, "somebody changed their mind"
    assert lab.audit(key).ok


def test_decisions_are_chosen_by_key_time_and_rule(lab: Lab) -> None:
    street = Street(lab, "chosen", arms=bandit())
    street.play(100, 200)
    assert street.held() == {"unit_share": 195}
    (heavy,) = quarantine.listed(lab.runtime.engine, "chosen").units
    assert (heavy.unit_id, heavy.held) == ("bot", 195)
    future = datetime.now(UTC) + timedelta(days=1)
    with pytest.raises(NotFound, match="Nothing that fits"):
        change(lab, "chosen", "release", rule="unit_share", since=future.isoformat())
    change(lab, "chosen", "release", rule="unit_share", until=future.isoformat())
    street.play(10, 0)
    assert street.learned() == {False: 110, True: 200}
    change(lab, "chosen", "exclude", key_id="lw_test", until=datetime.now(UTC).isoformat())
    quarantine.run_waiting(lab.runtime.engine, lab.settings)
    assert street.learned() == {} and street.held() == {"person": 310}
    lab.runtime.snapshots.refresh()
    street.play(10, 0)
    assert street.learned() == {False: 10}, "later decisions of the key are learned"
    with pytest.raises(Unprocessable) as caught:
        change(lab, "chosen", "hold")
    assert [(field.path, field.code) for field in caught.value.fields] == [("/unit_id", "missing")]
    with pytest.raises(Unprocessable):
        change(lab, "chosen", "hold", since=future.isoformat(), until=future.isoformat())
    with pytest.raises(NotFound):
        change(lab, "chosen", "release", suspect=10**9)
    assert lab.audit("chosen").ok


def test_reports_are_read_with_and_without_and_say_which(lab: Lab) -> None:
    arms = [arm("control", 0.5, "a"), {**AUTO[0], "share": 0.5}]
    street = Street(lab, "both-ways", arms=arms, safety=UNBOUND)
    street.play(400, 300)
    change(lab, "both-ways", "exclude", unit_id="bot")
    quarantine.run_waiting(lab.runtime.engine, lab.settings)
    both = {which: results.get(lab.runtime.engine, "both-ways", held_out=which) for which in ("with", "without")}
    assert (both["with"].window.decisions, both["without"].window.decisions) == (700, 400)
    assert (both["with"].held_out, both["without"].held_out) == ("with", "without")
    assert {report.held_out_decisions for report in both.values()} == {300}
    again = results.get(lab.runtime.engine, "both-ways")
    assert again.window.decisions == 700, "they are kept apart"
    for which, decisions in (("with", 700), ("without", 400)):
        evaluations.ask(lab.runtime.engine, "both-ways", EvaluationRequest(held_out=which), "ann")
        evaluations.run_waiting(lab.runtime.engine, lab.settings)
        newest = evaluations.newest_done(lab.runtime.engine, "both-ways")
        assert newest is not None and newest.result is not None and newest.request.held_out == which
        window = newest.result.window
        assert window.trained_on + window.evaluated_on == decisions


def test_an_erasure_reaches_suspects_and_the_audit_stays_right(lab: Lab) -> None:
    street = Street(lab, "bot-erased", arms=bandit(), safety=UNBOUND)
    street.play(50, 50)
    change(lab, "bot-erased", "exclude", unit_id="bot")
    quarantine.run_waiting(lab.runtime.engine, lab.settings)
    erasure.ask(lab.runtime.engine, lab.settings, lab.caller, "bot")
    erasure.run_waiting(lab.runtime.engine, lab.settings)
    listed = quarantine.listed(lab.runtime.engine, "bot-erased")
    assert (listed.held, listed.suspects) == ({}, [])
    assert "bot" not in str(query(lab.database_url, "SELECT after FROM changes WHERE kind LIKE 'quarantine%%'"))
    assert lab.audit("bot-erased").ok


@pytest.fixture(scope="module")
def shown(lab: Lab) -> Street:
    street = Street(lab, "on-page", arms=bandit())
    street.play(100, 200)
    change(lab, "on-page", "hold", unit_id="bot", reason="looks like a script")
    street.play(10, 30)
    return street


def test_the_page_shows_whose_and_why_and_an_editor_decides(
    shown: Street, lab: Lab, viewer: Browser, editor: Browser
) -> None:
    where = "/admin/experiments/on-page/quarantine"
    page = viewer.get(where)
    for words in ("unit bot", "looks like a script", "225 decisions", "195 more than one unit may teach"):
        assert words in page.text, words
    assert "Exclude" not in page.html.split("</table>")[0].split("<table")[-1], "a viewer reads"
    health = " ".join(viewer.get("/admin/experiments/on-page/health").text.split())
    assert "Held out of learning" in health and "225 decisions" in health
    assert viewer.post(where, {"do": "release", "rule": "person", "reason": "x"}).status == 403
    assert editor.post(where, {"do": "hold", "reason": "nobody"}).status == 422
    assert editor.post(where, {"do": "hold", "unit_id": "x", "since": "soon", "reason": "when"}).status == 422
    assert editor.post(where, {"do": "hold", "unit_id": "x"}).status == 422
    assert editor.post(where, {"do": "dance", "unit_id": "x", "reason": "x"}).status == 422
    assert editor.post(where, {"do": "release", "suspect": "x", "reason": "x"}).status == 422
    (suspect,) = quarantine.listed(lab.runtime.engine, "on-page").suspects
    page = editor.post(where, {"do": "exclude", "suspect": str(suspect.id), "reason": "it is a script"})
    assert page.status == 200 and "That is excluded." in page.text and "The models are learned again soon" in page.text
    quarantine.run_waiting(lab.runtime.engine, lab.settings)
    assert "learned from 110 decisions" in editor.get(where).text
    results.compute(lab.runtime.engine, "on-page")
    page = editor.get("/admin/experiments/on-page/results?held_out=without")
    assert "These results are without them" in " ".join(page.text.split())
    assert "excluded decisions from what is learned" in editor.get("/admin/experiments/on-page/log").text


def test_the_api_says_the_same(shown: Street, lab: Lab, client: Client) -> None:
    listed = client.get("/v1/experiments/on-page/quarantine").body
    assert listed["suspects"][0]["unit_id"] == "bot"
    body = {"do": "hold", "unit_id": "other", "reason": "looks odd"}
    changed = client.post("/v1/experiments/on-page/quarantine", body)
    assert changed.status == 200 and changed.body["suspects"][0]["why"] == "looks odd"
    refused = client.post("/v1/experiments/on-page/quarantine", {"do": "hold", "reason": "x"})
    assert (refused.status, refused.body["errors"][0]["code"]) == (422, "missing")
    unknown = client.post("/v1/experiments/on-page/quarantine", {"do": "release", "key_id": "no", "reason": "x"})
    assert (unknown.status, unknown.body["code"]) == (404, "unknown_suspect")
    without = client.get("/v1/experiments/on-page/results?held_out=without&max_age_s=0").body
    assert without["held_out"] == "without"
