"""Reference data as fixtures, and numpy warnings as errors: a warning that reaches a user is a defect."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from experiments.off_policy.estimators import importance_weights

REFERENCE = Path(__file__).parent / "reference"
Floats = npt.NDArray[np.float64]


class Log(NamedTuple):
    w: Floats
    r: Floats
    q: Floats
    v: Floats
    propensity: Floats
    target: Floats


@pytest.fixture(autouse=True)
def numpy_warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


@pytest.fixture(scope="session")
def reference() -> Path:
    return REFERENCE


@pytest.fixture(scope="session")
def expected() -> dict[str, Any]:
    result: dict[str, Any] = json.loads((REFERENCE / "expected.json").read_text())
    return result


def read_log(name: str) -> Log:
    d = pd.read_csv(REFERENCE / f"{name}.csv")
    p, e, r, q, v = (d[c].to_numpy(np.float64) for c in ("pscore", "p_eval", "reward", "q_logged", "v_dm"))
    return Log(importance_weights(p, e), r, q, v, p, e)


@pytest.fixture(scope="session")
def synthetic() -> Log:
    return read_log("syn_binary")


@pytest.fixture(scope="session")
def logs(synthetic: Log) -> dict[str, Log]:
    names = ("obd_rows_men_random_to_bts", "obd_rows_men_bts_to_random")
    return {"syn_binary": synthetic} | {name: read_log(name) for name in names}


@pytest.fixture(scope="session")
def users() -> pd.DataFrame:
    return pd.read_csv(REFERENCE / "ab_users.csv")
