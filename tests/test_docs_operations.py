"""docs/operations.md says what is so: a number in it is compared with what a server does, not with a copy of the sentence."""

import http.client
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest

from app.accounts import passwords, throttle, users
from app.accounts.keys import create_key
from app.commands.main import main
from app.foundation.settings import SETTINGS
from tests.faults.rows import ROWS
from tests.service import Answer, Client, Web, engine_of, make_key, running_web, wait_for

_TEXT = (Path(__file__).resolve().parents[1] / "docs/operations.md").read_text(encoding="utf-8")


def test_the_table_of_settings_is_the_one_of_the_code() -> None:
    written = re.findall(r"^\| `((?:LOOPWISE_|DATABASE_|REDIS_)\w+)`.*$", _TEXT, re.MULTILINE)
    rows = [f"| `{s.name}` | {f'`{s.default}`' if s.default else 'empty'} | {s.help} |" for s in SETTINGS]
    assert written == [setting.name for setting in SETTINGS]
    assert [row for row in rows if row not in _TEXT] == [], "put these rows into docs/operations.md"


@pytest.mark.parametrize("option", [o for p in main.commands["up"].params for o in p.opts if o != "--help"])
def test_every_option_of_up_is_explained(option: str) -> None:
    assert f"| `{option}` |" in _TEXT


def test_every_command_that_is_named_exists() -> None:
    named = set(re.findall(r"`loopwise ([a-z-]+)", _TEXT)) | set(
        re.findall(r"^loopwise ([a-z-]+)", _TEXT, re.MULTILINE)
    )
    assert named <= set(main.commands)


def _refused_statuses() -> dict[str, int]:
    """By setting, the status that the table promises to requests over its limit."""
    promised = re.findall(r"^\| `(LOOPWISE_\w+)` .*\banswer(?:s|ed) (\d{3})\b", _TEXT, re.MULTILINE)
    return {name: int(status) for name, status in promised}


@pytest.fixture(scope="module")
def tight(database_url: str) -> Iterator[Web]:
    """A server whose limits are all near."""
    near = {"QUEUE_ROWS": "2", "MAX_BODY_BYTES": "2000", "MAX_JSON_DEPTH": "6", "DECIDE_DEADLINE_S": "1"}
    near |= {"BODY_S": "0.3", "BROWSER_BODY_BYTES": "1024", "BROWSER_KEY_PER_MINUTE": "2"}
    with running_web(database_url, **{f"LOOPWISE_{name}": value for name, value in near.items()}) as server:
        yield server


def _three_rows(client: Client, database_url: str) -> Answer:
    bodies = [{"experiment": "limits", "unit_id": str(number)} for number in range(3)]
    wait_for(lambda: client.post("/v1/decide/batch", {"decisions": bodies[:2]}).status == 201, 20, "recovery")
    return client.post("/v1/decide/batch", {"decisions": bodies})


def _a_locked_database(client: Client, database_url: str) -> Answer:
    blocker = psycopg2.connect(database_url)
    try:
        blocker.cursor().execute("LOCK TABLE decisions IN ACCESS EXCLUSIVE MODE")
        return client.decide("limits")
    finally:
        blocker.close()


def _half_a_body(client: Client, _: str) -> Answer:
    with socket.create_connection(("127.0.0.1", client.port), 20) as connection:
        head = f"POST /v1/decide HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {client.key}\r\nContent-Length: 100\r\n\r\n"
        connection.sendall(head.encode() + b'{"experiment"')
        response = http.client.HTTPResponse(connection)
        response.begin()
        return Answer(response.status, response.headers, response.read())


def _page(client: Client, database_url: str) -> Client:
    origin = "https://shop.example"
    with engine_of(database_url) as engine:
        key = create_key(engine, scopes=["decide"], origins=[origin]).secret_text
    return Client(client.port, key, headers={"Origin": origin})


def _three_calls(client: Client, database_url: str) -> Answer:
    page = _page(client, database_url)
    assert [page.decide("limits").status for _ in range(2)] == [201, 201]
    return page.decide("limits")


BEYOND: dict[str, Callable[[Client, str], Answer]] = {
    "LOOPWISE_DECIDE_DEADLINE_S": _a_locked_database,
    "LOOPWISE_QUEUE_ROWS": _three_rows,
    "LOOPWISE_BODY_S": _half_a_body,
    "LOOPWISE_BROWSER_BODY_BYTES": lambda client, url: _page(client, url).decide(
        "limits", context={"long": "x" * 1100}
    ),
    "LOOPWISE_BROWSER_KEY_PER_MINUTE": _three_calls,
    "LOOPWISE_MAX_BODY_BYTES": lambda client, _: client.decide("limits", context={"long": "x" * 2000}),
    "LOOPWISE_MAX_JSON_DEPTH": lambda client, _: client.decide("limits", context={"deep": [[[[[[1]]]]]]}),
}


def test_every_status_that_the_table_of_settings_promises_is_the_one_of_a_server(tight: Web, database_url: str) -> None:
    client = tight.client(make_key(database_url))
    client.make("limits")
    answers = {name: go_beyond(client, database_url) for name, go_beyond in BEYOND.items()}
    assert {name: answer.status for name, answer in answers.items()} == _refused_statuses()
    for answer in answers.values():
        assert ("Retry-After" in answer.headers) is (answer.status in (429, 503))


def test_metrics_ask_for_the_token_or_without_one_for_a_key_that_may_read(
    client: Client, web: Web, database_url: str
) -> None:
    deciding = web.client(make_key(database_url, "decide"))
    assert [reader.get("/metrics").status for reader in (web.client(), deciding, client)] == [401, 403, 200]
    with running_web(database_url, LOOPWISE_METRICS_TOKEN="metrics and nothing else") as closed:
        given = [closed.client(key).get("/metrics").status for key in ("", "metrics and nothing else")]
    assert given == [401, 200]


def test_the_limits_of_people_are_those_of_the_code() -> None:
    text = " ".join(_TEXT.split())
    most, hour_s, day_s = throttle.MOST_FAILURES, 3600, 86_400
    for sentence in (
        f"Passwords have {passwords.MIN_PASSWORD} to {passwords.MAX_PASSWORD} characters",
        f"A link works once, for {'three' if 3 * day_s == users.LINK_VALID_S else '?'} days",
        f"A session ends after {users.IDLE_S / hour_s:g} hours without a click and after {users.WHOLE_S / day_s:g} days",
        f"After {most.both} failed sign-ins of a name from one address within {throttle.THROTTLE_S / 60:g} minutes "
        f"({most.name} from all addresses, {most.address} from one address for all names)",
    ):
        assert sentence in text


def test_the_table_of_what_make_faults_does_is_the_one_of_the_code() -> None:
    listed = [line.split(" | ")[0].removeprefix("| ") for line in _TEXT.splitlines() if line.startswith("| ")]
    first = listed.index("what is done") + 1
    assert listed[first : first + len(ROWS)] == [row.what for row in ROWS]
