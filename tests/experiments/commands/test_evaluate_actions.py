"""`loopwise evaluate` with values by action."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from app.commands.files import evaluate
from experiments.off_policy import adaptive
from tests.experiments.commands.evaluate_support import COLUMNS, refused, run, write

ACTIONS = ("--action", "arm", "--probabilities", "2=e2,0=e0,1=e1")


@pytest.fixture
def bandit(reference: Path) -> pd.DataFrame:
    log = pd.read_csv(reference / "adaptive_mab_signal.csv")
    log["pscore"] = log[["e0", "e1", "e2"]].to_numpy()[np.arange(len(log)), log.arm]
    log["p_eval"] = log.pscore
    return log


def test_values_by_action_are_weighted_by_stretches_of_time(
    bandit: pd.DataFrame, tmp_path: Path, expected: Any
) -> None:
    """The authors' code weights by row here, which this log without contexts allows; scores are the same."""
    result = run(write(bandit, tmp_path / "a.csv"), *COLUMNS, *ACTIONS)["actions"]
    known = expected["adaptive_mab_signal"]
    assert list(result) == ["2", "0", "1"]
    e, part = bandit[["e0", "e1", "e2"]].to_numpy(), np.arange(len(bandit)) * 20 // len(bandit)
    scores = adaptive.arm_scores(bandit.reward, bandit.arm, e, adaptive.running_means(bandit.reward, bandit.arm, 3))
    by_row = known["arm_values"]["aipw_stablevar_sqrt_e"]
    for arm in range(3):
        means = pd.Series(1 / e[:, arm]).groupby(part).mean()
        weights = (means.shift(1).fillna(means.iloc[0]) ** -0.5).to_numpy()[part]
        line = result[str(arm)]
        assert line["value"] == pytest.approx(np.average(scores[:, arm], weights=weights), rel=1e-9)
        assert line["interval"][0] <= known["truth"][arm] <= line["interval"][1]
        assert abs(line["value"] - by_row["estimate"][arm]) < by_row["stderr"][arm] / 2
    assert result["2"]["minus_first"] is None
    for arm in range(2):
        difference = result[str(arm)]["minus_first"]
        assert difference["value"] == pytest.approx(result[str(arm)]["value"] - result["2"]["value"], rel=1e-9)


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
