"""The report "What works for whom" on worlds whose truth is known, through the learner, the worker's code, page and API."""

from typing import Any

import numpy as np
import pytest

from app.reporting import results
from app.reporting.whom import report as whom
from tests.lab import Lab, arm, sound

LEARNS = {"type": "bandit", "algorithm": "squarecb", "parameters": {"bits": 12}, "exploration_floor": 0.1}
CHANCE = {("pro", "b"): 0.7}  # of the other pairs 0.3
PAGE = "/admin/experiments/whom/what-works-for-whom"


def arms(learned: float, control: float, uniform: float) -> list[dict[str, Any]]:
    return [arm("control", control, "a"), arm("learned", learned, LEARNS), arm("even", uniform)]


def bodies(count: int, name: str) -> list[dict[str, Any]]:
    """Two decisions of each unit; the plan matters, the colour does not."""
    random = np.random.default_rng(len(name) + count)
    plans, colours = random.integers(0, 2, count), random.integers(0, 3, count)
    return [
        {
            "unit_id": f"{name}{n // 2}",
            "context": {
                "plan": ("free", "pro")[plans[n // 2]],
                "colour": ("red", "blue", "green")[colours[n // 2]],
                "age": 18 + int(plans[n // 2] + 5 * (n // 2 % 9)),
            },
        }
        for n in range(count)
    ]


def world(seed: int) -> Any:
    random = np.random.default_rng(seed)
    return lambda body, one: float(random.random() < CHANCE.get((body["context"]["plan"], one["action"]["id"]), 0.3))


@pytest.fixture(scope="module")
def report(lab: Lab) -> dict[str, Any]:
    """Four rounds of a learning arm beside a fixed and a uniform one, through a change of the shares."""
    lab.make("whom", arms=arms(0.5, 0.3, 0.2), control_arm="control", segments=["plan", "colour", "age"])
    for turn in range(4):
        if turn == 2:
            lab.change("whom", arms=arms(0.6, 0.2, 0.2))
        lab.play("whom", bodies(1000, f"turn{turn}-"), world(turn))
    for segment in (None, "plan", "colour", "age"):
        results.compute(lab.runtime.engine, "whom", segment)
    assert "whom" in whom.compute_due(lab.runtime.engine, lab.settings)
    return dict(sound(whom.stored(lab.runtime.engine, "whom").as_json()))


def test_x(report: dict[str, Any]) -> None:
    import json

    print(json.dumps(report, indent=1)[:20000])
    print(report["seconds"], "\n".join(report["findings"]))
    raise AssertionError
