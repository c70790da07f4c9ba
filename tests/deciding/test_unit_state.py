"""Consent, profile and declared fields of a unit shape its decisions, and are logged so that an audit can recompute them."""

from typing import Any

import pytest

from app.deciding import profile
from app.deciding.requests import DecideRequest, identify
from app.deciding.store.units import Past
from app.design.context.kept import hash_key, keep_declared
from app.design.people_config import ContextField, ProfileSpec
from app.foundation.errors import Conflict
from app.foundation.store.engine import transaction
from app.people.consent import record
from app.people.consent_request import ConsentRequest
from app.reporting.store import results
from app.reporting.store.metric_sums import Scope, arm_sums
from app.verification.audit import audit_experiment
from tests.service import Loop, bandit, query

HOUR = 3600.0


def test_an_audit_recomputes_decisions_of_units_without_consent(loop: Loop) -> None:
    loop.make("audited-consent", arms=[*bandit(), {"key": "even", "share": 0.0, "policy": {"type": "uniform"}}])
    consent = {"unit_id": "u1", "purposes": {"personalise": "denied"}, "text_version": "1", "source": "x"}
    record(loop.runtime.engine, loop.caller, ConsentRequest.model_validate(consent))
    loop.decide("audited-consent", [{"unit_id": f"u{n}", "context": {"n": n}} for n in range(4)])
    report = audit_experiment(loop.runtime.engine, loop.settings, "audited-consent")
    assert report.ok and report.decisions == 4, report.lines()


def test_a_unit_that_denies_analysis_is_in_no_report_from_then_on(loop: Loop) -> None:
    experiment_id = loop.make("analysed-less")
    loop.decide("analysed-less", [{"unit_id": f"v{n % 5}"} for n in range(20)])
    loop.close_windows(experiment_id)
    loop.train(experiment_id, "all")

    def reported() -> int:
        with transaction(loop.runtime.engine) as connection:
            scope = Scope(experiment_id, results.clock(connection))
            return sum(row.decisions for row in arm_sums(connection, scope, "reward", {}))

    assert reported() == 20
    consent: dict[str, Any] = {"unit_id": "v1", "purposes": {"analyse": "revoked"}, "text_version": "1", "source": "x"}
    consent["occurred_at"] = "2026-01-01T12:00:00Z"
    record(loop.runtime.engine, loop.caller, ConsentRequest.model_validate(consent))
    assert reported() == 16
    again = {"purposes": {"analyse": "granted"}, "occurred_at": "2026-01-02T12:00:00Z"}
    record(loop.runtime.engine, loop.caller, ConsentRequest.model_validate(consent | again))
    assert reported() == 20


def test_a_profile_gives_older_decisions_less_weight() -> None:
    past = [Past("b", None, 9 * HOUR, None), Past("a", "push", 8 * HOUR, 1.0), Past("a", None, 6 * HOUR, 0.0)]
    spec = ProfileSpec(half_life_s=2 * HOUR, tags=True)
    assert profile.features(spec, past, 10 * HOUR, {"a": ["x", "y"], "b": ["y"]}) == {
        "decisions": pytest.approx(0.707107 + 0.5 + 0.25),
        "messages": 0.5,
        "hours_since_decision": 1.0,
        "hours_since_message": 2.0,
        "actions": {"a": {"times": 0.75, "last": 1.0, "mean": 0.666667}, "b": {"times": 0.707107}},
        "tags": {
            "x": {"times": 0.75, "last": 1.0, "mean": 0.666667},
            "y": {"times": pytest.approx(1.457107), "last": 1.0, "mean": 0.666667},
        },
    }
    assert profile.features(spec, [], 0.0) == {"decisions": 0, "messages": 0, "actions": {}, "tags": {}}


def test_the_profile_is_logged_in_the_context_and_used_for_learning(loop: Loop) -> None:
    experiment_id = loop.make("profiled", arms=bandit(), profile={"half_life_s": 86_400.0})
    (first,) = loop.decide("profiled", [{"unit_id": "u", "context": {"city": "Linz"}}])
    loop.reward([{"decision_id": first["decision_id"], "value": 1.0}])
    loop.close_windows(experiment_id)
    loop.train(experiment_id)
    (second,) = loop.decide("profiled", [{"unit_id": "u", "context": {"city": "Linz"}}])
    stored = "SELECT context FROM decisions WHERE id = %s"
    url = loop.settings.database_url
    ((context,),) = query(url, stored, first["decision_id"])
    assert context["profile"] == {"decisions": 0, "messages": 0, "actions": {}}
    ((context,),) = query(url, stored, second["decision_id"])
    action = first["action"]["id"]
    assert context["city"] == "Linz"
    assert context["profile"]["actions"] == {action: {"times": pytest.approx(1, abs=0.01), "last": 1.0, "mean": 1.0}}
    loop.close_windows(experiment_id)
    loop.train(experiment_id)
    report = audit_experiment(loop.runtime.engine, loop.settings, "profiled")
    assert report.ok and report.versions == 3, report.lines()


def test_a_context_field_named_profile_is_refused_if_loopwise_fills_it(loop: Loop) -> None:
    loop.make("profiled-2", profile={})
    with pytest.raises(Exception, match="Loopwise fills this field"):
        loop.decide("profiled-2", [{"unit_id": "u", "context": {"profile": {}}}])


def test_only_declared_fields_are_stored_and_the_others_are_counted(loop: Loop) -> None:
    fields = [{"name": "plan"}, {"name": "street", "hashed": True}]
    loop.make("declared", context_fields=fields)
    contexts: list[dict[str, Any]] = [
        {"plan": "pro", "street": "Main St", "name": "Ada", "age": 31},
        {"street": "Main St"},
        {"street": "Side St", "plan": None},
    ]
    decided = loop.decide("declared", [{"unit_id": "u", "context": context} for context in contexts])
    rows = [
        query(
            loop.settings.database_url, "SELECT context, dropped FROM decisions WHERE id = %s", decision["decision_id"]
        )[0]
        for decision in decided
    ]
    assert [dropped for _, dropped in rows] == [2, None, None]
    streets = [context["street"] for context, _ in rows]
    assert streets[0] == streets[1] != streets[2] and "Main" not in str(rows)
    assert rows[0][0]["plan"] == "pro" and set(rows[0][0]) == {"plan", "street"}
    assert audit_experiment(loop.runtime.engine, loop.settings, "declared").ok


def test_the_hash_of_a_request_does_not_confirm_a_guess_of_a_dropped_value(loop: Loop) -> None:
    """The hash distinguishes a retry from another request. Without the installation's key it must not reveal a field's value."""
    loop.make("guessed", context_fields=[{"name": "street", "hashed": True}])
    body = {"decision_id": "guess", "unit_id": "u", "context": {"street": "Main St"}}
    first, again = loop.decide("guessed", [body])[0], loop.decide("guessed", [body])[0]
    assert first == again
    with pytest.raises(Conflict):
        loop.decide("guessed", [body | {"context": {"street": "Side St"}}])
    ((stored,),) = query(loop.settings.database_url, "SELECT body_hash FROM decisions WHERE id = 'guess'")
    whole = {"experiment": "guessed", **body}
    guess = identify(DecideRequest.model_validate(whole), whole).body_hash
    assert len(stored) == len(guess) == 64 and stored != guess


def test_the_same_value_has_different_hashes_in_different_experiments() -> None:
    fields = [ContextField(name="street", hashed=True)]
    hashes = {keep_declared(fields, {"street": "Main St"}, hash_key("s", salt))[0]["street"] for salt in (b"a", b"b")}
    assert len(hashes) == 2
