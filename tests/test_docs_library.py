"""docs/library.md: its examples run as they stand, in order; labels get a sentence."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments import frames
from experiments.ab_report import Metric, compare_variants
from experiments.policy_reports.report import evaluate_rows
from experiments.validation import DataError

GUIDE = (Path(__file__).resolve().parents[1] / "docs" / "library.md").read_text(encoding="utf-8")


def test_the_examples_run_as_they_stand() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)  # noqa: S102 - our own guide


def test_labels_and_wrong_columns_get_a_sentence() -> None:
    values = np.ones(4)
    labels = np.array(["a", "b", "a", "b"])
    frame = pd.DataFrame({"arm": labels, "value": labels, "gap": ["a", None, "b", "b"]})
    with pytest.raises(DataError, match="variant holds labels"):
        compare_variants(labels, 2, 0, [Metric("m", "mean", values)])  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"variant is 2 at row 3"):
        compare_variants(np.array([0, 1, 0, 2]), 2, 0, [Metric("m", "mean", values)])
    with pytest.raises(DataError, match="unit holds labels"):
        evaluate_rows(values, values, values, unit=labels)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no column 'price'"):
        frames.compare(frame, "arm", "a", {"price": "mean"})
    with pytest.raises(DataError, match="not a number"):
        frames.compare(frame, "arm", "a", {"value": "mean"})
    with pytest.raises(DataError, match="no label at row 1"):
        frames.compare(frame, "gap", "a", {"value": "mean"})
    with pytest.raises(DataError, match="no 'z'"):
        frames.compare(frame, "arm", "z", {"value": "mean"})
