"""A bot is noticed, held out and explained without its name; people with heavy tails of activity are not."""

import numpy as np
import pytest

from app.guardian import anomalies, incidents, quarantine
from app.guardian.quarantine_documents import QuarantineRequest
from app.people import erasure
from tests.lab import Lab
from tests.learning.street import AUTO, Street
from tests.service import query


def test_a_bot_stands_in_quarantine_with_a_reason(lab: Lab) -> None:
    street = Street(lab, "bot-noticed", arms=AUTO)
    for _ in range(3):
        street.play(100, 0)
    assert anomalies.look(lab.runtime.engine, "bot-noticed") == 0
    street.play(30, 300)
    assert anomalies.look(lab.runtime.engine, "bot-noticed") == 1
    assert anomalies.look(lab.runtime.engine, "bot-noticed") == 0, "it is known"
    (suspect,) = quarantine.listed(lab.runtime.engine, "bot-noticed").suspects
    assert (suspect.unit_id, suspect.rule, suspect.status) == ("bot", "anomaly", "held")
    assert suspect.why == "A unit made 300 of the newest 630 decisions; the next busiest made 1."
    (incident,) = incidents.listed(lab.runtime.engine, "bot-noticed")
    assert (incident.kind, incident.text, incident.closed_at) == ("anomaly", suspect.why, None)
    assert [action.code for action in incident.actions] == ["held"]
    before = street.learned()[True]
    for _ in range(9):
        street.play(30, 300)
    assert street.learned()[True] == before and street.held()["anomaly"] == 2700
    assert street.play(300, 0) >= 0.9
    asked = QuarantineRequest(do="exclude", suspect=suspect.id, reason="a script")
    quarantine.change(lab.runtime.engine, "bot-noticed", asked, "ann")
    quarantine.run_waiting(lab.runtime.engine, lab.settings)
    lab.runtime.snapshots.refresh()
    assert street.learned() == {False: 900}
    (incident,) = incidents.listed(lab.runtime.engine, "bot-noticed")
    assert incident.closed_at is not None and incident.actions[-1].code == "excluded"
    assert lab.audit("bot-noticed").ok
    erasure.ask(lab.runtime.engine, lab.settings, lab.caller, "bot")
    erasure.run_waiting(lab.runtime.engine, lab.settings)
    assert "bot" not in str(query(lab.database_url, "SELECT evidence::text FROM incidents")).replace("bot-noticed", "")


def test_a_unit_that_was_released_is_not_taken_again(lab: Lab) -> None:
    street = Street(lab, "let-go", arms=AUTO)
    street.play(100, 200)
    assert anomalies.look(lab.runtime.engine, "let-go") == 1
    asked = QuarantineRequest(do="release", unit_id="bot", reason="our kiosk")
    quarantine.change(lab.runtime.engine, "let-go", asked, "ann")
    assert anomalies.look(lab.runtime.engine, "let-go") == 0
    (incident,) = incidents.listed(lab.runtime.engine, "let-go")
    assert incident.closed_at is not None and incident.actions[-1].code == "released"
    street.play(100, 100)
    assert "anomaly" not in street.held()


def test_an_experiment_may_only_be_told(lab: Lab) -> None:
    street = Street(lab, "only-told", arms=AUTO, safety={"quarantine": False})
    street.play(100, 200)
    assert anomalies.look(lab.runtime.engine, "only-told") == 1
    (incident,) = incidents.listed(lab.runtime.engine, "only-told")
    assert [action.code for action in incident.actions] == ["told"]
    street.play(100, 100)
    assert "anomaly" not in street.held()


@pytest.mark.parametrize(("key", "index"), [("pareto", 1.0), ("lognormal", 0.0)])
def test_heavy_tailed_people_raise_nothing(lab: Lab, key: str, index: float) -> None:
    street = Street(lab, key, arms=AUTO)
    rng = np.random.default_rng(3)
    weights = 1 + rng.pareto(index, 300) if index else rng.lognormal(0.0, 1.5, 300)
    for _ in range(4):
        units = rng.choice(300, 500, p=weights / weights.sum())
        bodies = [{"unit_id": f"h{unit}", "context": {"hour": 1}} for unit in units]
        lab.play(key, bodies, lambda body, answer: street.value(body["unit_id"], answer["action"]["id"]))
        assert anomalies.look(lab.runtime.engine, key) == 0
    assert incidents.listed(lab.runtime.engine, key) == []
