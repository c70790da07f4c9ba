"""The life of a challenger: in shadow, with a share, in production; each step has a number, and each has a way back."""

from typing import Any

import numpy as np
import pytest

from app.foundation.errors import Conflict, NotFound
from app.off_policy import candidate_policies
from app.off_policy.life import attaching, staging
from app.promotion import challengers, shipping
from app.promotion.challengers import Challenger, LifeStep
from app.promotion.shipping import ShipRequest
from bandits.encoding import encode_context
from bandits.model import Predictor, distribution
from tests.lab import Lab, sound
from tests.off_policy.test_evaluations import bodies, world
from tests.off_policy.test_staging import LINES, SQUARE, filled, query_arms, stage, valued_model
from tests.page_client import Browser
from tests.service import query

KEY = "life"


def computed(lab: Lab, key: str, name: str) -> Challenger:
    challengers.compute(lab.runtime.engine, lab.settings, key)
    table = challengers.get(lab.runtime.engine, key)
    sound(table.as_json())
    return next(one for one in table.challengers if one.name == name)


def numbers(life: Challenger) -> list[tuple[str, float | None]]:
    return [(step.step, step.share) for step in life.steps]


def back(lab: Lab, key: str, name: str) -> Challenger | None:
    done = challengers.back(lab.runtime.engine, key, name, "test", "test")
    lab.runtime.snapshots.refresh()
    return done


@pytest.fixture(scope="module")
def life(lab: Lab) -> dict[str, Any]:
    """A candidate that was valued, stood in shadow, had a share, and was shipped; by step, its challenger then."""
    made = filled(
        lab, KEY, {"key": "square", "policy": SQUARE}, {"key": "always-b", "policy": {"type": "fixed", "action": "b"}}
    )
    seen: dict[str, Any] = {"made": made, "model": valued_model(lab, KEY, "square")}
    seen["candidate"] = computed(lab, KEY, "square")
    assert stage(lab, KEY, "square", 0.0).status == "staged"
    lab.play(KEY, bodies(600, "shadow-"), world(5))
    seen["shadow"] = computed(lab, KEY, "square")
    arms = [
        one | {"share": {"square": 0.5, "learned": 0.2, "control": 0.3}.get(one["key"], 0.0)}
        for one in query_arms(lab, KEY)
    ]
    lab.change(KEY, arms=arms)
    lab.play(KEY, bodies(400, "share-"), world(6))
    seen["served"] = computed(lab, KEY, "square")
    shipping.ship(lab.runtime.engine, KEY, ShipRequest(arm="square", holdout=0.1, reason="test"), "test")
    lab.runtime.snapshots.refresh()
    lab.play(KEY, bodies(200, "shipped-"), world(7))
    seen["production"] = computed(lab, KEY, "square")
    return seen


def test_every_step_stands_in_one_table(life: dict[str, Any]) -> None:
    assert [life[name].state for name in ("candidate", "shadow", "served", "production")] == [
        "candidate", "shadow", "served", "production",
    ]  # fmt: skip
    assert numbers(life["production"]) == [("candidate", None), ("shadow", 0.0), ("served", 0.5), ("production", 0.9)]
    steps: list[LifeStep] = life["production"].steps
    assert all(step.value is not None and step.interval is not None for step in steps)
    assert [step.until is None for step in steps] == [True, False, False, True]
    assert [life[name].back for name in ("candidate", "shadow", "served", "production")] == [
        "removed", "candidate", "shadow", "before",
    ]  # fmt: skip
    assert life["production"].steps[1] == life["shadow"].steps[1].model_copy(update={"until": steps[1].until})


def test_the_numbers_of_the_shadow_are_those_of_the_log(lab: Lab, life: dict[str, Any]) -> None:
    """By brute force: the valued model asked on every decision of the shadow, with the mixture of the three arms."""
    policy, plain = life["model"]
    predictor = Predictor(plain, policy)
    rows = query(
        lab.database_url,
        "SELECT d.context, d.eligible, d.chosen, o.reward, d.arm, d.distribution FROM decisions d JOIN outcomes o"
        " ON o.decision_id = d.id AND o.experiment_id = d.experiment_id WHERE d.unit_id LIKE 'shadow-%%'"
        " AND o.experiment_id = %s",
        life["made"],
    )
    assert len(rows) == 600 and "square" not in {row[4] for row in rows}  # it decided nothing
    (step,) = (step for step in life["shadow"].steps if step.step == "shadow")
    would = [distribution(policy, predictor, encode_context(row[0]), LINES, row[1]) for row in rows]
    shown = np.array([chances[row[2]] for chances, row in zip(would, rows, strict=True)])
    assert step.decisions == 600
    assert step.agreement == pytest.approx(shown.mean(), abs=1e-12)
    assert step.same == pytest.approx(np.mean([p[row[2]] == p.max() for p, row in zip(would, rows, strict=True)]))
    assert step.compared == pytest.approx(np.mean([row[3] for row in rows]))
    learned = {str(row[0]): np.array(row[5]) for row in rows if row[4] == "learned"}  # one version decided meanwhile
    mixtures = [0.4 * learned[str(row[0])] + 0.3 * np.array([1.0, 0, 0]) + 0.1 for row in rows]
    weights = shown / np.array([mixture[row[2]] for mixture, row in zip(mixtures, rows, strict=True)])
    assert step.ips == pytest.approx(np.mean(weights * [row[3] for row in rows]), abs=1e-9)
    assert step.interval is not None and step.interval.low is not None and step.interval.high is not None
    assert step.interval.low < step.value < step.interval.high  # type: ignore[operator]


def test_what_an_arm_earned_with_a_share_stands_beside_the_control(lab: Lab, life: dict[str, Any]) -> None:
    (step,) = (step for step in life["production"].steps if step.step == "served")
    means = dict(
        query(
            lab.database_url,
            "SELECT o.arm, avg(o.reward) FROM outcomes o WHERE o.unit_id LIKE 'share-%%' AND o.experiment_id = %s GROUP BY 1",
            life["made"],
        )
    )
    assert step.value == pytest.approx(means["square"]) and step.compared == pytest.approx(means["control"])
    assert step.difference is not None and step.difference.low is not None and step.difference.high is not None
    assert step.difference.low < step.value - step.compared < step.difference.high  # type: ignore[operator]


def test_there_is_a_way_back_at_every_step(lab: Lab) -> None:
    key = "way-back"
    filled(lab, key, {"key": "square", "policy": SQUARE}, {"key": "coin", "policy": {"type": "uniform"}})
    before = query_arms(lab, key)
    staging.stage(lab.runtime.engine, lab.settings, key, "square", 0.2, "test")
    waiting = back(lab, key, "square")  # before the worker came
    assert waiting is not None and waiting.state == "candidate"
    assert attaching.run_waiting(lab.runtime.engine, lab.settings) == []
    for _ in range(2):  # it may be staged again, with a ledger of its own each time
        assert stage(lab, key, "square", 0.0).status == "staged"
        assert lab.audit(key).ok
        gone = back(lab, key, "square")
        assert gone is not None and gone.state == "candidate" and query_arms(lab, key) == before
    stage(lab, key, "square", 0.5)
    lab.play(key, bodies(100, "served-"), world(8))
    shadow = back(lab, key, "square")
    assert shadow is not None and (shadow.state, shadow.back) == ("shadow", None)  # it has decided: it stays an arm
    assert {arm["key"]: round(arm["share"], 9) for arm in query_arms(lab, key)} == {
        "learned": 0.4, "control": 0.3, "uniform": 0.3, "square": 0.0,
    }  # fmt: skip
    with pytest.raises(Conflict, match="has decided"):
        back(lab, key, "square")
    lab.play(key, bodies(150, "again-"), world(9))
    assert numbers(computed(lab, key, "square")) == [
        ("candidate", None), ("shadow", 0.0), ("shadow", 0.0), ("served", 0.5), ("shadow", 0.0),
    ]  # fmt: skip
    assert computed(lab, key, "square").steps[-1].decisions == 150
    assert lab.audit(key).ok
    assert back(lab, key, "coin") is None
    assert [spec.key for spec in candidate_policies.listed(lab.runtime.engine, key)] == ["square"]
    with pytest.raises(NotFound):
        back(lab, key, "control")


def test_the_tab_shows_every_step_and_one_click_leads_back(
    lab: Lab, life: dict[str, Any], editor: Browser, viewer: Browser
) -> None:
    page = f"/admin/experiments/{KEY}/ship"
    shown = viewer.get(page).text
    for words in (
        "Challengers, step by step",
        "Valued on the log",
        "In shadow",
        "With a share of 50%",
        "In production",
        "likes it best at",
    ):
        assert words in shown
    assert (
        "Roll back to the previous shares" not in shown and "Roll back to the previous shares" in editor.get(page).text
    )
    assert viewer.post(f"{page}/challenger-back", {"name": "square"}).status == 403
    refused = editor.post(f"{page}/challenger-back", {"name": "always-b", "reason": ""})
    assert refused.status == 200 and "always-b is one step back" in refused.text
    assert editor.post(f"{page}/challenger-back", {"name": "square"}).status == 200
    assert {arm["key"]: arm["share"] for arm in query_arms(lab, KEY)}["square"] == 0.5
    assert editor.post(f"{page}/challenger-back", {"name": "nobody"}).status == 404
