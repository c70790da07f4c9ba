"""Notices arrive once and in order at a real mail server and a real webhook, while the worker is killed again and again."""

import time
from itertools import groupby

import pytest

from tests.mailbox import Letter, mailbox
from tests.notices.desk import Desk
from tests.receiver import Call, receiving
from tests.service import Loop, running_worker, wait_for

pytestmark = pytest.mark.slow
KILLS = 4
EACH = 5  # incidents between two kills


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


def test_notices_arrive_once_and_in_order_under_kill_9(loop: Loop, redis_url: str) -> None:
    number = loop.make("shop")
    with mailbox(_slow) as server, receiving(_slow_hook) as hook:
        environment = {"LOOPWISE_SMTP_URL": server.url, "LOOPWISE_ALLOW_HTTP_LOOPBACK": "1"}
        desk = Desk(loop, LOOPWISE_SMTP_URL=server.url)
        desk.webhook("ops", hook.url)
        desk.receiver("on-call", webhook="ops")
        desk.receiver("ann", email="ann@shop.example")
        opened: list[int] = []
        with running_worker(loop.database_url, redis_url, **environment) as worker:
            for turn in range(KILLS + 1):
                before = len(server.letters)
                for _ in range(EACH):
                    opened.append(desk.incident(number))
                for incident in opened[-EACH:-2]:
                    desk.close(incident)
                wait_for(lambda: len(server.letters) > before, 60, "a letter after the start")  # noqa: B023
                if turn < KILLS:
                    worker.kill()
                    worker.start("worker")
            for incident in opened:
                desk.close(incident)
            expected = 2 * len(opened)
            wait_for(lambda: len({letter.id for letter in server.letters}) == expected, 60, "every letter")
            wait_for(lambda: len({call.headers["loopwise-delivery"] for call in hook.calls}) == expected, 60)
            wait_for(lambda: _statuses(desk) == {"delivered"}, 30)
        _check([letter.id for letter in server.letters], server.letters, hook.calls, expected)


def _statuses(desk: Desk) -> set[str]:
    return {message.status for entry in desk.entries() for message in entry.messages}


def _check(ids: list[str], letters: list[Letter], calls: list[Call], expected: int) -> None:
    assert len(_once(ids)) == expected and len(ids) - expected <= KILLS
    hooks = [call.headers["loopwise-delivery"] for call in calls]
    assert len(_once(hooks)) == expected and len(hooks) - expected <= KILLS
    numbers = [int(each.removeprefix("notice-")) for each in _once(hooks)]
    assert numbers == sorted(numbers), "in order"
    order = list(
        dict.fromkeys((letter.message["In-Reply-To"] or letter.id, "Over" in letter.subject) for letter in letters)
    )
    begun = {each for each, over in order if not over}
    assert begun == {each for each, over in order if over} and all(
        order.index((each, False)) < order.index((each, True)) for each in begun
    ), "each end after its beginning"
