"""What the tests of `loopwise evaluate` share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from click.testing import CliRunner

from app.commands.files import evaluate

COLUMNS = ("--propensity", "pscore", "--target-probability", "p_eval", "--reward", "reward")


def run(path: Path, *options: str) -> dict[str, Any]:
    result = CliRunner().invoke(evaluate, [str(path), *options, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def refused(path: Path, *options: str) -> str:
    result = CliRunner().invoke(evaluate, [str(path), *options], catch_exceptions=False)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    return result.stderr


def write(rows: pd.DataFrame, path: Path) -> Path:
    rows.to_csv(path, index=False)
    return path
