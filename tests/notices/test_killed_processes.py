"""Notices arrive once and in order at a real mail server and a real webhook, while every process is killed in turn."""

import os
import signal
import time
from itertools import groupby
from types import SimpleNamespace
from typing import Any

import pytest

from app.foundation.store import engine as store_engine
from tests.faults.stage import DEFAULT, Stage, stage
from tests.mailbox import Letter, mailbox
from tests.notices.desk import Desk
from tests.receiver import Call, receiving
from tests.service import wait_for

pytestmark = pytest.mark.slow
KILLED = ("worker", "beat", "web", "redis", "postgres", "worker")
EACH = 4  # incidents between two kills


def _slow(*_: object) -> str:
    time.sleep(0.05)  # so that a kill hits a message on its way
    return "250 fine"


def _slow_hook(call: Call, number: int) -> int:
    time.sleep(0.05)
    return 200


def _once(ids: list[str]) -> list[str]:
    """Without repetitions, which may only follow what they repeat: a killed worker sends its last message again."""
    arrived = [each for each, _ in groupby(ids)]
    assert len(arrived) == len(set(arrived)), ids
    return arrived


def test_notices_arrive_once_and_in_order_under_kill_9_of_every_process() -> None:
    with mailbox(_slow) as server, receiving(_slow_hook) as hook:
        environment = {"LOOPWISE_SMTP_URL": server.url, "LOOPWISE_ALLOW_HTTP_LOOPBACK": "1"}
        with stage(**environment) as made:
            made.client.make("shop", arms=DEFAULT)
            made.key = "shop"
            desk = _desk(made, environment)
            desk.webhook("ops", hook.url)
            desk.receiver("on-call", webhook="ops")
            desk.receiver("ann", email="ann@shop.example")
            opened = _tell(made, desk, server.letters)
            expected = 2 * len(opened)
            wait_for(lambda: len({letter.id for letter in server.letters}) == expected, 60, "every letter")
            wait_for(lambda: len({call.headers["loopwise-delivery"] for call in hook.calls}) == expected, 60)
            wait_for(lambda: _statuses(made) == {"delivered"}, 30, "the log to say so")
        _check([letter.id for letter in server.letters], server.letters, hook.calls, expected)


def _desk(made: Stage, environment: dict[str, str]) -> Desk:
    """A desk whose services are this installation's."""
    key = made.settings().secret_key
    loop: Any = SimpleNamespace(
        database_url=made.url, runtime=SimpleNamespace(engine=store_engine.create(made.url, made.settings()))
    )
    return Desk(loop, LOOPWISE_SECRET_KEY=key, **environment)


def _tell(made: Stage, desk: Desk, letters: list[Letter]) -> list[int]:
    """Incidents come and go, and after some of them a process is killed; returns their ids."""
    number, opened = made.experiment_id(), list[int]()
    for role in KILLED:
        before = len(letters)
        opened += [desk.incident(number) for _ in range(EACH)]
        for incident in opened[-EACH:-2]:
            desk.close(incident)
        wait_for(lambda: len(letters) > before, 60, "a letter after the start")  # noqa: B023
        os.kill(made.pid(role), signal.SIGKILL)
        wait_for(made.answers, 60, f"decisions after the end of {role}")
    for incident in opened:
        desk.close(incident)
    return opened


def _statuses(made: Stage) -> set[str]:
    return {status for (status,) in made.query("SELECT DISTINCT status FROM notice_messages")}


def _check(ids: list[str], letters: list[Letter], calls: list[Call], expected: int) -> None:
    assert len(_once(ids)) == expected and len(ids) - expected <= len(KILLED)
    hooks = [call.headers["loopwise-delivery"] for call in calls]
    assert len(_once(hooks)) == expected and len(hooks) - expected <= len(KILLED)
    numbers = [int(each.removeprefix("notice-")) for each in _once(hooks)]
    assert numbers == sorted(numbers), "in order"
    order = list(
        dict.fromkeys((letter.message["In-Reply-To"] or letter.id, "Over" in letter.subject) for letter in letters)
    )
    begun = {each for each, over in order if not over}
    assert begun == {each for each, over in order if over} and all(
        order.index((each, False)) < order.index((each, True)) for each in begun
    ), "each end after its beginning"
