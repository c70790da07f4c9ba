"""After a reward window closes, the worker trains a round and the web process serves the new model."""

from collections.abc import Iterator

import pytest

from tests.service import Client, Web, bandit, make_key, query, running_web, running_worker, wait_for

BEAT_S = 0.5
LEARNED = "SELECT count(*) FROM training_ledger WHERE experiment_id = %s"
SLACK_S = 5.0  # for a machine that is busy with other tests


@pytest.fixture(scope="module")
def web(database_url: str) -> Iterator[Web]:
    with running_web(database_url) as server:
        yield server


@pytest.fixture(scope="module")
def client(web: Web, database_url: str, redis_url: str) -> Iterator[Client]:
    with running_worker(database_url, redis_url, LOOPWISE_BEAT_INTERVAL_S=str(BEAT_S)):
        client = web.client(make_key(database_url))
        client.make("warm-up", arms=bandit(), reward={"window_s": 1.0})
        client.decide("warm-up")
        wait_for(lambda: query(database_url, "SELECT 1 FROM training_ledger"), 60, "the worker's first round")
        yield client


def test_a_round_starts_after_the_window_and_the_web_process_serves_its_model(
    client: Client, database_url: str
) -> None:
    client.make("scheduled", arms=bandit(), reward={"window_s": 1.0})
    ((experiment_id,),) = query(database_url, "SELECT id FROM experiments WHERE key = 'scheduled'")
    for version in (1, 2):
        decided = client.decide_many("scheduled", [{} for _ in range(30)])
        client.reward_many({decision["decision_id"]: float(decision["action"]["id"] == "c") for decision in decided})
        wait_for(
            lambda version=version: query(database_url, LEARNED, experiment_id) == [(30 * version,)],
            1.0 + BEAT_S + SLACK_S,
            "the round",
        )
        wait_for(
            lambda version=version: client.post("/v1/decide", _deferred()).body["policy_version"] >= version,
            2.0,
            "the new version in the web process",
        )
    started = query(
        database_url,
        "SELECT max(extract(epoch FROM m.created_at - d.closes_at)) FROM training_ledger l"
        " JOIN model_versions m ON m.id = l.version_id JOIN decisions d ON d.id = l.decision_id WHERE l.experiment_id = %s",
        experiment_id,
    )
    assert float(started[0][0]) < BEAT_S + SLACK_S


def _deferred() -> dict[str, object]:
    """Make a decision that no round will read, so that the counts above do not change."""
    return {"experiment": "scheduled", "unit_id": "probe", "defer_activation": True}


def test_an_arm_that_does_not_learn_gets_outcomes_but_no_model(client: Client, database_url: str) -> None:
    client.make("settled", reward={"window_s": 1.0})
    (decision,) = client.decide_many("settled", [{}])
    client.reward(decision["decision_id"], 1)
    outcome = "SELECT reward, events FROM outcomes WHERE decision_id = %s"
    wait_for(
        lambda: query(database_url, outcome, decision["decision_id"]) == [(1.0, 1)], 1 + BEAT_S + SLACK_S, "the outcome"
    )
    assert query(database_url, "SELECT 1 FROM training_ledger WHERE decision_id = %s", decision["decision_id"]) == []
