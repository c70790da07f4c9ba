"""The front of a web process: nobody freezes it, what cannot be done in time is refused, and nobody's connection is refused."""

import contextlib
import http.client
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial

import psycopg2
import pytest

from app.web.front.front import MOST_INSIDE
from tests.service import Client, Web, bandit, descendants, make_key, query, running_web, wait_for

HALF = b'{"experiment": "front", '


@pytest.fixture(scope="module")
def front(database_url: str) -> Iterator[Web]:
    """Four threads for pages; bodies have one second."""
    with running_web(
        database_url, LOOPWISE_WEB_THREADS="4", LOOPWISE_BODY_S="1", LOOPWISE_DECIDE_DEADLINE_S="1"
    ) as server:
        yield server


@pytest.fixture(scope="module")
def caller(front: Web, database_url: str) -> Client:
    client = front.client(make_key(database_url))
    client.make("front", arms=bandit())
    return client


def _begun(port: int, path: str, key: str = "") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 20)
    head = f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Length: 500\r\n"
    connection.sendall((head + (f"Authorization: Bearer {key}\r\n" if key else "") + "\r\n").encode() + HALF)
    return connection


def _answer(connection: socket.socket) -> tuple[int, bytes]:
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response.read()


@pytest.mark.parametrize("path", ["/v1/decide", "/admin/sign-in", "/v1/experiments"])
def test_half_bodies_stop_nobody_and_are_told_so(front: Web, caller: Client, path: str) -> None:
    with contextlib.ExitStack() as open_ones:
        slow = [open_ones.enter_context(_begun(front.port, path, caller.key)) for _ in range(40)]
        assert caller.decide("front").status == 201
        assert caller.get("/v1/experiments").status == 200
        for connection in slow:
            status, body = _answer(connection)
            assert (status, b'"body_too_slow"' in body) == (408, True)


def test_a_body_that_trickles_in_is_too_slow_too(front: Web, caller: Client) -> None:
    with _begun(front.port, "/v1/decide", caller.key) as connection:
        connection.settimeout(0.2)
        received = b""
        while not received:
            with contextlib.suppress(TimeoutError):
                connection.sendall(b" ")
                received = connection.recv(100)
        assert received.startswith(b"HTTP/1.1 408")


def test_thousands_of_idle_connections_stop_nobody(front: Web, caller: Client) -> None:
    """More than the library's own limit of 1,024 connections."""
    with contextlib.ExitStack() as open_ones:
        for number in range(1500):
            connection = open_ones.enter_context(socket.create_connection(("127.0.0.1", front.port), 20))
            if number % 10 == 0:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
                assert _answer(connection)[0] == 200
        assert caller.decide("front").status == 201


def test_slow_bodies_take_no_places_of_calls_that_are_worked_on(front: Web, caller: Client) -> None:
    with contextlib.ExitStack() as open_ones:
        slow = [open_ones.enter_context(_begun(front.port, "/v1/decide", caller.key)) for _ in range(MOST_INSIDE + 50)]
        wait_for(lambda: caller.decide("front").status == 201, 20, "a decision beside slow bodies")
        assert len(select.select(slow, [], [], 0)[0]) < len(slow)  # they still wait


def test_more_calls_at_once_than_can_be_answered_in_time_are_refused_at_once(
    front: Web, caller: Client, database_url: str
) -> None:
    body = b'{"experiment":"front","unit_id":"u"}'
    head = f"POST /v1/decide HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {caller.key}\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def refused() -> int:
        """Of more calls at once than places, how many are refused for that; the log refuses the others."""
        with _locked(database_url), contextlib.ExitStack() as open_ones:
            calls = []
            for _ in range(MOST_INSIDE + 40):
                calls.append(open_ones.enter_context(socket.create_connection(("127.0.0.1", front.port), 20)))
                calls[-1].sendall(request)
            told = [_answer(call) for call in calls]
            assert {status for status, _ in told} == {503}
        wait_for(lambda: caller.decide("front").status == 201, 20, "recovery")
        return sum(b'"overloaded"' in answer for _, answer in told)

    # On a busy machine the server may take the calls so slowly that the log has refused the first before the last arrives.
    assert any(refused() >= 40 for _ in range(5))
    metrics = front.client(caller.key).get("/metrics").raw.decode()
    assert 'loopwise_http_requests_total{endpoint="apps.decide",role="web",status="503"}' in metrics


def test_the_loop_answers_preflights_and_never_lets_a_strange_page_call(front: Web, database_url: str) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Origin": "https://evil.example"}
    answer = front.client().call("OPTIONS", "/v1/decide", **asked)
    assert (answer.status, answer.raw, answer.headers["Access-Control-Allow-Origin"]) == (204, b"", None)
    assert answer.headers["X-Request-Id"] and answer.headers["X-Content-Type-Options"] == "nosniff"
    metrics = front.client(make_key(database_url)).get("/metrics").raw.decode()
    assert 'loopwise_http_requests_total{endpoint="preflight",role="web",status="204"}' in metrics


@contextlib.contextmanager
def _locked(database_url: str) -> Iterator[None]:
    connection = psycopg2.connect(database_url)
    try:
        connection.cursor().execute("LOCK TABLE decisions IN ACCESS EXCLUSIVE MODE")
        yield
    finally:
        connection.close()


def test_under_a_locked_log_everybody_is_refused_in_time_and_nothing_unseen_counts(
    caller: Client, database_url: str
) -> None:
    told: list[tuple[int, float, str | None]] = []

    def ask(number: int) -> None:
        for lap in range(8):
            began = time.monotonic()
            answer = caller.decide("front", f"unit-{number}", decision_id=f"locked-{number}-{lap}")
            told.append((answer.status, time.monotonic() - began, answer.headers["Retry-After"]))

    with _locked(database_url):
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        assert caller.get("/healthz").status == 200
        health_s = time.monotonic() - began
        for thread in threads:
            thread.join()
    assert {status for status, _, _ in told} == {503}
    assert {int(after or 0) for _, _, after in told} <= {1, 2, 3, 4}
    at_once = [seconds for _, seconds, _ in told if seconds < 0.5]
    assert len(at_once) > len(told) / 2  # while one job at a time finds out whether the log can be written again
    assert health_s < 0.9
    wait_for(lambda: caller.decide("front").status == 201, 20, "recovery")
    counting = "SELECT count(*) FROM decisions WHERE id LIKE 'locked-%%' AND state <> 'unanswered'"
    wait_for(lambda: query(database_url, counting) == [(0,)], 20, "the marks")


def test_a_decision_whose_caller_has_hung_up_does_not_count(front: Web, caller: Client, database_url: str) -> None:
    state = "SELECT state FROM decisions WHERE id = 'hung-up'"
    with _locked(database_url):
        body = b'{"experiment":"front","unit_id":"u","decision_id":"hung-up"}'
        with socket.create_connection(("127.0.0.1", front.port), 20) as connection:
            head = f"POST /v1/decide HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {caller.key}\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            wait_for(lambda: query(database_url, waiting) != [(0,)], 20, "the write")
            time.sleep(0.15)  # only answers that took long are looked at
    wait_for(lambda: query(database_url, state) == [("unanswered",)], 20, "the mark")
    again = caller.decide("front", "u", decision_id="hung-up")
    assert (again.status, query(database_url, state)) == (200, [("active",)])


def _all_new(parent: int, before: set[int]) -> bool:
    now = set(descendants(parent))
    return len(now) == 2 and not now & before


def test_no_connection_is_refused_while_web_processes_die_and_are_replaced(database_url: str) -> None:
    """Requests that were inside a killed process are lost; nobody else notices more than a wait, or one request sent again.

    A connection that was taken in the moment in which its process ends is closed before its request is read.
    """
    with running_web(database_url, LOOPWISE_WEB_PROCESSES="2") as server:
        client = server.client(make_key(database_url))
        refused: list[str] = []
        lost: list[str] = []
        stop = threading.Event()

        def ask(again: bool = True) -> None:
            try:
                client.get("/healthz")
            except ConnectionRefusedError:
                refused.append("refused")
            except (OSError, http.client.HTTPException) as error:
                if again:
                    ask(again=False)
                else:
                    lost.append(repr(error))

        def ask_on() -> None:
            while not stop.is_set():
                ask()

        threads = [threading.Thread(target=ask_on) for _ in range(4)]
        for thread in threads:
            thread.start()
        assert server.process is not None
        parent = server.process.pid
        for _ in range(3):
            before = set(descendants(parent))
            server.process.send_signal(signal.SIGHUP)
            wait_for(partial(_all_new, parent, before), 40, "other processes")
        assert (refused, lost) == ([], [])
        os.kill(descendants(parent)[0], signal.SIGKILL)
        wait_for(lambda: client.get("/healthz").status == 200, 20)
        stop.set()
        for thread in threads:
            thread.join()
        assert refused == []
