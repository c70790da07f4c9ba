"""A small twin of benchmarks/coverage_vw.py: logs that the platform's own squarecb policy collected."""

import numpy as np
import pytest

from bandits.model import initial_model, learn
from benchmarks import coverage_vw
from benchmarks.coverage import ACTIONS, CONTEXTS, Tally, make_world

pytestmark = pytest.mark.slow

RUNS, COUNT, ROWS = 24, 5, 200
RATE = 0.9


@pytest.fixture(scope="module")
def tally() -> Tally:
    return coverage_vw.some_runs(RATE, 0, RUNS, rows=ROWS, count=COUNT)


@pytest.mark.parametrize(
    ("name", "least"),
    [
        # P(fewer covered) is 2 in 10,000 for an interval that really covers 95% of the time.
        ("ips cressie_read", 18),
        ("ips empirical_likelihood", 18),
        ("ips confidence_sequence", 18),
        ("confidence_sequence, every batch", 18),
    ],
)
def test_intervals_cover_on_logs_that_vowpal_wabbit_collected(tally: Tally, name: str, least: int) -> None:
    assert len(tally.hits[name]) == RUNS
    assert sum(tally.hits[name]) >= least


def test_every_batch_is_logged_with_what_was_served_and_learned_from_once() -> None:
    world, model = make_world(RATE), initial_model(coverage_vw.SQUARECB)
    for step, batch in enumerate(coverage_vw.batches(world, ROWS, np.random.default_rng(5), COUNT)):
        served = coverage_vw.serve(model) if step else np.full((CONTEXTS, ACTIONS), 1 / ACTIONS)
        assert np.array_equal(batch.p, served)
        assert batch.p.min() >= coverage_vw.LOWEST - 1e-12
        assert np.allclose(batch.p.sum(axis=1), 1, atol=1e-12)
        assert [example.propensity for example in coverage_vw.examples(batch)] == pytest.approx(
            batch.p[batch.x, batch.chosen], abs=0
        )
        model = learn(model, coverage_vw.SQUARECB, coverage_vw.examples(batch))
    assert batch.p.max() > 0.5, "the last batch should follow what was learned"


def test_weights_have_mean_one_within_their_known_bound_and_predictions_come_from_earlier_batches() -> None:
    logs = coverage_vw.collect(make_world(RATE), 2000, np.random.default_rng(6), COUNT)
    w = logs.w[0]
    assert w.max() <= logs.max_weight
    assert abs(w.mean() - 1) < 4 * w.std() / len(w) ** 0.5
    assert not logs.q[0, :2000].any(), "nothing is known in the first batch"
    assert not logs.v[0, :2000].any(), "nothing is known in the first batch"
    assert abs(logs.q[0, -2000:].mean() - logs.r[0, -2000:].mean()) < 0.05


def test_the_same_run_gives_the_same_log_whatever_ran_before() -> None:
    alone = coverage_vw.some_runs(RATE, 1, 1, rows=50, count=2)
    both = coverage_vw.some_runs(RATE, 0, 2, rows=50, count=2)
    assert alone.widths["dr normal"] == both.widths["dr normal"][1:]
    first = coverage_vw.some_runs(RATE, 0, 1, rows=50, count=2)
    coverage_vw.extend(first, alone)
    assert (first.hits, first.widths, first.refused) == (both.hits, both.widths, both.refused)
