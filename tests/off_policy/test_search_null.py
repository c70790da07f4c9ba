"""The small twin of `python -m benchmarks.search_null`."""

import pytest

from benchmarks.search_null import share
from benchmarks.tuning_null import promotes


def test_among_twenty_null_candidates_with_clusters_few_runs_promote_one() -> None:
    found, _ = share(120)
    assert found <= 0.05


def test_without_the_clusters_more_runs_would() -> None:
    assert share(60, clustered=False)[0] > share(60)[0]


@pytest.mark.slow
def test_a_whole_search_promotes_nothing_where_every_policy_is_worth_the_same() -> None:
    """The small twin of `python -m benchmarks.tuning_null`: learn, choose and test on three parts of the log."""
    assert [promotes(seed, 4) for seed in range(4)] == [False] * 4
