"""The metrics of this process."""

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from app.foundation import metrics


def test_a_commit_of_propensities_counts_as_if_each_were_observed() -> None:
    values = [0.0, 0.01, 0.02, 0.25, 0.25, 0.999, 1.0, 1.5]
    registries = [CollectorRegistry(), CollectorRegistry()]
    together, one_by_one = (Histogram("p", "p", buckets=(0.01, 0.25, 1), registry=each) for each in registries)
    metrics._observe_all(together, values)
    for value in values:
        one_by_one.observe(value)
    seen, expected = (
        [line for line in generate_latest(each).decode().splitlines() if "_created" not in line] for each in registries
    )
    assert seen == expected
