"""A search over many candidates: null candidates are rarely promoted, a better candidate usually is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.off_policy import estimators, verdict, verdict_words
from experiments.policy_reports import candidates, report_lines
from experiments.policy_reports.candidates import Gap

SOUND = verdict.Verdict(verdict.Status.IDENTIFIED, ())
BROKEN = verdict.Verdict(
    verdict.Status.NOT_IDENTIFIED, (verdict.Reason("mean_weight", {"mean": 2.0, "z": 9.0}, 9.0, 3.0, True),)
)


def search(seed: int, best: float) -> list[candidates.Candidate]:
    """20 candidates on one log of 1,500 rounds with 4 actions; `best` is added to action 0's reward rate of .3."""
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 4, 1500)
    r = (rng.random(1500) < 0.3 + best * (a == 0)).astype(float)
    policies = np.vstack([[0.85, 0.05, 0.05, 0.05], rng.dirichlet([1] * 4, 19)])
    rows = [estimators.snips(4 * p[a], r) for p in policies]
    gaps = candidates.differences(rows, estimators.logged_value(r))
    return candidates.judge([f"c{i}" for i in range(20)], gaps, [SOUND] * 20)


def test_among_twenty_null_candidates_one_is_promoted_in_at_most_five_percent_of_runs() -> None:
    promoted = [any(c.promoted for c in search(seed, 0.0)) for seed in range(500)]
    assert np.mean(promoted) <= 0.05


def test_a_better_policy_is_promoted_and_its_interval_covers_the_gain() -> None:
    result = [search(seed, 0.2)[0] for seed in range(60)]
    gain = 0.2 * (0.85 - 0.25)
    assert np.mean([c.promoted for c in result]) > 0.9
    assert np.mean([c.interval.covers(gain) for c in result]) > 0.95


def test_a_candidate_that_is_not_identified_is_never_promoted_and_still_counts() -> None:
    gaps = [Gap(1.0, 0.1), Gap(0.15, 0.1), Gap(0.0, 0.0)]
    result = candidates.judge(["a", "b", "same"], gaps, [BROKEN, SOUND, SOUND])
    assert [c.promoted for c in result] == [False, False, False]
    assert "mean weight is 2" in result[0].reason
    assert "not shown" in result[1].reason
    assert result[1].adjusted_p == pytest.approx(3 * result[1].p_value)
    assert not result[2].interval.exists
    assert result[2].interval.reason


def test_a_minimum_effect_makes_promotion_harder() -> None:
    assert candidates.judge(["a"], [Gap(0.3, 0.1)], [SOUND])[0].promoted
    assert not candidates.judge(["a"], [Gap(0.3, 0.1)], [SOUND], minimum_effect=0.2)[0].promoted
    assert candidates.detectable_difference(0.1, 20) > candidates.detectable_difference(0.1, 1) > 0.2


def test_every_estimator_interval_and_verdict_code_is_explained_in_the_statistics_guide() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text()
    for name in (*report_lines.ESTIMATORS, *report_lines.INTERVALS):
        assert f"`{name}`" in guide, name
    source = Path(verdict.__file__).read_text()
    codes = {line.split('Reason("')[1].split('"')[0] for line in source.splitlines() if 'return Reason("' in line}
    assert codes == set(verdict_words.WORDS) - verdict_words.OF_THE_PLATFORM
    for code in verdict_words.WORDS:
        assert f"`{code}`" in guide, code


@pytest.mark.parametrize("gap", [-0.4, -0.02, 0.0, 0.21, 0.24, 0.26, 0.3, 0.5])
@pytest.mark.parametrize("freedom", [3.0, 40.0])
@pytest.mark.parametrize("count", [1, 5])
def test_a_corrected_p_is_below_alpha_exactly_when_the_interval_excludes_the_minimum_effect(
    gap: float, freedom: float, count: int
) -> None:
    for effect in (0.0, 0.05):
        gaps = [Gap(gap, 0.1, freedom)] * count
        (first, *_) = candidates.judge([f"c{i}" for i in range(count)], gaps, [SOUND] * count, minimum_effect=effect)
        assert first.interval.low is not None
        assert first.interval.high is not None
        assert (first.adjusted_p < 0.05) == (not first.interval.covers(effect))
        assert first.promoted == (first.interval.low > effect)
