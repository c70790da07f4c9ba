"""A log whose shares ramped while the world changed, imported: two equal arms stay equal, and nothing is found wrong with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.files.exporting import export_log
from app.files.transfer import import_log
from app.off_policy import evaluations
from app.off_policy.evaluation_request import EvaluationRequest
from tests.lab import Lab, arm

UP, THERE_AND_BACK = (0.05, 0.2, 0.5), (0.05, 0.5, 0.05)


def arms(share: float) -> list[dict[str, Any]]:
    return [arm("control", 1 - share, "a"), arm("treated", share, "b")]


def ramped(lab: Lab, key: str, steps: tuple[float, ...], folder: Path) -> str:
    """Rewards go from 0.2 to 0.7 while the shares change; a third of the units come back after each change."""
    random = np.random.default_rng(2)
    lab.make(key, arms=arms(steps[0]), control_arm="control", decision_rule={"min_units": 50})
    for step, share in enumerate(steps):
        if step:
            lab.change(key, arms=arms(share))
        level, back = 0.2 + 0.25 * step, range(0, 1000, 3) if step else ()
        names = [*(f"s{step}-{n}" for n in range(1000)), *(f"s{step - 1}-{n}" for n in back)]
        lab.play(key, [{"unit_id": name} for name in names], lambda *_, at=level: float(random.random() < at))
    path = folder / f"{key}.jsonl"
    export_log(lab.runtime.engine, lab.settings, key, path)
    import_log(lab.runtime.engine, path, f"{key}-copy")
    return f"{key}-copy"


@pytest.mark.parametrize("steps", [UP, THERE_AND_BACK])
def test_equal_arms_of_an_imported_ramp_stay_equal(lab: Lab, tmp_path: Path, steps: tuple[float, ...]) -> None:
    key = f"ramp-{steps[-1]}"
    copy = ramped(lab, key, steps, tmp_path)
    own, found = lab.results(key), lab.results(copy)
    assert found["sample_ratio"]["observed"] == own["sample_ratio"]["observed"]
    assert found["sample_ratio"]["expected"] == pytest.approx(own["sample_ratio"]["expected"])
    assert not found["sample_ratio"]["alert"] and found["decision"]["verdict"] not in ("ship", "stop")
    (line,) = found["metrics"][0]["comparisons"]
    assert line["always_valid"]["interval"]["low"] < 0 < line["always_valid"]["interval"]["high"]
    rewards = lab.outcomes(copy).groupby("arm").reward.mean()
    assert steps != UP or rewards["treated"] > rewards["control"] + 0.1  # plain means would find a winner


def test_an_evaluation_of_an_imported_ramp_finds_no_winner(lab: Lab, tmp_path: Path) -> None:
    copy = ramped(lab, "valued", UP, tmp_path)
    evaluations.ask(lab.runtime.engine, copy, EvaluationRequest(), "test")
    evaluations.run_waiting(lab.runtime.engine, lab.settings)
    answer = evaluations.newest_done(lab.runtime.engine, copy)
    assert answer is not None and answer.result is not None and answer.result.search.winner is None
    for policy in answer.result.policies:
        gap = None if policy.against_running is None else policy.against_running.interval
        assert gap is None or gap.low is None or gap.low < 0 < (gap.high or 0.0), policy.policy
