"""The Python client when answers are lost, late or never come: one decision, one reward, and never beyond the deadline."""

import itertools
import logging
import os
import random
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.embedded.process import free_port
from loopwise_client import Action, Client, LoopwiseError, LoopwiseUnavailable, Question, Reward
from tests.clients.conftest import EXPERIMENT
from tests.clients.support import Between, Step, answer, cut, dribble, hang, pass_on
from tests.service import Client as Plain
from tests.service import Web, query

SLACK_S = 3.0  # for a busy machine
UNIT_ROWS = "SELECT count(*) FROM decisions WHERE unit_id = %s"
New = Callable[..., Any]


class Took:
    """How long a block took, in seconds."""

    def __enter__(self) -> "Took":
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._began


def _unit(request: Any) -> str:
    return f"unit of {request.node.name}"


# An answer is lost after the server did its work.


def test_a_decision_whose_answer_is_lost_is_stored_once(
    connect: New, between: Callable[..., Between], request: Any, database_url: str
) -> None:
    server = between(cut, cut)
    decision = connect(server.url).decide(EXPERIMENT, _unit(request), context={"ü": ["🎯", 0.1]}, default="a")
    assert decision.logged
    assert query(database_url, UNIT_ROWS, _unit(request)) == [(1,)]
    assert len(server.requests) == 3
    assert len({sent.body for sent in server.requests}) == 1


def test_a_batch_whose_answer_is_lost_is_stored_once(
    connect: New, between: Callable[..., Between], request: Any, database_url: str
) -> None:
    loopwise = connect(between(cut).url)
    decisions = loopwise.decide_batch([Question(experiment=EXPERIMENT, unit_id=_unit(request)) for _ in range(20)])
    assert query(database_url, UNIT_ROWS, _unit(request)) == [(20,)]
    assert all(decision.logged for decision in decisions)


def test_an_activation_whose_answer_is_lost_holds(connect: New, between: Callable[..., Between]) -> None:
    decision = connect().decide(EXPERIMENT, "u", defer_activation=True)
    assert connect(between(cut).url).activate(decision) is False  # the window was open at the second attempt
    assert connect().activate(decision) is False


def test_thousands_of_rewards_count_once_each(
    connect: New, between: Callable[..., Between], request: Any, database_url: str
) -> None:
    """Every third answer is lost, and the app sends everything twice."""
    loopwise = connect(between(steps=itertools.cycle([cut, pass_on, pass_on])).url)
    decisions = []
    for _ in range(4):
        decisions += loopwise.decide_batch(
            [Question(experiment=EXPERIMENT, unit_id=_unit(request)) for _ in range(1000)]
        )
    events = [Reward(decision, random.random()) for decision in decisions]
    for batch in (events[n : n + 500] for n in range(0, 4000, 500)):
        assert loopwise.reward_batch(batch) == loopwise.reward_batch(batch)
    for event in events[:50]:
        loopwise.reward(event.decision, event.value, reward_id=event.reward_id)
    stored = "SELECT r.decision_id, r.value FROM rewards r JOIN decisions d ON d.id = r.decision_id WHERE unit_id = %s"
    rows = query(database_url, stored, _unit(request))
    assert len(rows) == 4000
    assert dict(rows) == {event.decision.decision_id: event.value for event in events}  # type: ignore[union-attr]


def test_threads_share_one_sync_client(between: Callable[..., Between], client: Plain, database_url: str) -> None:
    server = between(steps=itertools.cycle([pass_on] * 9 + [cut]))
    with Client(server.url, client.key, deadline_s=20.0, max_connections=8) as loopwise:

        def decide_and_reward(number: int) -> str:
            decision = loopwise.decide(EXPERIMENT, f"threads-{number}", context={"n": number})
            loopwise.reward(decision, number / 1000, reward_id=f"r{number}")
            return decision.decision_id

        with ThreadPoolExecutor(24) as pool:
            ids = list(pool.map(decide_and_reward, range(300)))
    stored = """SELECT d.id, unit_id, (context->>'n')::int, value FROM decisions d JOIN rewards r ON r.decision_id = d.id
                WHERE unit_id LIKE 'threads-%%'"""
    assert sorted(query(database_url, stored)) == sorted(
        (decision_id, f"threads-{n}", n, n / 1000) for n, decision_id in enumerate(ids)
    )


# No answer comes.


@pytest.mark.parametrize("step", [hang, dribble])
def test_a_server_that_never_answers_costs_the_deadline_and_gives_the_default(
    connect: New, between: Callable[..., Between], step: Step
) -> None:
    server = between(step, step, step)
    loopwise = connect(server.url)
    with Took() as took:
        decision = loopwise.decide(EXPERIMENT, "u", default=Action("b", payload={"text": "B"}), deadline_s=0.6)
    assert 0.6 <= took.seconds < 0.6 + SLACK_S
    assert (decision.action_id, decision.payload, decision.logged) == ("b", {"text": "B"}, False)
    assert (decision.arm, decision.propensity, decision.ranking) == (None, None, ())
    assert decision.reason == "no answer within 0.6 s"
    assert len(server.requests) == 1
    receipt = loopwise.reward(decision, 1.0)
    assert (receipt.logged, receipt.decision_id, receipt.value) == (False, decision.decision_id, 1.0)
    assert loopwise.activate(decision) is False
    assert len(server.requests) == 1


def test_without_a_default_it_is_an_error(connect: New, between: Callable[..., Between]) -> None:
    loopwise = connect(between(hang, hang, hang).url, deadline_s=0.3, report_deadline_s=0.3)
    calls: list[Callable[[], Any]] = [
        lambda: loopwise.decide(EXPERIMENT, "u"),
        lambda: loopwise.reward("d", 1.0),
        lambda: loopwise.decide_batch(
            [Question(experiment=EXPERIMENT, unit_id="u", default="a"), Question(experiment=EXPERIMENT, unit_id="u")]
        ),
    ]
    for call in calls:
        with Took() as took, pytest.raises(LoopwiseUnavailable, match=r"no answer within 0\.3 s"):
            call()
        assert took.seconds < 0.3 + SLACK_S


def test_a_batch_takes_each_questions_default_and_rewards_only_logged_decisions(
    connect: New, between: Callable[..., Between]
) -> None:
    candidates = [{"id": "x", "payload": 7}, Action("y")]
    questions = [
        Question(experiment=EXPERIMENT, unit_id="u", default="x", actions=candidates),
        Question(experiment=EXPERIMENT, unit_id="u", default="y"),
    ]
    lost = connect(between(hang).url).decide_batch(questions, deadline_s=0.3)
    assert [(decision.action_id, decision.payload, decision.logged) for decision in lost] == [
        ("x", 7, False),
        ("y", None, False),
    ]
    assert [decision.decision_id for decision in lost] == [question.decision_id for question in questions]
    loopwise = connect()
    known = loopwise.decide(EXPERIMENT, "u")
    receipts = loopwise.reward_batch([Reward(lost[0], 1.0), Reward(known, 0.5), Reward(lost[1], 1.0)])
    assert [(receipt.logged, receipt.value) for receipt in receipts] == [(False, 1.0), (True, 0.5), (False, 1.0)]
    assert [receipt.logged for receipt in loopwise.reward_batch([Reward(lost[0], 1.0)])] == [False]


def test_a_name_server_that_never_answers_costs_the_deadline(connect: New, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(2.5) or [])
    with Took() as took:
        assert not connect("http://loopwise.test").decide(EXPERIMENT, "u", default="a", deadline_s=0.4).logged
    assert took.seconds < 0.4 + SLACK_S


def test_a_server_that_is_not_there_yet_is_tried_again(connect: New, web: Web) -> None:
    port = free_port()
    loopwise = connect(f"http://127.0.0.1:{port}")
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(loopwise.decide, EXPERIMENT, "u", default="a")
        time.sleep(0.5)
        with Between(web.port, [], port):
            assert future.result().logged


def test_a_server_that_is_not_there_costs_no_more_than_the_deadline(connect: New) -> None:
    loopwise = connect(f"http://127.0.0.1:{free_port()}")
    with Took() as took:
        decision = loopwise.decide(EXPERIMENT, "u", default="a", deadline_s=0.5)
    assert took.seconds < 0.5 + SLACK_S
    assert "ConnectError" in decision.reason


# The server asks for patience, or fails.


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_obeyed(connect: New, between: Callable[..., Between], status: int) -> None:
    server = between(answer(status, Retry_After="1"))
    assert connect(server.url).decide(EXPERIMENT, "u").logged
    first, second = server.requests
    assert 1.0 <= second.at_s - first.at_s < 1.5 + SLACK_S
    assert first.body == second.body


def test_a_retry_after_beyond_the_deadline_ends_the_call_at_once(connect: New, between: Callable[..., Between]) -> None:
    body = b'{"code": "queue_full", "detail": "More slowly."}'
    server = between(answer(429, body, Retry_After="60"))
    with Took() as took:
        decision = connect(server.url).decide(EXPERIMENT, "u", default="a", deadline_s=5)
    assert took.seconds < 1
    assert (decision.logged, decision.reason) == (False, "the server answered 429 queue_full: More slowly.")
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [502, 504])
def test_a_gateway_that_misses_the_server_is_tried_again(
    connect: New, between: Callable[..., Between], status: int
) -> None:
    assert connect(between(answer(status, b"<html>")).url).decide(EXPERIMENT, "u").logged


FAULTS = {
    "500": answer(500, b'{"code": "internal_error", "detail": "x"}'),
    "a page": answer(200, b"<html>Welcome to the hotel</html>"),
    "other JSON": answer(200, b'{"decision_id": 1}'),
    "a list": answer(201, b"[]"),
    "redirect": answer(302, b"", Location="http://127.0.0.1:1/"),
    "deep": answer(200, b"[" * 100_000),
    "not gzip": answer(200, b"x", Content_Encoding="gzip"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_answer_that_is_of_no_use_gives_the_default_without_a_retry(
    connect: New, between: Callable[..., Between], fault: str
) -> None:
    server = between(FAULTS[fault])
    decision = connect(server.url).decide(EXPERIMENT, "u", default="a")
    assert (decision.action_id, decision.logged) == ("a", False)
    assert len(server.requests) == 1


def test_a_refusal_is_not_retried(connect: New, between: Callable[..., Between]) -> None:
    server = between()
    loopwise = connect(server.url)
    with pytest.raises(Exception, match="unknown_experiment"):
        loopwise.decide("nowhere", "u", default="a")
    assert len(server.requests) == 1


# Keys, threads and processes.


def test_the_key_is_never_shown(
    connect: New, between: Callable[..., Between], client: Plain, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    loopwise = connect(between(cut, pass_on, answer(404), answer(500), answer(500)).url)
    said = [repr(loopwise), str(vars(loopwise)), repr(loopwise.decide(EXPERIMENT, "u"))]
    for call in (lambda: loopwise.decide(EXPERIMENT, "u"), lambda: loopwise.reward("d", 1.0)):
        with pytest.raises(LoopwiseError) as caught:
            call()
        assert caught.value.__context__ is None
        frames = [frame for frame, _ in traceback.walk_tb(caught.tb) if "loopwise_client" in frame.f_code.co_filename]
        assert len(frames) > 2
        said += [str(caught.value), repr(caught.value), *(repr(frame.f_locals) for frame in frames)]
    loopwise.decide(EXPERIMENT, "u", default="a")
    assert "the default is used" in caplog.text
    assert client.key not in "".join([*said, caplog.text])


def test_a_closed_client_says_so_and_leaves_no_thread(connect: New) -> None:
    before = threading.active_count()
    loopwise = Client("http://127.0.0.1:1", "key", report_deadline_s=0.2)
    with pytest.raises(LoopwiseUnavailable):
        loopwise.reward("d", 1.0)
    loopwise.close()
    loopwise.close()
    assert threading.active_count() <= before
    with pytest.raises(RuntimeError, match="closed"):
        loopwise.reward("d", 1.0)


def test_a_forgotten_client_ends_its_thread() -> None:
    loopwise = Client("http://127.0.0.1:1", "key")
    assert not loopwise.decide(EXPERIMENT, "u", default="a", deadline_s=0.1).logged
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "loopwise-client"]
    del loopwise
    thread.join(5)
    assert not thread.is_alive()


@pytest.fixture
def shared(web: Web, client: Plain) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{web.port}", client.key, deadline_s=10.0) as loopwise:
        yield loopwise


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_goes_on_with_connections_of_its_own(shared: Client, database_url: str) -> None:
    shared.decide(EXPERIMENT, "fork")
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if shared.decide(EXPERIMENT, "fork").logged else 2
            finally:
                os._exit(code)
        children.append(child)
    assert shared.decide(EXPERIMENT, "fork").logged
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert shared.decide(EXPERIMENT, "fork").logged
    assert query(database_url, UNIT_ROWS, "fork") == [(6,)]


def test_a_close_ends_the_calls_of_other_threads(between: Callable[..., Between]) -> None:
    loopwise = Client(between(hang).url, "key", deadline_s=20.0)
    with ThreadPoolExecutor(1) as pool, Took() as took:
        future = pool.submit(loopwise.decide, EXPERIMENT, "u")
        time.sleep(0.3)
        loopwise.close()
        with pytest.raises((RuntimeError, LoopwiseUnavailable)):
            future.result()
    assert took.seconds < 5
