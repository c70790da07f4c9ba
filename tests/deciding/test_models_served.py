"""Only verified models serve, a new model serves within the snapshot interval, and logged propensities are exact."""

from collections.abc import Iterator
from typing import Any

import pytest
from scipy import stats

from app.deciding.model_cache import ModelCache
from app.foundation.running.steps import run
from tests.service import Loop, bandit, query, settings, wait_for


@pytest.fixture
def reasons() -> list[str]:
    return []


@pytest.fixture
def cache(loop: Loop, reasons: list[str]) -> Iterator[ModelCache]:
    return ModelCache(loop.runtime.engine, settings(loop.database_url), reasons.append)


SPOIL = {
    "unsigned": "signature = repeat('0', 64)",
    "signed for another arm": "signature = (SELECT signature FROM model_versions WHERE number = 0 LIMIT 1)",
    "changed": "model = set_byte(model, length(model) - 9, (get_byte(model, length(model) - 9) + 1) %% 256)",
    "truncated": "model = substr(model, 1, length(model) / 2)",
    "empty": "model = ''",
    "of another hash": "sha256 = repeat('a', 64)",
}


@pytest.mark.parametrize("how", SPOIL)
def test_a_model_that_cannot_be_verified_is_refused_and_the_old_one_keeps_serving(
    loop: Loop, database_url: str, cache: ModelCache, reasons: list[str], how: str
) -> None:
    key = f"spoilt-{how.replace(' ', '-')}"
    experiment_id = loop.learn(key)
    policy = loop.runtime.snapshots.refresh().experiments[key].arms["learned"].policy
    first = cache.get(loop.runtime.snapshots.current.serving[experiment_id, "learned"], policy)
    assert (first.number, reasons) == (1, [])
    loop.more(key, experiment_id)
    query(
        database_url, f"UPDATE model_versions SET {SPOIL[how]} WHERE experiment_id = %s AND number = 2", experiment_id
    )
    second = loop.runtime.snapshots.refresh().serving[experiment_id, "learned"]
    assert second.number == 2
    assert cache.get(second, policy) is first
    assert cache.get(second, policy) is first
    assert reasons == ["model_refused"]


def test_if_a_model_is_refused_and_there_is_no_older_model_decisions_are_uniform_and_logged_so(
    loop: Loop, database_url: str, cache: ModelCache, reasons: list[str]
) -> None:
    experiment_id = loop.learn("no-fallback")
    query(database_url, "UPDATE model_versions SET model = '' WHERE experiment_id = %s AND number = 1", experiment_id)
    snapshot = loop.runtime.snapshots.refresh()
    loaded = cache.get(
        snapshot.serving[experiment_id, "learned"], snapshot.experiments["no-fallback"].arms["learned"].policy
    )
    assert (loaded.number, loaded.predictor, reasons) == (0, None, ["model_refused"])


def test_models_of_another_secret_key_are_refused(loop: Loop, reasons: list[str]) -> None:
    experiment_id = loop.learn("other-secret")
    other = settings(loop.database_url, LOOPWISE_SECRET_KEY="another secret of 32 bytes or more!")
    snapshot = loop.runtime.snapshots.refresh()
    cache = ModelCache(loop.runtime.engine, other, reasons.append)
    cache.get(snapshot.serving[experiment_id, "learned"], snapshot.experiments["other-secret"].arms["learned"].policy)
    assert reasons == ["model_refused"]


def _room_for_two(cache: ModelCache) -> None:
    """Limit a cache to two and a half models of the size of those that it holds."""
    (_, loaded), *_ = cache._loaded.values()
    assert loaded.predictor is not None
    cache._limit_bytes = int(2.5 * loaded.predictor.memory_bytes)


def test_the_cache_respects_its_memory_limit_and_reloads_dropped_models(loop: Loop, reasons: list[str]) -> None:
    cache = ModelCache(loop.runtime.engine, settings(loop.database_url), reasons.append)
    keys = [f"cached-{n}" for n in range(3)]
    for key in keys:
        experiment_id = loop.make(key, arms=bandit())
        loop.more(key, experiment_id, 10)
    snapshot = loop.runtime.snapshots.refresh()
    for key in [*keys, keys[0]]:
        experiment = snapshot.experiments[key]
        assert cache.get(snapshot.serving[experiment.id, "learned"], experiment.arms["learned"].policy).number == 1
        _room_for_two(cache)
        assert len(cache._loaded) <= 2
    assert len(cache._loaded) == 2 and reasons == []


def test_the_model_that_was_used_last_is_not_the_one_that_is_dropped(loop: Loop, reasons: list[str]) -> None:
    cache = ModelCache(loop.runtime.engine, settings(loop.database_url), reasons.append)
    asked = []
    for number in range(3):
        experiment_id = loop.make(f"used-{number}", arms=bandit())
        loop.more(f"used-{number}", experiment_id, 10)
        snapshot = loop.runtime.snapshots.refresh()
        experiment = snapshot.experiments[f"used-{number}"]
        asked.append((snapshot.serving[experiment_id, "learned"], experiment.arms["learned"].policy))
    first, second, third = asked
    for serving, policy in (first, second, first, third):
        run(cache.fetch(serving, policy))
        _room_for_two(cache)
    assert [arm for arm, _ in cache._loaded] == [first[0].experiment_id, third[0].experiment_id]


def test_a_new_version_is_loaded_before_a_request_needs_it(loop: Loop) -> None:
    experiment_id = loop.learn("followed")
    wait_for(lambda: loop.decide("followed", [{}])[0]["policy_version"] == 1, 20, "the new version")
    loop.more("followed", experiment_id)
    wait_for(lambda: loop.decide("followed", [{}])[0]["policy_version"] == 2, 20, "the newer version")


def test_a_refresh_reads_nothing_when_nothing_changed_and_only_what_changed_otherwise(loop: Loop) -> None:
    loop.make("unchanged")
    before = loop.runtime.snapshots.refresh()
    assert loop.runtime.snapshots.refresh() is before
    loop.make("changed")
    after = loop.runtime.snapshots.refresh()
    assert after.revision > before.revision
    assert after.experiments["unchanged"] is before.experiments["unchanged"]


def test_the_first_call_finds_an_experiment_that_another_process_created(loop: Loop) -> None:
    from app.design import experiments
    from tests.service import definition

    experiments.create(loop.runtime.engine, loop.settings, definition("elsewhere"), "test")
    experiments.move(loop.runtime.engine, "elsewhere", "start", "test")
    assert loop.decide("elsewhere", [{}])[0]["arm"] == "all"


@pytest.mark.parametrize("algorithm", ["epsilon_greedy", "squarecb"])
def test_actions_are_drawn_with_the_propensities_that_are_logged(loop: Loop, database_url: str, algorithm: str) -> None:
    """Chi-square over 6,000 draws of a learned policy; ids and salt are fixed, so the verdict is too."""
    experiment_id = loop.make(f"honest-{algorithm}", arms=bandit(algorithm, 0.3))
    query(database_url, "UPDATE experiments SET salt = %s WHERE id = %s", b"s" * 32, experiment_id)
    assert _reloaded(loop, database_url, experiment_id) == b"s" * 32
    loop.more(f"honest-{algorithm}", experiment_id, 60)
    requests = [{"context": {"n": 1}, "decision_id": f"{algorithm}-{n}"} for n in range(6000)]
    decided = [
        answer for n in range(0, 6000, 1000) for answer in loop.decide(f"honest-{algorithm}", requests[n : n + 1000])
    ]
    logged = {item["id"]: item["probability"] for item in decided[0]["ranking"]}
    assert all({i["id"]: i["probability"] for i in answer["ranking"]} == logged for answer in decided)
    assert all(answer["propensity"] == logged[answer["action"]["id"]] for answer in decided)
    names = sorted(logged)
    counts = [sum(answer["action"]["id"] == name for answer in decided) for name in names]
    assert stats.chisquare(counts, [6000 * logged[name] for name in names]).pvalue > 0.001
    assert loop.audit(f"honest-{algorithm}").ok


def _reloaded(loop: Loop, database_url: str, experiment_id: int) -> Any:
    query(database_url, "UPDATE platform SET revision = revision + 1")
    query(
        database_url, "UPDATE experiments SET revision = (SELECT revision FROM platform) WHERE id = %s", experiment_id
    )
    return loop.runtime.snapshots.refresh().by_id[experiment_id].salt
