"""The worker does what people asked for: an erasure that the API received gets its receipt."""

from tests.service import Client, Web, bandit, query, running_worker, wait_for


def test_an_erasure_asked_for_over_the_api_is_done_by_the_worker(
    web: Web, client: Client, database_url: str, redis_url: str
) -> None:
    client.make("asked-to-forget", arms=bandit(), reward={"window_s": 1.0})
    decided = client.decide_many("asked-to-forget", [{"unit_id": f"asks-{n % 3}"} for n in range(12)])
    client.reward_many({decision["decision_id"]: 1.0 for decision in decided})
    learned = "SELECT count(*) FROM training_ledger WHERE version_id > 0"
    with running_worker(database_url, redis_url):
        wait_for(lambda: query(database_url, learned) == [(12,)], 60, "the learning")
        erasure_answer = client.post("/v1/erasure", {"unit_id": "asks-1"})
        assert erasure_answer.status == 202 and erasure_answer.body["status"] == "waiting"
        path = f"/v1/erasure/{erasure_answer.body['erasure_id']}"
        done = wait_for(lambda: (a := client.get(path).body)["status"] == "done" and a, 60, "the erasure")
    (model,) = done["receipt"]["models"]
    assert model["old"]["sha256"] != model["new"]["sha256"] and model["new"]["learned"] == 8
    assert done["receipt"]["removed"]["decisions"] == 4
    assert query(database_url, "SELECT count(*) FROM decisions WHERE unit_id = 'asks-1'") == [(0,)]
    assert client.get("/v1/erasure/none-of-these").body["code"] == "unknown_erasure"
