"""The plan of retries, without a clock."""

from datetime import UTC, datetime

import pytest

from loopwise_client.retry import FIRST_S, LONGEST_S, Failed, pause_s, retry_after_s

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


def test_pauses_grow_to_a_limit_and_are_any_part_of_it() -> None:
    failed = Failed("x", again=True)
    longest = [pause_s(failed, attempt, 60, 1.0) for attempt in range(10)]
    assert longest == [min(LONGEST_S, FIRST_S * 2**attempt) for attempt in range(10)]
    assert pause_s(failed, 5, 60, 0.0) == 0.0
    assert pause_s(failed, 5, 60, 0.25) == FIRST_S * 2**5 / 4
    assert pause_s(failed, 1_000_000, 60, 1.0) == LONGEST_S


def test_a_pause_begins_after_what_the_server_asks_for() -> None:
    failed = Failed("x", again=True, retry_after_s=3)
    assert pause_s(failed, 0, 60, 0.0) == 3
    assert pause_s(failed, 0, 60, 1.0) == 3 + FIRST_S


def test_there_is_no_attempt_after_the_deadline_nor_where_it_is_of_no_use() -> None:
    assert pause_s(Failed("x", again=True, retry_after_s=3), 0, 3, 0.0) is None
    assert pause_s(Failed("x", again=True), 0, -1, 0.0) is None
    assert pause_s(Failed("x", again=False), 0, 60, 0.0) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("7", 7),
        (" 7 ", 7),
        ("-7", 0),
        ("1e9", 0),
        ("9" * 5000, 0),
        ("soon", 0),
        ("Sat, 31 Jan 2026 12:00:30 GMT", 30),
        ("Sat, 31 Jan 2026 12:00:30 -0000", 30),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float) -> None:
    assert retry_after_s(header, NOW) == seconds
