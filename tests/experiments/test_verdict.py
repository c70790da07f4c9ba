"""The gate of a log: each limit exactly at its number, each reason with its figures, and the worst of them as the status."""

from typing import Any

import pytest

from experiments.off_policy.verdict import Diagnostics, Reason, Status, judge, unsupported_mass, weight_z
from experiments.off_policy.verdict_words import OF_THE_PLATFORM, WORDS, page_sentence, sentence

SOUND = Diagnostics(10_000, 1.01, 0.01, 3000.0, 20.0, 0.0, 0.5, 800.0, 50.0)


def reasons(**change: Any) -> tuple[Reason, ...]:
    """What the gate finds in a log that is sound but for a change."""
    return judge(SOUND._replace(**change)).reasons


def only(**change: Any) -> Reason:
    (reason,) = reasons(**change)
    return reason


def test_limits_are_those_of_the_guide() -> None:
    """docs/statistics.md, "Verdict"."""
    heavy = {"mean_weight": 1.0, "max_weight": 500.1}
    limits = {
        reason.code: (reason.limit, reason.fatal)
        for reason in (
            only(mean_weight=1.04),
            only(effective_sample_size=99.9),
            only(**heavy),
            only(unsupported_mass=0.011),
            only(disagreement=3.01),
            only(effective_rewards=74.9),
            only(possible_weight=134.0),
            only(units=8, effective_units=9.9),
            only(mean_weight=1.04, mean_weight_error=0.0),
        )
    }
    assert limits == {
        "mean_weight": (3.0, True),
        "effective_sample_size": (100.0, True),
        "row_dominance": (0.05, True),
        "unsupported": (0.01, True),
        "estimator_disagreement": (3.0, False),
        "rare_rewards": (75.0, False),
        "unseen_weights": (75.0, False),
        "effective_units": (10.0, True),
        "mean_weight_constant": (3.0, True),
    }
    assert {*limits, "no_weight"} == set(WORDS) - OF_THE_PLATFORM


@pytest.mark.parametrize(
    "change",
    [
        {"mean_weight": 1.75, "mean_weight_error": 0.25, "max_weight": 1.0},
        {"mean_weight": 0.25, "mean_weight_error": 0.25, "max_weight": 1.0},
        {"effective_sample_size": 100.0},
        {"rows": 40_000, "effective_sample_size": 200.0},
        {"mean_weight": 1.0, "max_weight": 500.0},
        {"unsupported_mass": 0.01},
        {"disagreement": 3.0},
        {"effective_rewards": 75.0},
        {"rows": 7500, "possible_weight": 100.0},
        {"units": 10, "effective_units": 10.0},
        {"unsupported_mass": None, "disagreement": None, "effective_rewards": None, "possible_weight": None},
    ],
)
def test_a_number_exactly_at_its_limit_passes_and_an_unknown_one_too(change: dict[str, Any]) -> None:
    result = judge(SOUND._replace(**change))
    assert (result.status, result.reasons, result.identified) == (Status.IDENTIFIED, (), True)


@pytest.mark.parametrize(
    ("change", "value", "words"),
    [
        ({"mean_weight": 1.04}, 4.0, "the mean weight is 1.04, +4.0 standard errors from 1: "),
        ({"mean_weight": 0.96}, -4.0, "the mean weight is 0.96, -4.0 standard errors from 1: "),
        ({"mean_weight": 1.04, "mean_weight_error": 0.0}, None, "the mean weight is 1.04, with no spread at all: "),
        ({"mean_weight": 1.04, "mean_weight_error": None}, None, "the mean weight is 1.04, with no spread at all: "),
        ({"effective_sample_size": 99.9}, 99.9, "the effective sample size is 99.9 of 10000 rows, below 100: "),
        (
            {"rows": 40_000, "effective_sample_size": 199.0},
            199.0,
            "the effective sample size is 199.0 of 40000 rows, below 200: ",
        ),
        ({"mean_weight": 1.0, "max_weight": 600.0}, 0.06, "one row carries 6.0% of all weight (limit 5%): "),
        (
            {"unsupported_mass": 0.02},
            0.02,
            "2.0% of the target's choices fall on actions that were never logged (limit 1%): ",
        ),
        ({"disagreement": 3.5}, 3.5, "DR and SNIPS differ by 3.5 standard errors of their paired difference: "),
        ({"effective_rewards": 74.5}, 74.5, "only 74.5 effective rewards (or failures, whichever are rarer) "),
        (
            {"possible_weight": 200.0},
            50.0,
            "a weight of 200.0 is possible, and there are only 50 rows for each unit of it: ",
        ),
        ({"units": 8, "effective_units": 7.5}, 7.5, "the weight rests on 7.5 effective units of 8, below 10: "),
    ],
)
def test_a_reason_holds_the_measured_number_and_says_it(
    change: dict[str, Any], value: float | None, words: str
) -> None:
    reason = only(**change)
    assert reason.value == (None if value is None else pytest.approx(value))
    assert sentence(reason).startswith(words)
    assert page_sentence(reason.code, reason.params)


@pytest.mark.parametrize(("weight", "limit"), [(100.0, 100.0), (19_999.0, 100.0), (20_002.0, 100.01)])
def test_the_least_effective_size_is_a_hundred_or_half_a_percent_of_the_rows(weight: float, limit: float) -> None:
    rows = int(weight)
    dropped = next(r for r in reasons(rows=rows, effective_sample_size=1.0) if r.code == "effective_sample_size")
    assert dropped.limit == pytest.approx(limit)


@pytest.mark.parametrize("mean", [0.0, -0.5])
def test_a_log_without_any_weight_is_not_identified_and_says_so(mean: float) -> None:
    (dominance,) = (reason for reason in reasons(mean_weight=mean, max_weight=0.0) if reason.code == "no_weight")
    assert (dominance.value, dominance.fatal) == (1.0, True)
    assert sentence(dominance) == "no row carries any weight: the log never chose what the target policy would choose"


def test_a_log_with_little_weight_is_judged_by_its_largest_share() -> None:
    dominance = [r for r in reasons(mean_weight=0.00005, max_weight=0.02) if r.code == "row_dominance"]
    assert dominance == []  # all weight is 0.5, of which one row has 4%
    (alone,) = (r for r in reasons(mean_weight=0.00005, max_weight=0.5) if r.code == "row_dominance")
    assert sentence(alone).startswith("one row carries 100.0% of all weight")


@pytest.mark.parametrize(
    ("mean", "error", "z"),
    [
        (1.0, 0.0, 0.0),
        (1.0 + 9e-10, 0.0, 0.0),
        (1.0 - 9e-10, None, 0.0),
        (1.0 + 1.1e-9, 0.0, None),
        (1.5, 0.25, 2.0),
        (0.5, 0.25, -2.0),
        (1.5, None, None),
    ],
)
def test_the_distance_of_the_mean_weight_is_in_standard_errors(
    mean: float, error: float | None, z: float | None
) -> None:
    assert weight_z(SOUND._replace(mean_weight=mean, mean_weight_error=error)) == z


def test_the_worst_reason_is_the_status() -> None:
    warned = judge(SOUND._replace(disagreement=3.1, effective_rewards=10.0))
    assert ([r.code for r in warned.reasons], warned.status) == (["estimator_disagreement", "rare_rewards"], "warning")
    assert warned.identified
    refused = judge(SOUND._replace(disagreement=3.1, unsupported_mass=0.5))
    assert ([r.code for r in refused.reasons], refused.status) == (
        ["unsupported", "estimator_disagreement"],
        "not_identified",
    )
    assert not refused.identified
    assert [*Status] == ["identified", "warning", "not_identified"]


def test_unknown_numbers_are_unknown_unless_they_are_given() -> None:
    least = Diagnostics(10_000, 1.0, 0.01, 3000.0, 20.0)
    assert set(least[5:]) == {None}
    assert judge(least) == (Status.IDENTIFIED, ())


def test_unsupported_mass_is_the_probability_on_actions_that_were_never_logged() -> None:
    assert unsupported_mass([0.5, 0.25, 0.125, 0.125], [10, 0, 1, 0]) == 0.375
    with pytest.raises(ValueError, match="zip"):
        unsupported_mass([0.5, 0.5], [1])
