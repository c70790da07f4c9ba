"""A crossed guardrail does what its metric says, opens an incident, and is undone in one click; the log stays right."""

from typing import Any

import numpy as np
import pytest

from app.design import history
from app.design.experiments import get
from app.foundation.errors import Conflict, NotFound
from app.guardian import guardrails, incidents
from app.guardian.documents import Incident
from app.reporting import results
from tests.lab import Lab, arm
from tests.page_client import Browser
from tests.service import Client, query

ARMS = [arm("control", 0.4, "a"), arm("treated", 0.6, {"type": "bandit"})]
UNITS = 600


class Rail:
    """An experiment whose treated arm is slow, or was."""

    def __init__(self, lab: Lab, key: str, on_crossed: str | None = None, arms: list[dict[str, Any]] = ARMS) -> None:
        self.lab, self.key, self.slow, self.seen, self.rng = lab, key, 400.0, 0, np.random.default_rng(5)
        source = {"type": "value", "metric": "latency"}
        metric = {"key": "latency", "name": "Latency", "role": "guardrail", "source": source, "direction": "decrease"}
        rule = {} if on_crossed is None else {"on_crossed": on_crossed}
        lab.make(key, arms=arms, control_arm="control", metrics=[{**metric, "min_effect": 0.1, **rule}])

    def play(self, count: int = UNITS) -> None:
        """Units come, and the results are computed."""
        bodies = [{"unit_id": f"{self.key}-{self.seen + number}"} for number in range(count)]
        self.seen += count
        answers = self.lab.play(self.key, bodies, lambda _, __: 0.5, settled=False)
        means = {"treated": self.slow}
        self.lab.report(
            [
                {
                    "decision_id": answer["decision_id"],
                    "metric": "latency",
                    "value": float(self.rng.normal(means.get(answer["arm"], 200.0), 20)),
                }
                for answer in answers
            ]
        )
        self.lab.settle(self.key)
        self.compute()

    def compute(self) -> None:
        results.compute(self.lab.runtime.engine, self.key)
        self.lab.runtime.snapshots.refresh()

    @property
    def incidents(self) -> list[Incident]:
        return incidents.listed(self.lab.runtime.engine, self.key)

    def codes(self) -> list[str]:
        """What was done about the newest incident."""
        return [action.code for action in self.incidents[0].actions]

    def undo(self) -> None:
        guardrails.undo(self.lab.runtime.engine, self.key, self.incidents[0].id, "ann")

    def state(self) -> tuple[str, dict[str, float], bool]:
        """Status, shares, and whether the treated arm's fallback decides."""
        stored = get(self.lab.runtime.engine, self.key)
        shares = {each["key"]: each["share"] for each in stored.config["arms"]}
        return stored.status, shares, any(each.get("fallen_back", False) for each in stored.config["arms"])

    def changes(self) -> list[str]:
        """Kinds, newest first."""
        return [line.change.kind for line in history.newest(self.lab.runtime.engine, experiment_key=self.key).lines]


WHOLE = {"control": 0.4, "treated": 0.6}


@pytest.mark.parametrize(
    ("on_crossed", "code", "state", "change", "back"),
    [
        (None, "fell_back", ("running", WHOLE, True), "fell_back", "restored"),
        ("pause", "paused", ("paused", WHOLE, False), "experiment_pause", "experiment_start"),
        ("stop_arm", "stopped_arm", ("running", {"control": 1.0, "treated": 0.0}, False), "arm_stopped", "arm_resumed"),
    ],
)
def test_a_guardrail_does_what_its_metric_says_and_a_person_takes_it_back(
    lab: Lab, on_crossed: str | None, code: str, state: tuple[Any, ...], change: str, back: str
) -> None:
    rail = Rail(lab, f"rail-{code}", on_crossed)
    rail.play()
    (incident,) = rail.incidents
    assert (incident.kind, incident.arm, rail.codes(), incident.can_undo) == ("guardrail", "treated", [code], True)
    assert incident.text == "treated crosses the guardrail Latency: worse than control."
    assert rail.state() == state and rail.changes()[0] == change
    rail.compute()
    assert len(rail.incidents) == 1 and rail.codes() == [code], "it is done once"
    rail.undo()
    assert rail.state() == ("running", WHOLE, False) and rail.changes()[0] == back
    rail.play()
    assert len(rail.incidents) == 1 and rail.codes() == [code, "undone"], "what a person undid is not done again"
    assert rail.state() == ("running", WHOLE, False)
    with pytest.raises(Conflict):
        rail.undo()
    assert lab.audit(rail.key).ok


def test_a_rule_that_only_tells_changes_nothing_and_is_over_when_it_is_not_crossed_any_more(lab: Lab) -> None:
    rail = Rail(lab, "rail-tell", "tell")
    rail.play()
    assert rail.codes() == ["told"] and rail.state() == ("running", WHOLE, False)
    with pytest.raises(Conflict):
        rail.undo()
    rail.slow = 20.0
    for _ in range(6):
        rail.play()
    assert rail.codes() == ["told", "recovered"] and rail.incidents[0].closed_at is not None
    rail.slow = 2000.0
    for _ in range(4):
        rail.play()
    assert len(rail.incidents) == 2, "it is crossed again"


def test_an_arm_without_a_fallback_is_only_told_of(lab: Lab) -> None:
    rail = Rail(lab, "rail-fixed", arms=[arm("control", 0.4, "a"), arm("treated", 0.6, "b")])
    rail.play()
    assert rail.codes() == ["told"] and rail.state()[0] == "running"


def test_shares_that_cannot_be_believed_only_tell(lab: Lab) -> None:
    rail = Rail(lab, "rail-ratio", "pause")
    crossing = guardrails.Crossing("treated", "latency", "treated crosses the guardrail Latency: worse than control.")
    guardrails.settle(lab.runtime.engine, rail.key, [crossing], believable=False)
    assert rail.codes() == ["told"] and rail.state()[0] == "running"


def test_what_a_person_closed_stays_closed_while_it_is_crossed(lab: Lab) -> None:
    rail = Rail(lab, "rail-closed", "stop_arm")
    rail.play()
    incidents.close(lab.runtime.engine, rail.key, rail.incidents[0].id, "ann")
    rail.compute()
    assert len(rail.incidents) == 1 and rail.incidents[0].closed_at is not None
    assert rail.state()[1] == {"control": 1.0, "treated": 0.0}, "what was done stays done"
    rail.undo()
    assert rail.state()[1] == WHOLE
    with pytest.raises(NotFound):
        guardrails.undo(lab.runtime.engine, rail.key, 10**9, "ann")


def test_arms_of_a_lineage_have_equal_shares_and_stop_together(lab: Lab) -> None:
    twins = [arm(name, 0.3, {"type": "bandit"}) | {"lineage_of": "twins"} for name in ("treated", "other")]
    rail = Rail(lab, "rail-twins", "stop_arm", [arm("control", 0.4, "a"), *twins])
    rail.play(1500)
    assert rail.state()[1] == {"control": 1.0, "treated": 0.0, "other": 0.0}
    rail.undo()
    assert rail.state()[1] == {"control": 0.4, "treated": 0.3, "other": 0.3}
    lab.change(rail.key, name="it can still be changed")


def test_a_look_without_news_changes_no_revision(lab: Lab) -> None:
    rail = Rail(lab, "rail-calm")
    rail.play()
    before = query(lab.database_url, "SELECT revision FROM platform")
    rail.compute()
    assert query(lab.database_url, "SELECT revision FROM platform") == before


def test_the_page_and_the_api_undo_it_in_one_click(lab: Lab, editor: Browser, viewer: Browser, client: Client) -> None:
    rail = Rail(lab, "rail-page", "pause")
    rail.play()
    address = f"/admin/experiments/{rail.key}/health"
    page = editor.get(address)
    assert "the experiment is paused (guardian)" in page.text and "Undo what was done" in page.text
    assert "Undo what was done" not in viewer.get(address).text
    number = str(rail.incidents[0].id)
    assert viewer.post(f"{address}/undo", {"incident": number}).status == 403
    page = editor.post(f"{address}/undo", {"incident": number})
    assert page.status == 200 and "what was done is undone" in page.text and rail.state()[0] == "running"
    again = client.post(f"/v1/experiments/{rail.key}/incidents/{number}/undo")
    assert (again.status, again.body["code"]) == (409, "nothing_to_undo")
    assert client.post(f"/v1/experiments/{rail.key}/incidents/999999/undo").status == 404
