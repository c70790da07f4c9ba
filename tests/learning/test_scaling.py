"""A named algorithm with features at their own scale: rounds, what it says of features, rebuilds, erasure, and the audit."""

from app.foundation.store.engine import transaction
from app.people import erasure
from app.registry.store.models import left_out
from tests.learning.test_refit import again, chance_of_b, play, versions
from tests.service import Loop

SCALED = {"type": "bandit", "algorithm": "squarecb", "scaling": True}


def test_a_scaled_algorithm_learns_serves_and_is_audited(loop: Loop) -> None:
    made = loop.make("scaled", arms=[{"key": "learned", "share": 1.0, "policy": SCALED}])
    for number in range(5):
        play(loop, "scaled", made, 80, number)
    assert chance_of_b(loop, "scaled", 70_000.0) > chance_of_b(loop, "scaled", 35_000.0) + 0.3
    bodies = [{"context": {"account_id": 10**8 + 7919 * n, "same": 3}} for n in range(120)]
    loop.decide("scaled", bodies)
    loop.close_windows(made)
    loop.train(made)
    listed = versions(loop, "scaled")
    notes = {(note["feature"], note["code"]) for note in listed[-1]["manifest"]["learner"]["notes"]}
    assert {("account_id", "timestamp_like"), ("same", "constant")} <= notes
    with transaction(loop.runtime.engine) as connection:
        assert ("scaled", "learned", "constant", 1) in [tuple(row) for row in left_out(connection)]
    rebuilt = again(loop, made, asked=True)
    assert rebuilt is not None and rebuilt.promoted and versions(loop, "scaled")[-1]["kind"] == "rebuild"
    loop.runtime.snapshots.refresh()
    assert chance_of_b(loop, "scaled", 70_000.0) > chance_of_b(loop, "scaled", 35_000.0) + 0.3
    report = loop.audit("scaled")
    assert report.ok and report.versions == len(listed) + 1


def test_a_scaled_algorithm_forgets_a_unit(loop: Loop) -> None:
    made = loop.make("scaled-forgets", arms=[{"key": "learned", "share": 1.0, "policy": SCALED}])
    for number in range(3):
        play(loop, "scaled-forgets", made, 60, number)
    asked = erasure.ask(loop.runtime.engine, loop.settings, loop.caller, "u3")
    assert erasure.run_waiting(loop.runtime.engine, loop.settings) == [asked.erasure_id]
    assert versions(loop, "scaled-forgets")[-1]["kind"] == "relearned"
    assert loop.audit("scaled-forgets").ok
