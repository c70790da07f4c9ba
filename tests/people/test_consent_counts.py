"""Consent counts: one line a unit and purpose, counted again when the ledger changes and not before."""

from app.people import consent_counts, erasure
from app.people.consent import record
from app.people.consent_request import ConsentRequest
from tests.service import Loop, query

SAID_AT = "2026-01-01T12:00:00Z"


def say(loop: Loop, unit: str, **purposes: str) -> None:
    consent_body = {
        "unit_id": unit,
        "purposes": purposes,
        "text_version": "1",
        "source": "test",
        "occurred_at": SAID_AT,
    }
    record(loop.runtime.engine, loop.caller, ConsentRequest.model_validate(consent_body))


def age(loop: Loop) -> None:
    """As if the last count and all lines were an hour old."""
    query(loop.database_url, "UPDATE latest SET computed_at = computed_at - interval '1 hour' WHERE kind = 'consent'")
    query(loop.database_url, "UPDATE consents SET recorded_at = recorded_at - interval '2 hours'")


def test_the_newest_line_of_each_unit_counts_until_it_is_erased(loop: Loop) -> None:
    engine = loop.runtime.engine
    assert consent_counts.stored(engine) is None
    assert consent_counts.compute_due(engine, 30)
    empty = consent_counts.stored(engine)
    assert empty is not None and empty.units == {}
    say(loop, "a", learn="granted", message="granted")
    say(loop, "b", learn="granted")
    say(loop, "b", learn="revoked")
    assert not consent_counts.compute_due(engine, 30)  # just counted
    query(loop.database_url, "UPDATE latest SET computed_at = computed_at - interval '1 hour' WHERE kind = 'consent'")
    assert consent_counts.compute_due(engine, 30)
    counts = consent_counts.stored(engine)
    assert counts is not None and counts.units == {"learn": {"granted": 1, "revoked": 1}, "message": {"granted": 1}}
    age(loop)
    assert not consent_counts.compute_due(engine, 30)  # nothing has changed
    erasure.ask(engine, loop.settings, loop.caller, "b")
    erasure.run_waiting(engine, loop.settings)
    assert consent_counts.compute_due(engine, 30)
    counts = consent_counts.stored(engine)
    assert counts is not None and counts.units == {"learn": {"granted": 1}, "message": {"granted": 1}}


def test_a_late_yes_is_counted_as_the_current_no(loop: Loop) -> None:
    engine = loop.runtime.engine
    say(loop, "late", analyse="revoked")
    consent_body = {"unit_id": "late", "purposes": {"analyse": "granted"}, "text_version": "0", "source": "test"}
    record(engine, loop.caller, ConsentRequest.model_validate(consent_body | {"occurred_at": "2025-12-31T12:00:00Z"}))
    query(loop.database_url, "UPDATE latest SET computed_at = computed_at - interval '1 hour' WHERE kind = 'consent'")
    assert consent_counts.compute_due(engine, 30)
    counts = consent_counts.stored(engine)
    assert counts is not None and counts.units["analyse"] == {"revoked": 1}
