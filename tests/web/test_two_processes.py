"""Two web servers on one database, and two processes of one server: they must not disagree."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.service import Client, Web, make_key, running_web, wait_for


@pytest.fixture(scope="module")
def first(database_url: str) -> Iterator[Web]:
    with running_web(
        database_url, LOOPWISE_WEB_PROCESSES="2", LOOPWISE_METRICS_TOKEN="let me see the metrics"
    ) as server:
        yield server


@pytest.fixture(scope="module")
def second(database_url: str) -> Iterator[Web]:
    with running_web(database_url, LOOPWISE_SNAPSHOT_INTERVAL_S="3600") as server:
        yield server


@pytest.fixture(scope="module")
def key(database_url: str) -> str:
    return make_key(database_url)


@pytest.fixture
def here(first: Web, key: str) -> Client:
    return first.client(key)


@pytest.fixture
def there(second: Web, key: str) -> Client:
    """A process that never checks for changes by itself."""
    return second.client(key)


def test_an_experiment_made_at_one_process_decides_at_the_other_at_once(here: Client, there: Client) -> None:
    for lap in range(3):
        here.make(f"made-{lap}")
        assert there.decide(f"made-{lap}").status == 201


def test_a_pause_and_a_start_at_one_process_apply_at_the_other_at_once(here: Client, there: Client) -> None:
    here.make("paused")
    for _ in range(3):
        assert there.decide("paused").status == 201
        assert here.post("/v1/experiments/paused/pause").status == 200
        answer = there.decide("paused")
        assert (answer.status, answer.body["code"]) == (409, "not_running")
        assert here.post("/v1/experiments/paused/start").status == 200
        assert there.decide("paused").status == 201


def test_a_change_at_one_process_applies_at_the_other_at_once(here: Client, there: Client) -> None:
    here.make("changed")
    there.decide("changed")
    assert here.patch("/v1/experiments/changed", {"actions": [{"id": "only"}]}).status == 200
    assert there.decide("changed").body["action"]["id"] == "only"


def test_a_retry_at_another_process_gets_the_same_answer(here: Client, there: Client) -> None:
    here.make("retried")
    first, second = here.decide("retried", decision_id="one"), there.decide("retried", decision_id="one")
    assert (first.status, second.status, second.raw) == (201, 200, first.raw)
    rewards = [client.reward("one", 1, reward_id="r") for client in (here, there)]
    assert ([answer.status for answer in rewards], rewards[0].raw) == ([201, 200], rewards[1].raw)


def test_counters_are_right_across_the_processes_of_a_role(here: Client, first: Web) -> None:
    here.make("counted")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: here.decide("counted", f"u{n}"), range(60)))
        list(pool.map(lambda answer: here.reward(answer.body["decision_id"], 1), answers[:25]))
        list(pool.map(lambda answer: here.reward(answer.body["decision_id"], 1), answers[:25]))
    for _ in range(5):  # any of the processes may answer
        text = first.client().get("/metrics", Authorization="Bearer let me see the metrics").raw.decode()
        assert 'loopwise_decisions_total{arm="all",experiment="counted",role="web"} 60.0' in text
        assert 'loopwise_rewards_total{experiment="counted",late="false",role="web"} 25.0' in text
        assert 'loopwise_http_requests_total{endpoint="apps.reward",role="web",status="200"}' in text
    names = (
        "request_seconds_bucket",
        "commit_rows_bucket",
        "training_lag_seconds",
        "training_waiting",
        "propensity_bucket",
    )
    assert [name for name in names if f"loopwise_{name}" not in text] == []
    rows = re.search(r'loopwise_commit_rows_sum{role="web"} (\d+)', text)
    assert rows is not None
    assert int(rows.group(1)) >= 110


def test_the_age_of_a_model_is_a_metric(here: Client, first: Web) -> None:
    from tests.service import bandit

    here.make("aged", arms=bandit())
    line = r'loopwise_model_age_seconds\{arm="learned",experiment="aged"\} ([\d.e+-]+)'

    def age_shown() -> re.Match[str] | None:
        shown = first.client().get("/metrics", Authorization="Bearer let me see the metrics")
        return re.search(line, shown.raw.decode())

    age = wait_for(age_shown, 5)
    assert 0 <= float(age.group(1)) < 60


def test_metrics_need_the_token_or_a_key_that_may_read(first: Web, second: Web, database_url: str, key: str) -> None:
    for server in (first, second):
        assert server.client(key).get("/metrics").status == 200
        assert server.client(make_key(database_url, "decide")).get("/metrics").status == 403
        assert server.client().get("/metrics").status == 401
        assert server.client("wrong").get("/metrics").status == 401
    assert second.client().get("/metrics", Authorization="Bearer ").status == 401
