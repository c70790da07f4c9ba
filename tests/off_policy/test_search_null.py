"""The small twin of `python -m benchmarks.search_null`."""

from benchmarks.search_null import share


def test_among_twenty_null_candidates_with_clusters_few_runs_promote_one() -> None:
    found, _ = share(120)
    assert found <= 0.05


def test_without_the_clusters_more_runs_would() -> None:
    assert share(60, clustered=False)[0] > share(60)[0]
