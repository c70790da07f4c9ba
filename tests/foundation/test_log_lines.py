"""What one log line holds: errors without the values they failed on; and that writing a line never raises."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest
from pydantic import BaseModel
from sqlalchemy import text

from app.embedded.errors import ServerError
from app.foundation.running.log_errors import trace_of, words_of
from app.foundation.running.log_sink import Sink
from tests.service import engine_of

ROOT = Path(__file__).resolve().parents[2]
PERSON = "ann@example.org"


class _Body(BaseModel):
    age: int


def _duplicate(url: str) -> None:
    with engine_of(url) as engine, engine.begin() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE people (name text PRIMARY KEY)"))
        for _ in range(2):
            connection.execute(text("INSERT INTO people VALUES (:name)"), {"name": PERSON})


def _unreadable(url: str) -> None:
    connection = psycopg2.connect(url)
    try:
        connection.cursor().execute("SELECT %s::integer", (PERSON,))
    finally:
        connection.close()


def _missing(_: str) -> None:
    try:
        {}[PERSON]  # type: ignore[index]
    except KeyError as error:
        raise ServerError("the look-up failed") from error


FAULTS: dict[str, Callable[[str], object]] = {
    "UniqueViolation (SQLSTATE 23505): duplicate key value violates": _duplicate,
    "InvalidTextRepresentation (SQLSTATE 22P02)": _unreadable,
    "ServerError: the look-up failed": _missing,
    "ValidationError": lambda _: _Body.model_validate({"age": PERSON}),
    "ValueError": lambda _: float(PERSON),
    "FileNotFoundError: [Errno 2] No such file or directory": lambda _: Path("/nowhere/at-all").read_bytes(),
}


@pytest.mark.parametrize("says", FAULTS)
def test_an_error_is_told_without_the_value_that_it_failed_on(says: str, database_url: str) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - six kinds, each with its own words below
        FAULTS[says](database_url)
    told = trace_of(raised.value)
    assert words_of(raised.value).startswith(says)
    assert says in told
    assert __file__ in told
    assert PERSON not in told.replace(f'FAULTS["{says}"]', "")


def test_at_the_level_debug_a_developer_sees_everything() -> None:
    before = logging.getLogger().level
    logging.getLogger().setLevel(logging.DEBUG)
    try:
        assert words_of(KeyError(PERSON)) == f"KeyError: '{PERSON}'"
    finally:
        logging.getLogger().setLevel(before)


def test_a_line_that_cannot_be_written_raises_nothing_and_is_counted(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    sink = Sink(os.open("/dev/full", os.O_WRONLY))
    sink.write({"event": "first"})
    sink.write({"event": "second"})
    assert sink.lost == 2
    sink._descriptor = writing
    sink.write({"event": "third"})
    sink.write({"event": "\ud800", "far": 2**80})
    os.close(writing)
    with os.fdopen(reading) as lines:
        assert [json.loads(line) for line in lines] == [
            {"event": "third", "lost_lines": 2},
            {"event": "\ud800", "far": 2**80},
        ]


_PROGRAM = """
import logging, threading, warnings, structlog
from app.foundation.running import logs
logs.configure("info")
log = structlog.get_logger()
try:
    1 / 0
except ZeroDivisionError as error:
    log.exception("ours", n=3, error=error)
logging.getLogger("library").warning("a %s", "line")
logging.getLogger("library").warning("not %d", "a number")
logging.getLogger("library").info({"any": "thing"})
log.debug("not shown")
warnings.warn("careful")
thread = threading.Thread(target=lambda: 1 / 0, name="worker")
thread.start()
thread.join()
raise SystemError("the end")
"""


def test_whatever_a_process_says_is_one_object_a_line() -> None:
    environment = {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [line["event"] for line in lines][:4] == ["ours", "a line", "log_line_unreadable", "{'any': 'thing'}"]
    assert "careful" in lines[4]["event"]
    assert [(line["event"], line["level"]) for line in lines[5:]] == [
        ("thread_died", "critical"),
        ("uncaught", "critical"),
    ]
    assert lines[0]["error"] == "ZeroDivisionError: division by zero"
    assert lines[0]["exception"].endswith("ZeroDivisionError: division by zero\n")
    assert lines[5]["thread"] == "worker"
