"""`loopwise evaluate` with values by action."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from app.commands.files import evaluate
from tests.experiments.commands.evaluate_support import COLUMNS, refused, run, write

ACTIONS = ("--action", "arm", "--probabilities", "2=e2,0=e0,1=e1")


@pytest.fixture
def bandit(reference: Path) -> pd.DataFrame:
    log = pd.read_csv(reference / "adaptive_mab_signal.csv")
    log["pscore"] = log[["e0", "e1", "e2"]].to_numpy()[np.arange(len(log)), log.arm]
    log["p_eval"] = log.pscore
    return log


def test_values_by_action_equal_the_authors_code(bandit: pd.DataFrame, tmp_path: Path, expected: Any) -> None:
    result = run(write(bandit, tmp_path / "a.csv"), *COLUMNS, *ACTIONS)["actions"]
    known = expected["adaptive_mab_signal"]
    values = known["arm_values"]["aipw_stablevar_sqrt_e"]
    assert list(result) == ["2", "0", "1"]
    for arm in range(3):
        line, radius = result[str(arm)], values["ci_radius"][arm]
        assert line["value"] == pytest.approx(values["estimate"][arm], rel=1e-9)
        assert line["std_error"] == pytest.approx(values["stderr"][arm], rel=1e-9)
        assert line["interval"] == pytest.approx([line["value"] - radius, line["value"] + radius], rel=1e-9)
    contrasts = known["contrasts_last_minus_each"]["aipw_stablevar_sqrt_e"]
    assert result["2"]["minus_first"] is None
    for arm in range(2):
        assert result[str(arm)]["minus_first"]["value"] == pytest.approx(-contrasts["estimate"][arm], rel=1e-9)
        assert result[str(arm)]["minus_first"]["std_error"] == pytest.approx(contrasts["stderr"][arm], rel=1e-9)


def test_units_widen_the_errors_of_values_by_action(bandit: pd.DataFrame, tmp_path: Path) -> None:
    doubled = bandit.loc[bandit.index.repeat(2)].reset_index(drop=True)
    doubled["user"] = [f"u{i // 2}" for i in range(len(doubled))]
    path = write(doubled, tmp_path / "a.csv")
    plain = run(path, *COLUMNS, *ACTIONS)["actions"]
    clustered = run(path, *COLUMNS, *ACTIONS, "--unit", "user")["actions"]
    for action, line in clustered.items():
        assert line["value"] == plain[action]["value"]
        assert line["std_error"] == pytest.approx(2**0.5 * plain[action]["std_error"], rel=0.02)


def test_values_by_action_need_every_action_and_true_probabilities(bandit: pd.DataFrame, tmp_path: Path) -> None:
    path = write(bandit, tmp_path / "a.csv")
    assert "only one of --action and --probabilities" in refused(path, *COLUMNS, "--action", "arm").lower()
    assert "not understood" in refused(path, *COLUMNS, "--action", "arm", "--probabilities", "e0,e1")
    assert "action 2 has no column" in refused(path, *COLUMNS, "--action", "arm", "--probabilities", "0=e0,1=e1")
    swapped = ("--action", "arm", "--probabilities", "0=e1,1=e0,2=e2")
    assert "says otherwise" in refused(path, *COLUMNS, *swapped)
    text = CliRunner().invoke(evaluate, [str(path), *COLUMNS, *ACTIONS]).stdout
    assert "Value of each action" in text
    assert "minus the first" in text
