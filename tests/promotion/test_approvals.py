"""The rule of two persons, by the services and the API: who may approve what, and what a request still means later."""

from collections.abc import Iterator

import pytest

from app.design import drafts, experiments
from app.design.life import approvals
from app.foundation.errors import Conflict, NotFound
from app.promotion import approving
from tests.lab import AB, Lab
from tests.service import Client, definition, make_key, query, running_web

SHIP = {"arm": "treated", "reason": "it is better", "holdout": 0.0}


@pytest.fixture(scope="module")
def strict(lab: Lab) -> Iterator[Client]:
    with running_web(lab.database_url, LOOPWISE_APPROVALS="1") as web:
        yield web.client(make_key(lab.database_url))


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
    ):
        assert (answer.status, answer.body["code"]) == (409, "approval_needed")
    assert strict.post(f"{at}/pause").status == 200
    assert strict.post("/v1/experiments", definition("api-draft")).status == 201
    assert strict.patch("/v1/experiments/api-draft", {"name": "x"}).status == 200  # a draft decides nothing
