"""The tab Ship: the verdict's button, a ramp, the shipped state, the way back, and an end that asks what callers get."""

import numpy as np
import pytest

from tests.lab import Lab, arm
from tests.page_client import Browser

ARMS = [arm("control", 0.5, "a"), arm("treated", 0.5, "b")]
PAGE = "/admin/experiments/{}/ship"


@pytest.fixture(scope="module")
def better(lab: Lab) -> str:
    rng = np.random.default_rng(1)
    lab.make("better", arms=ARMS, control_arm="control")
    bodies = [{"unit_id": f"u{n}"} for n in range(1500)]
    rates = {"control": 0.2, "treated": 0.4}
    lab.play("better", bodies, lambda _, answer: float(rng.random() < rates[answer["arm"]]))
    lab.results("better")
    return "better"


def test_a_verdict_leads_to_everybody_and_back(better: str, editor: Browser, viewer: Browser) -> None:
    results = editor.get(f"/admin/experiments/{better}/results")
    assert "Ship treated" in results.text
    page = editor.get(PAGE.format(better) + "?arm=treated")
    assert "Ship an arm" in page.text and "The decision rule says: ship treated" in page.text
    sent = {"arm": "treated", "how": "now", "holdout": "5", "reason": "It earns twice as much."}
    assert viewer.post(PAGE.format(better), sent).status == 403
    done = editor.post(PAGE.format(better), sent)
    assert "treated decides for everybody but 5% of the users, who stay with control" in done.text
    assert "It earns twice as much." in done.text and "Ship an arm" not in done.text
    assert (
        "These are the results at which treated was shipped." in editor.get(f"/admin/experiments/{better}/results").text
    )
    assert "shipped" in editor.get("/admin/?status=shipped").text
    back = editor.post(f"{PAGE.format(better)}/turn", {"do": "back", "reason": "a complaint"})
    assert "Ship an arm" in back.text
    log = editor.get(f"/admin/experiments/{better}/log").text
    assert "shipped an arm" in log and "rolled back to the previous shares" in log and "a complaint" in log


def test_a_ramp_shows_its_gate_and_its_steps(lab: Lab, editor: Browser) -> None:
    lab.make("ramp", arms=ARMS, control_arm="control")
    page = editor.post(
        PAGE.format("ramp"), {"arm": "treated", "how": "ramp", "min_hours": "1.5", "by": "hand", "reason": "careful"}
    )
    assert "treated has 5% of the users. The gate is shut." in page.text
    assert "lasts at least 1.5" in page.text and "A person takes each step." in page.text
    page = editor.post(f"{PAGE.format('ramp')}/turn", {"do": "advance"})
    assert "treated has 25% of the users." in page.text


def test_what_was_typed_stays_beside_what_is_wrong(lab: Lab, editor: Browser) -> None:
    lab.make("typed", arms=ARMS, control_arm="control")
    page = editor.post(PAGE.format("typed"), {"arm": "treated", "how": "now", "holdout": "many", "reason": ""})
    assert page.status == 422 and "Write a number, such as 5." in page.text and 'value="many"' in page.html
    assert "Give a reason" in page.text
    page = editor.post(PAGE.format("typed"), {"arm": "control", "how": "now", "holdout": "5", "reason": "x"})
    assert page.status == 422 and "The control needs no holdout of itself" in page.text
    page = editor.post("/admin/experiments/typed/conclude", {"conclusion": "nothing", "callers": "later"})
    assert page.status == 422 and "Write the time from which calls are refused" in page.text


def test_an_end_asks_what_callers_get(lab: Lab, editor: Browser) -> None:
    lab.make("ends", arms=ARMS, control_arm="control")
    page = editor.post("/admin/experiments/ends/conclude", {"conclusion": "Nothing helped."})
    assert page.status == 422 and "Choose what your app receives from now on." in page.text
    page = editor.post("/admin/experiments/ends/conclude", {"conclusion": "Nothing helped.", "callers": "control"})
    assert "control decides for everybody" in page.text and "Nothing helped." in page.text
    page = editor.post("/admin/experiments/ends/conclude", {"conclusion": "Removed from the app.", "callers": "error"})
    assert page.status == 200 and "Concluded." in page.text and "Removed from the app." in page.text
