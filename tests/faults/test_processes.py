"""kill -9 of a web process under load, of the worker in the middle of a round; Redis and worker away."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.embedded.redis import RedisServer
from app.embedded.state import DataDir
from app.verification.audit import audit_experiment
from tests.faults.cluster import Load
from tests.service import Client, Web, Worker, bandit, engine_of, make_key, query, running_worker, settings, wait_for

pytestmark = pytest.mark.slow


def _experiment(client: Client, url: str, key: str) -> int:
    client.make(key, arms=bandit(), reward={"window_s": 1.0})
    return int(query(url, "SELECT id FROM experiments WHERE key = %s", key)[0][0])


def _learned(url: str, experiment_id: int) -> int:
    return int(query(url, "SELECT count(*) FROM training_ledger WHERE experiment_id = %s", experiment_id)[0][0])


def test_a_killed_web_process_loses_nothing_acknowledged(durable_url: str) -> None:
    web = Web(durable_url)
    try:
        client = web.start().client(make_key(durable_url))
        client.make("web-killed", reward={"window_s": 600.0})
        with Load(client, "web-killed", 8) as load:
            wait_for(lambda: len(load.rewarded) > 50, 30, "load")
            web.kill()
        killed = len(load.decided)
        web.start()
        for name in sorted(load.unknown)[:20]:
            assert client.decide("web-killed", "u", decision_id=name).status in (200, 201)
    finally:
        web.stop()
    assert killed > 50
    assert load.other == []
    stored = query(durable_url, "SELECT id, propensity FROM decisions WHERE id = ANY(%s)", list(load.decided))
    assert dict(stored) == load.decided
    rewards = query(durable_url, "SELECT count(*) FROM rewards WHERE decision_id = ANY(%s)", sorted(load.rewarded))
    assert rewards == [(len(load.rewarded),)]


def test_a_worker_killed_in_the_middle_of_a_round_learns_everything_exactly_once(
    client: Client, durable_url: str, redis_url: str
) -> None:
    """A lock stops the round before its commit, and the worker is killed there."""
    import psycopg2

    experiment_id = _experiment(client, durable_url, "worker-killed")
    decided = client.decide_many("worker-killed", [{"context": {"n": n % 7}} for n in range(1000)])
    client.reward_many({decision["decision_id"]: float(decision["action"]["id"] == "b") for decision in decided})
    holding = psycopg2.connect(durable_url)
    held = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%training_ledger%%'"
    worker = Worker(durable_url, redis_url)
    try:
        with holding.cursor() as cursor:
            cursor.execute("LOCK TABLE training_ledger IN EXCLUSIVE MODE")
        worker.start()
        wait_for(lambda: query(durable_url, held)[0][0] > 0, 60, "a round at its end")
        worker.kill("worker")
        holding.rollback()
        wait_for(lambda: query(durable_url, held)[0][0] == 0, 20, "the end of the dead worker's session")
        assert _learned(durable_url, experiment_id) == 0
        worker.start("worker")
        wait_for(lambda: _learned(durable_url, experiment_id) == 1000, 60, "training")
    finally:
        holding.close()
        worker.stop()
    once = "SELECT count(DISTINCT decision_id), max(m.number) FROM training_ledger l JOIN model_versions m"
    assert query(durable_url, f"{once} ON m.id = l.version_id WHERE l.experiment_id = %s", experiment_id) == [(1000, 1)]
    with engine_of(durable_url) as engine:
        report = audit_experiment(engine, settings(durable_url), "worker-killed")
    assert report.ok, report.findings


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    tmp_path.chmod(0o755)
    data_dir = DataDir(tmp_path / "redis-data").prepare()
    server = RedisServer(data_dir.path, data_dir.log("redis"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


def test_without_redis_and_without_a_worker_decisions_and_rewards_go_on_and_training_resumes(
    client: Client, durable_url: str, redis_server: RedisServer
) -> None:
    experiment_id = _experiment(client, durable_url, "no-redis")

    def some(count: int) -> None:
        decided = client.decide_many("no-redis", [{} for _ in range(count)])
        client.reward_many({decision["decision_id"]: 1.0 for decision in decided})

    with running_worker(durable_url, redis_server.url()):
        some(10)
        wait_for(lambda: _learned(durable_url, experiment_id) == 10, 60, "training")
        redis_server.stop()
        some(20)
        assert client.decide("no-redis").status == 201
        redis_server.start()
        wait_for(lambda: _learned(durable_url, experiment_id) == 31, 60, "training after Redis came back")
    some(5)  # the worker is away now, too
    assert _learned(durable_url, experiment_id) == 31
    with running_worker(durable_url, redis_server.url()):
        wait_for(lambda: _learned(durable_url, experiment_id) == 36, 60, "training after the worker came back")
    with engine_of(durable_url) as engine:
        assert audit_experiment(engine, settings(durable_url), "no-redis").ok
