"""The rule of two persons, by the services and the API: who may approve what, and what a request still means later."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from app.design import drafts, experiments
from app.design.life import approvals
from app.foundation.errors import Conflict, NotFound
from app.promotion import approving
from tests.lab import AB, Lab
from tests.page_client import signed_in
from tests.service import Client, Web, definition, make_key, query, running_web

SHIP = {"arm": "treated", "reason": "it is better", "holdout": 0.0}


@pytest.fixture(scope="module")
def strict_web(lab: Lab) -> Iterator[Web]:
    with running_web(lab.database_url, LOOPWISE_APPROVALS="1") as web:
        yield web


@pytest.fixture(scope="module")
def strict(lab: Lab, strict_web: Web) -> Client:
    return strict_web.client(make_key(lab.database_url))


def approve(lab: Lab, number: int, actor: str = "ben") -> None:
    approving.approve(lab.runtime.engine, lab.settings, number, actor)


@pytest.mark.parametrize(
    ("action", "document"),
    [
        ("change", {"name": "New"}),
        ("ship", SHIP),
        ("ramp", {"arm": "treated", "reason": "step by step"}),
        ("schedule", {"ends_at": "2099-01-01T00:00:00Z"}),
    ],
)
def test_what_is_approved_happens_once_and_the_history_names_both(
    lab: Lab, action: approvals.Action, document: dict[str, object]
) -> None:
    key, engine = f"two-{action}", lab.runtime.engine
    lab.make(key, arms=AB, control_arm="control")
    number = approvals.ask(engine, key, action, document, "ann")
    with pytest.raises(Conflict, match="somebody else"):
        approve(lab, number, "ann")
    with pytest.raises(Conflict, match="already"):
        approvals.ask(engine, key, action, document, "cleo")
    approve(lab, number)
    with pytest.raises(NotFound):
        approve(lab, number)
    after = experiments.get(engine, key)
    done = {
        "change": after.config["name"] == "New",
        "ship": bool(after.config.get("shipped")),
        "ramp": bool(after.config.get("ramp")),
        "schedule": after.ends_at is not None,
    }
    assert done[action] and sum(done.values()) == 1
    told = "SELECT actor, kind FROM changes WHERE kind LIKE %s ORDER BY id DESC LIMIT 2"
    assert query(lab.database_url, told, f"%_to_{action}") == [
        ("ben", f"approved_to_{action}"),
        ("ann", f"asked_to_{action}"),
    ]


def test_a_ramp_advances_and_the_control_decides_only_with_a_second_person(lab: Lab) -> None:
    engine = lab.runtime.engine
    lab.make("stepwise", arms=AB, control_arm="control")
    approve(
        lab,
        approvals.ask(engine, "stepwise", "ramp", {"arm": "treated", "reason": "x", "steps": [0.6, 0.8, 1.0]}, "ann"),
    )
    approve(lab, approvals.ask(engine, "stepwise", "advance", {"reason": "looks fine"}, "ann"))
    after = experiments.get(engine, "stepwise")
    assert after.config["ramp"]["step"] == 1
    until = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    ending = {"conclusion": "no winner", "callers": "error", "error_from": until}
    stale = approvals.ask(engine, "stepwise", "advance", {"reason": "again"}, "ann")
    approve(lab, approvals.ask(engine, "stepwise", "conclude", ending, "ann"))
    after = experiments.get(engine, "stepwise")
    assert after.config["shipped"]["arm"] == "control" and after.config["shipped"]["until"]
    with pytest.raises(Conflict, match="has changed since"):
        approve(lab, stale)


def test_the_pages_ask_before_a_ramp_advances_and_before_the_control_decides(lab: Lab, strict_web: Web) -> None:
    lab.make("asked-on-pages", arms=AB, control_arm="control")
    engine = lab.runtime.engine
    approve(
        lab,
        approvals.ask(engine, "asked-on-pages", "ramp", {"arm": "treated", "reason": "x", "steps": [0.6, 1.0]}, "ann"),
    )
    someone = signed_in(strict_web, lab.database_url, "editor")
    at = "/admin/experiments/asked-on-pages"
    page = someone.post(f"{at}/ship/turn", {"do": "advance", "reason": "fine"})
    assert "asked just now to take the next step of the ramp" in page.text
    page = someone.post(f"{at}/conclude", {"conclusion": "no winner", "callers": "control"})
    assert "to end this experiment and let the control decide" in page.text and "no winner" in page.text
    assert experiments.get(engine, "asked-on-pages").config["ramp"]["step"] == 0


def test_a_draft_starts_with_its_approval_and_a_declined_request_does_nothing(lab: Lab) -> None:
    engine = lab.runtime.engine
    experiments.create(engine, lab.settings, definition("two-start"), "ann")
    declined = approvals.ask(engine, "two-start", "start", {}, "ann")
    approvals.decline(engine, declined, "ben")
    assert experiments.get(engine, "two-start").status == "draft"
    approve(lab, approvals.ask(engine, "two-start", "start", {}, "ann"))
    assert experiments.get(engine, "two-start").status == "running"


def test_a_request_is_void_once_the_experiment_has_changed(lab: Lab) -> None:
    engine = lab.runtime.engine
    lab.make("stale", arms=AB, control_arm="control")
    number = approvals.ask(engine, "stale", "ship", SHIP, "ann")
    experiments.change(engine, lab.settings, "stale", {"name": "Other"}, "cleo")
    with pytest.raises(Conflict, match="has changed since"):
        approve(lab, number)
    assert [request.id for request in approvals.waiting(engine, "stale")] == [number]  # the refusal left it open


def test_a_change_of_the_wizard_that_cannot_be_is_refused_before_anybody_is_asked(lab: Lab) -> None:
    engine = lab.runtime.engine
    lab.make("fixed", arms=AB, control_arm="control")
    before = experiments.get(engine, "fixed")
    draft = drafts.create_change(engine, "fixed", before.config_version, {"document": {}}, "ann")
    document = before.config | {"reward": before.config["reward"] | {"window_s": 77.0}}
    with pytest.raises(Conflict):
        drafts.ask_to_publish(engine, draft, 1, document, "ann")
    assert approvals.waiting(engine, "fixed") == []
    drafts.ask_to_publish(engine, draft, 1, before.config | {"name": "Fine"}, "ann")
    (request,) = approvals.waiting(engine, "fixed")
    approve(lab, request.id)
    assert experiments.get(engine, "fixed").config["name"] == "Fine"


def test_the_api_is_refused_what_needs_two_persons_and_may_always_make_things_safer(lab: Lab, strict: Client) -> None:
    lab.make("api-two", arms=AB, control_arm="control")
    at = "/v1/experiments/api-two"
    for answer in (
        strict.post(f"{at}/ship", SHIP),
        strict.post(f"{at}/ramp", {"arm": "treated", "reason": "x"}),
        strict.patch(at, {"name": "x"}),
        strict.post(f"{at}/start"),
        strict.post(f"{at}/ramp/advance", {"reason": "x"}),
        strict.post(f"{at}/conclude", {"callers": "control"}),
    ):
        assert (answer.status, answer.body["code"]) == (409, "approval_needed")
    assert strict.post(f"{at}/pause").status == 200
    assert strict.post("/v1/experiments", definition("api-draft")).status == 201
    assert strict.patch("/v1/experiments/api-draft", {"name": "x"}).status == 200  # a draft decides nothing
