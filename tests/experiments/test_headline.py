"""What a report leads with: the always-valid interval, never narrower than the one-look interval beside it."""

import numpy as np
import pytest

from experiments.policy_reports import report
from experiments.policy_reports.headline import ENLARGED, headline, hull
from experiments.policy_reports.report import Assumptions, ModelColumns, OffPolicyReport, evaluate_rows
from experiments.results import Interval, missing
from experiments.validation import DataError

UNIT = (0.0, 1.0)


def evaluated(rate: float, rows: int = 4000, *, with_model: bool = False, known: bool = True) -> OffPolicyReport:
    rng = np.random.default_rng(3)
    a = rng.integers(0, 4, rows)
    target = np.array([0.1, 0.2, 0.3, 0.4])
    r = (rng.random(rows) < rate).astype(float)
    model = ModelColumns(np.full(rows, rate), np.full(rows, rate)) if with_model else None
    assumptions = Assumptions(max_weight=1.6 if known else None, reward_range=UNIT)
    return evaluate_rows(np.full(rows, 0.25), target[a], r, model=model, assumptions=assumptions)


@pytest.mark.parametrize(
    ("rate", "with_model", "known", "estimator", "method"),
    [
        (0.3, False, True, "snips", "normal"),
        (0.3, True, True, "dr", "normal"),
        (0.005, True, True, "snips", "cressie_read"),
        (0.005, False, False, "snips", "cressie_read"),
    ],
)
def test_the_headline_does_not_assume_more_than_the_log_supports(
    rate: float, with_model: bool, known: bool, estimator: str, method: str
) -> None:
    found = evaluated(rate, with_model=with_model, known=known)
    lead = found.headline
    assert (lead.estimator, lead.one_look_method) == (estimator, method)
    assert lead.value == found.estimators[estimator].value
    assert lead.always_valid.covers(rate)
    assert lead.always_valid.low is not None
    assert lead.always_valid.high is not None
    assert lead.one_look.low is not None
    assert lead.one_look.high is not None
    assert lead.always_valid.low <= lead.one_look.low <= lead.one_look.high <= lead.always_valid.high


def test_the_largest_weight_of_each_row_makes_the_sequence_narrower() -> None:
    rng, n = np.random.default_rng(5), 3000
    heavy = rng.random(n) < 0.002
    p = np.where(heavy, 0.0025, 0.5)
    r = (rng.random(n) < 0.9).astype(float)
    chosen = rng.random(n) < p
    own, target = np.where(chosen, p, 1 - p), np.where(heavy, 0.5, np.where(chosen, 0.8, 0.2))
    rows = np.where(heavy, 200.0, 1.6)
    common = Assumptions(max_weight=200.0, reward_range=UNIT)
    one = evaluate_rows(own, target, r, assumptions=common).estimators["snips"].intervals["always_valid"]
    each = evaluate_rows(own, target, r, assumptions=common._replace(possible_weight=rows))
    width = each.estimators["snips"].intervals["always_valid"]
    assert (width.high or 1) - (width.low or 0) < (one.high or 1) - (one.low or 0)
    with pytest.raises(DataError, match="do not fit the rows"):
        evaluate_rows(own, target, r, assumptions=common._replace(possible_weight=rows[1:]))


def test_a_sequence_is_enlarged_to_hold_the_look_beside_it() -> None:
    inside = Interval(0.2, 0.6)
    assert hull(inside, Interval(0.3, 0.5)) == inside
    assert hull(inside, Interval(0.1, 0.5)) == Interval(0.1, 0.6, note=ENLARGED)
    assert hull(inside._replace(note="of units"), Interval(0.3, 0.7)).note == f"of units; {ENLARGED}"
    assert hull(missing("shut"), Interval(0.1, 0.5)).reason == "shut"
    assert hull(inside, missing("none")) == inside


def test_a_report_without_any_weight_has_no_value_and_no_headline_interval() -> None:
    found = evaluate_rows(np.full(200, 0.5), np.zeros(200), np.ones(200))
    assert found.headline.value is None
    assert not found.headline.always_valid.exists
    assert {reason.code for reason in found.verdict.reasons} >= {"no_weight"}
    assert headline(found.estimators, found.verdict, clustered=False) == found.headline


def test_rows_that_are_all_alike_have_a_report() -> None:
    found = evaluate_rows(np.full(300, 0.5), np.full(300, 0.5), np.ones(300))
    assert found.headline.value == 1.0
    assert found.headline.always_valid.covers(1.0)


@pytest.mark.parametrize("propensity", [1e-80, 1e-200, 5e-324])
def test_a_weight_whose_square_is_beyond_computing_is_refused_in_one_sentence(propensity: float) -> None:
    p = np.r_[np.full(50, 0.5), propensity]
    with pytest.raises(DataError, match=r"^propensity is .* at row 50 .*: its weight exceeds 1e\+75"):
        report.evaluate_rows(p, np.ones(51), np.ones(51))


def test_large_weights_and_rewards_that_can_be_computed_end_in_a_verdict() -> None:
    p = np.r_[np.full(500, 0.5), 1e-70]
    found = report.evaluate_rows(p, np.r_[np.full(500, 0.5), 1.0], np.ones(501))
    assert not found.verdict.identified
    with pytest.raises(DataError, match="reward is 1e\\+80"):
        report.evaluate_rows(np.full(3, 0.5), np.full(3, 0.5), np.array([0.0, 1.0, 1e80]))
