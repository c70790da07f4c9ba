"""Background threads: a turn that fails ends nothing; a thread that dies or hangs ends the process, which tells so before."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from app.foundation.running import threads
from app.foundation.running.threads import EXIT_CODE, Background
from tests.service import wait_for

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "app"


def test_a_turn_that_raises_is_followed_by_the_next() -> None:
    turns: list[int] = []

    def turn() -> bool:
        turns.append(1)
        if len(turns) == 1:
            raise MemoryError("for a moment")
        return len(turns) < 3

    thread = Background("survivor", turn, 60)
    thread.start()
    wait_for(lambda: not thread.alive, 10)
    assert len(turns) == 3
    assert threads.problems() == []


def test_a_thread_that_hangs_is_told_and_one_that_goes_on_is_not() -> None:
    going, hanging = threading.Event(), threading.Event()
    idle = Background("idle", lambda: not going.wait(0.1), 3)
    stuck = Background("stuck", lambda: not hanging.wait(60), 3)
    try:
        idle.start()
        stuck.start()
        for _ in range(6):
            idle.look()
            stuck.look()
            time.sleep(0.3)
        assert (stuck.problem() or "").startswith("thread stuck has not finished a turn for")
        assert idle.problem() is None
    finally:
        stuck.join(0)  # no longer watched, before the watchdog ends the tests
        going.set()
        hanging.set()
        idle.join(5)


_PROGRAM = """
import sys, threading, time
from app.foundation.running import logs, threads
logs.configure("info")
def die():
    raise SystemExit
def hang():
    while True:
        time.sleep(60)
threads.Background("victim", {"die": die, "hang": hang}[sys.argv[1]], 1.5).start()
while True:
    if threads.problems():
        print(threads.problems()[0], flush=True)
    time.sleep(0.1)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "says"), [("die", "thread victim is dead"), ("hang", "thread victim has not finished")]
)
def test_the_process_tells_and_then_ends_itself(how: str, says: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM, how],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == EXIT_CODE
    assert says in ended.stdout
    assert '"event":"process_ends_itself"' in ended.stderr


def test_no_thread_runs_in_a_loop_without_the_helper() -> None:
    """One-shot threads are allowed where they are: the look-up of a name, and the watchdog itself."""
    users = {
        str(path.relative_to(APP))
        for path in APP.rglob("*.py")
        if "threading.Thread(" in path.read_text(encoding="utf-8")
    }
    assert users == {"foundation/outgoing.py", "foundation/running/threads.py"}
