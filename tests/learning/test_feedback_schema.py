"""The worker applies a changed feedback schema, and the web process serves the rebuilt model."""

from tests.service import bandit, make_key, query, running_web, running_worker, wait_for

APPLIED = "SELECT count(*) FROM feedback_schemas WHERE applied_at IS NOT NULL"
SETTLED = "SELECT count(*) FROM outcomes WHERE feedback_version = %s"


def test_a_changed_schema_is_applied_the_next_time_the_worker_looks(database_url: str, redis_url: str) -> None:
    with running_web(database_url) as web, running_worker(database_url, redis_url):
        client = web.client(make_key(database_url))
        thumbs = {"thumbs": {"up": 1.0, "down": 0.0}, "limit": 1000}
        client.make("patched", arms=bandit(), reward={"window_s": 2.0}, feedback=thumbs)
        decided = client.decide_many("patched", [{} for _ in range(40)])
        answers = [
            {
                "decision_id": decision["decision_id"],
                "kind": "thumbs",
                "value": "up" if decision["action"]["id"] == "c" else "down",
            }
            for decision in decided
        ]
        assert client.post("/v1/feedback/batch", {"feedback": answers}).status == 201
        wait_for(lambda: query(database_url, SETTLED, 1) == [(40,)], 60, "the first round")
        turned = {"thumbs": {"up": 0.0, "down": 1.0}, "limit": 1000}
        assert client.patch("/v1/experiments/patched", {"feedback": turned}).status == 200
        wait_for(lambda: query(database_url, APPLIED) == [(2,)], 60, "the rebuild")
        assert query(database_url, SETTLED, 2) == [(40,)]
        (arm,) = client.get("/v1/experiments/patched/policy").body["arms"]
        assert [version["kind"] for version in arm["versions"]] == ["initial", "incremental", "rebuild"]
        assert arm["serving"] == 2

        def chance() -> float:
            answer = client.decide("patched", defer_activation=True).body
            assert answer["policy_version"] >= 1
            return float({item["id"]: item["probability"] for item in answer["ranking"]}["c"])

        wait_for(lambda: chance() < 0.1, 20, "the rebuilt model in the web process")
