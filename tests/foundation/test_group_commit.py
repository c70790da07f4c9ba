"""Group commit: few commits for many callers, a deadline for each, and no decision that nobody was shown."""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.foundation import group_commit
from app.foundation.errors import TooManyRequests, Unavailable, Unprocessable
from app.foundation.group_commit import GroupCommit
from app.foundation.running.jobs import Handler, Job
from app.web.front.waiting import Waiting
from tests.service import Loop, bandit, query, runtime_of, settings, wait_for


@contextmanager
def _blocked(database_url: str, table: str = "decisions") -> Iterator[None]:
    """Lock a table against all readers and writers."""
    connection = psycopg2.connect(database_url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        connection.close()


@pytest.fixture
def hasty(database_url: str) -> Iterator[Loop]:
    """A process whose callers wait only half a second."""
    with runtime_of(database_url, LOOPWISE_DECIDE_DEADLINE_S="0.5", LOOPWISE_STATEMENT_TIMEOUT_S="20") as runtime:
        yield Loop(runtime, database_url)


class _Recorder:
    """A handler that stores rows in a table of its own."""

    def __init__(self) -> None:
        self.gone: list[Any] = []
        self.jobs: list[list[Any]] = []
        self.handler = Handler(self._store, lambda connection, rows, outcome: self.gone.extend(rows))

    def _store(self, connection: Any, jobs: list[list[Any]]) -> list[Any]:
        self.jobs += jobs
        for job in jobs:
            for row in job:
                connection.execute(text("INSERT INTO noted (value) VALUES (:row)"), {"row": row})
        return [Unprocessable("invalid_value", "refused") if "refused" in job else list(job) for job in jobs]


@pytest.fixture(scope="module", autouse=True)
def noted(database_url: str) -> None:
    query(database_url, "CREATE TABLE noted (value TEXT CHECK (value <> 'spoilt'))")


@pytest.fixture
def writer(loop: Loop) -> Iterator[tuple[GroupCommit, list[int]]]:
    batches: list[int] = []
    alone = loop.runtime.log_writer._autocommit
    made = GroupCommit(loop.runtime.engine, alone, settings(loop.database_url, LOOPWISE_QUEUE_ROWS="8"), batches.append)
    yield made, batches
    made.stop()


def test_many_callers_share_few_commits(loop: Loop, database_url: str, writer: tuple[GroupCommit, list[int]]) -> None:
    commit, batches = writer
    recorder = _Recorder()
    transactions = "SELECT count(DISTINCT xmin::text) FROM noted WHERE value LIKE 'shared%'"
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(commit.submit, recorder.handler, [f"shared-{n}"]) for n in range(8)]
        wait_for(lambda: commit._waiting_rows == 8, 20)
        commit.start()
        assert [future.result() for future in waiting] == [[f"shared-{n}"] for n in range(8)]
    assert batches == [8]
    assert query(database_url, transactions) == [(1,)]


def test_a_commit_holds_rows_of_one_kind(loop: Loop, database_url: str, writer: tuple[GroupCommit, list[int]]) -> None:
    """Two kinds in one transaction would take their locks in either order."""
    commit, batches = writer
    first, second = _Recorder(), _Recorder()
    with ThreadPoolExecutor(5) as pool:
        waiting = []
        for number, recorder in enumerate([first, second, first, second, first]):
            waiting.append(pool.submit(commit.submit, recorder.handler, [f"kind-{number}"]))
            wait_for(lambda: commit._waiting_rows == len(waiting), 20)
        commit.start()
        assert [future.result() for future in waiting] == [[f"kind-{number}"] for number in range(5)]
    assert (first.jobs, second.jobs) == ([["kind-0"], ["kind-2"], ["kind-4"]], [["kind-1"], ["kind-3"]])
    assert batches == [3, 2]
    together = (
        "SELECT array_agg(value ORDER BY value) FROM noted WHERE value LIKE 'kind-%' GROUP BY xmin::text ORDER BY 1"
    )
    assert query(database_url, together) == [(["kind-0", "kind-2", "kind-4"],), (["kind-1", "kind-3"],)]


def test_a_commit_is_as_large_as_it_may_be_and_no_larger(loop: Loop) -> None:
    batches: list[int] = []
    most = settings(loop.database_url, LOOPWISE_BATCH_ROWS="4")
    commit = GroupCommit(loop.runtime.engine, loop.runtime.log_writer._autocommit, most, batches.append)
    handler, rows = _Recorder().handler, (2, 2, 1)
    with ThreadPoolExecutor(3) as pool:
        for number, count in enumerate(rows):
            pool.submit(commit.submit, handler, [f"size-{number}"] * count)
            wait_for(lambda number=number: commit._waiting_rows == sum(rows[: number + 1]), 20)
        commit.start()
    commit.stop()
    assert batches == [4, 1]


def test_a_bad_row_is_refused_and_the_others_are_stored(
    loop: Loop, database_url: str, writer: tuple[GroupCommit, list[int]]
) -> None:
    commit, _ = writer
    handler = _Recorder().handler
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(commit.submit, handler, [row]) for row in ("left", "spoilt", "right")]
        wait_for(lambda: commit._waiting_rows == 3, 20)
        commit.start()
        assert waiting[0].result() == ["left"]
        with pytest.raises(Exception, match="noted_value_check"):
            waiting[1].result()
        assert waiting[2].result() == ["right"]
    rows = query(database_url, "SELECT value FROM noted WHERE value IN ('left', 'right', 'spoilt') ORDER BY value")
    assert rows == [("left",), ("right",)]


def test_a_handlers_own_refusal_reaches_its_caller_only(writer: tuple[GroupCommit, list[int]]) -> None:
    commit, _ = writer
    handler = _Recorder().handler
    commit.start()
    with ThreadPoolExecutor(2) as pool:
        good, bad = (pool.submit(commit.submit, handler, [row]) for row in ("good", "refused"))
        assert good.result() == ["good"]
        with pytest.raises(Unprocessable):
            bad.result()


def test_a_full_queue_is_429_and_takes_rows_again_when_it_is_empty(writer: tuple[GroupCommit, list[int]]) -> None:
    commit, _ = writer
    handler = _Recorder().handler
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(commit.submit, handler, [f"full-{n}" for n in range(8)])
        wait_for(lambda: commit._waiting_rows == 8, 20)
        with pytest.raises(TooManyRequests) as caught:
            commit.submit(handler, ["one too many"])
        assert caught.value.code == "queue_full"
        commit.start()
        waiting.result()
    assert commit.submit(handler, ["room again"]) == ["room again"]


def test_a_caller_that_gave_up_before_its_row_was_taken_stores_nothing(hasty: Loop, database_url: str) -> None:
    hasty.make("given-up", arms=bandit())
    with _blocked(database_url), ThreadPoolExecutor(2) as pool:
        first = pool.submit(hasty.decide, "given-up", [{"decision_id": "in the writer"}])
        wait_for(lambda: _writing(database_url), 20)
        second = pool.submit(hasty.decide, "given-up", [{"decision_id": "in the queue"}])
        for future in (first, second):
            with pytest.raises(Unavailable):
                future.result()
    stored = "SELECT state, closes_at IS NULL FROM decisions WHERE id = %s"
    wait_for(lambda: query(database_url, stored, "in the writer") == [("unanswered", True)], 20)
    assert query(database_url, stored, "in the queue") == []


def _writing(database_url: str) -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(query(database_url, waiting)[0][0])


def test_an_unanswered_decision_is_not_learned_from_until_its_caller_asks_again(hasty: Loop, database_url: str) -> None:
    experiment_id = hasty.make("unanswered", arms=bandit())
    with _blocked(database_url), pytest.raises(Unavailable):
        hasty.decide("unanswered", [{"decision_id": "asked twice"}])
    state = "SELECT state FROM decisions WHERE id = 'asked twice'"
    wait_for(lambda: query(database_url, state) == [("unanswered",)], 20)
    hasty.close_windows(experiment_id)
    assert hasty.train(experiment_id) is None
    (answer,) = hasty.decide("unanswered", [{"decision_id": "asked twice"}])
    assert (answer["decision_id"], query(database_url, state)) == ("asked twice", [("active",)])
    hasty.reward([{"decision_id": "asked twice", "value": 1.0}])
    hasty.close_windows(experiment_id)
    assert hasty.train(experiment_id).decisions == 1
    assert hasty.audit("unanswered").ok


def test_a_decision_that_was_learned_from_is_never_marked_unanswered(hasty: Loop, database_url: str) -> None:
    """Its caller gave up, and a round was faster than the mark. With the mark, a retry would be learned a second time."""
    from app.deciding.store import decisions

    experiment_id = hasty.learn("learned-first", 5)
    ((decision_id,),) = query(
        database_url, "SELECT decision_id FROM training_ledger WHERE experiment_id = %s LIMIT 1", experiment_id
    )
    with hasty.runtime.engine.begin() as connection:
        decisions.mark_unanswered(connection, [(experiment_id, decision_id)])
    assert query(database_url, "SELECT state FROM decisions WHERE id = %s", decision_id) == [("active",)]
    assert hasty.audit("learned-first").ok


def test_a_round_and_a_mark_at_once_agree_about_a_decision(hasty: Loop, database_url: str) -> None:
    from app.deciding.store import decisions

    experiment_id = hasty.make("raced-mark", arms=bandit())
    for lap in range(15):
        (decision,) = hasty.decide("raced-mark", [{"unit_id": str(lap)}])
        hasty.close_windows(experiment_id)
        together = threading.Barrier(2)

        def mark(decision_id: str, together: threading.Barrier = together) -> None:
            together.wait()
            with hasty.runtime.engine.begin() as connection:
                decisions.mark_unanswered(connection, [(experiment_id, decision_id)])

        def learn(together: threading.Barrier = together) -> None:
            together.wait()
            hasty.train(experiment_id)

        with ThreadPoolExecutor(2) as pool:
            for done in (pool.submit(mark, decision["decision_id"]), pool.submit(learn)):
                done.result()
    both = query(
        database_url,
        "SELECT count(*) FROM decisions d JOIN training_ledger l ON l.decision_id = d.id"
        " WHERE d.experiment_id = %s AND d.state = 'unanswered'",
        experiment_id,
    )
    assert both == [(0,)]
    assert hasty.audit("raced-mark").ok


KILL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'loopwise'"
)


def test_the_writer_survives_the_loss_of_its_connection(loop: Loop, database_url: str) -> None:
    loop.make("disconnected")
    for lap in range(3):
        query(database_url, KILL)
        (answer,) = loop.decide("disconnected", [{"decision_id": f"lap-{lap}"}])
        assert answer["decision_id"] == f"lap-{lap}"


class _Counted(deque[Any]):
    """A queue that knows how many were ever put into it."""

    came = 0

    def append(self, job: Any, /) -> None:
        super().append(job)
        self.came += 1


def test_stopping_writes_what_still_waits(database_url: str) -> None:
    with runtime_of(database_url) as runtime:
        loop = Loop(runtime, database_url)
        loop.make("stopped")
        runtime.log_writer._queue = queue = _Counted()
        began = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            waiting = [pool.submit(loop.decide, "stopped", [{"decision_id": f"last-{n}"}]) for n in range(4)]
            wait_for(lambda: queue.came == 4, 20)
            runtime.log_writer.stop()
            assert [future.result()[0]["decision_id"] for future in waiting] == [f"last-{n}" for n in range(4)]
        assert time.monotonic() - began < 10


def test_stopping_marks_what_nobody_saw(loop: Loop) -> None:
    recorder = _Recorder()
    made = GroupCommit(loop.runtime.engine, loop.runtime.log_writer._autocommit, loop.settings, lambda _: None)
    made.disown(recorder.handler, ["unseen"])
    made._stopping = True  # before the writer has had a turn
    made.start()
    made.stop()
    assert recorder.gone == ["unseen"]


def test_a_mark_that_comes_after_the_caller_got_its_answer_changes_nothing(loop: Loop) -> None:
    from app.deciding.store import decisions
    from app.foundation.store.engine import transaction

    made = loop.make("late-mark")
    body = {"decision_id": "late-mark-1"}
    first = loop.decide("late-mark", [body])
    assert loop.decide("late-mark", [body]) == first  # the retry, answered elsewhere
    loop.decide("late-mark", [{"decision_id": "late-mark-2"}])
    with transaction(loop.runtime.engine) as connection:
        decisions.mark_unanswered(connection, [(made, "late-mark-1"), (made, "late-mark-2")])
    states = query(loop.database_url, "SELECT state FROM decisions WHERE id LIKE 'late-mark-%%' ORDER BY id")
    assert states == [("active",), ("unanswered",)]


def test_a_connection_that_breaks_in_use_is_not_lost_to_the_pool(loop: Loop) -> None:
    """The writer's pool has one connection; without it the process would never write again."""
    engine = loop.runtime.log_writer._autocommit
    for _ in range(3):
        with engine.connect() as connection:
            pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            query(loop.database_url, "SELECT pg_terminate_backend(%s)", pid)
        with contextlib.suppress(OperationalError), engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")  # the broken connection fails here
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1


def on_a_loop(calls: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run these on an event loop in a thread of its own: this one may belong to the loop of a browser's tests."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(calls())).result()


def test_calls_of_one_turn_of_the_loop_share_a_commit(database_url: str) -> None:
    recorder, batches = _Recorder(), list[int]()
    with runtime_of(database_url) as runtime:
        commit = GroupCommit(runtime.engine, runtime.log_writer._autocommit, runtime.settings, batches.append)
        commit.start()

        async def call(waiting: Waiting, name: str) -> Any:
            return await waiting.take(commit.stored(recorder.handler, [name]), time.monotonic() + 20)

        async def calls() -> list[Any]:
            waiting = Waiting(asyncio.get_running_loop(), commit)
            answers = await asyncio.gather(*(call(waiting, f"turn-{n}") for n in range(20)))
            waiting.close()
            return answers

        assert on_a_loop(calls) == [[f"turn-{n}"] for n in range(20)]
        commit.stop()
    assert batches == [20]


def test_a_call_that_the_writer_refuses_is_told_at_once(database_url: str) -> None:
    with runtime_of(database_url, LOOPWISE_QUEUE_ROWS="8") as runtime:
        commit = GroupCommit(runtime.engine, runtime.log_writer._autocommit, runtime.settings, lambda _: None)

        async def call() -> Any:
            waiting = Waiting(asyncio.get_running_loop(), commit)
            return await waiting.take(commit.stored(_Recorder().handler, ["x"] * 9), time.monotonic() + 20)

        with pytest.raises(TooManyRequests):
            on_a_loop(call)


def test_the_oldest_job_that_is_being_written_decides_whether_a_new_one_is_taken(loop: Loop) -> None:
    patient = settings(loop.database_url, LOOPWISE_DECIDE_DEADLINE_S="50")  # refuses when a job has waited for 20 s
    commit = GroupCommit(loop.runtime.engine, loop.runtime.log_writer._autocommit, patient, lambda _: None)
    begun, go_on = threading.Event(), threading.Event()

    def store(_: Any, jobs: list[list[str]]) -> list[Any]:
        begun.set()
        assert go_on.wait(20)
        return [list(job) for job in jobs]

    handler: Handler[str, Any] = Handler(store, lambda *_: None)

    def enqueued(came_s: float) -> Any:
        waiter = threading.Lock()
        waiter.acquire()
        job = Job(handler, ["x"], group_commit._THREADS, waiter)
        job.came_at += came_s
        commit.enqueue([job])
        return job

    early, late = enqueued(-15.0), enqueued(0.0)
    commit.start()
    assert begun.wait(20)  # both are being written; nobody waits behind them
    refused, taken = enqueued(+10.0), enqueued(+1.0)
    assert isinstance(refused.error, Unavailable) and taken.error is None
    go_on.set()
    for job in (early, late, taken):
        assert job.waiter.acquire(timeout=20) and job.error is None
    assert enqueued(+10.0).error is None
    commit.stop()
