"""Sign-ins that fail: counted by person, by address behind a trusted proxy, and never against a browser that is known."""

from collections.abc import Iterator

import pytest

from app.accounts import throttle
from tests.page_client import PASSWORD, Browser, signed_in
from tests.service import SECRET, Web, query, running_web

FORM = {"password": PASSWORD}


@pytest.fixture
def full(database_url: str) -> Iterator[str]:
    """Functions that fill the counts; emptied afterwards."""
    yield database_url
    query(database_url, "DELETE FROM sign_in_failures")


def _fail(url: str, name: str, address: str, times: int, seconds_ago: float = 0) -> None:
    """Failures as the service stores them, without waiting for fifty hashes."""
    query(
        url,
        "INSERT INTO sign_in_failures (name, address, at)"
        " SELECT %s, %s, clock_timestamp() - make_interval(secs => %s) FROM generate_series(1, %s)",
        name, address, seconds_ago, times,
    )  # fmt: skip


@pytest.fixture(scope="module")
def behind(database_url: str) -> Iterator[Web]:
    """A server that trusts the proxy on this machine."""
    with running_web(database_url, LOOPWISE_TRUSTED_PROXIES="127.0.0.0/8, 2001:db8::/32") as server:
        yield server


def _try(web: Web, name: str, forwarded: str, password: str = PASSWORD) -> int:
    form = {"name": name, "password": password}
    return Browser(web.port).post("/admin/sign-in", form, **{"X-Forwarded-For": forwarded}).status


def test_behind_a_trusted_proxy_failures_count_for_the_persons_own_address(behind: Web, full: str) -> None:
    signed_in(behind, full, "viewer", "office")
    assert _try(behind, "office", "203.0.113.5", "a wrong password") == 401
    assert query(full, "SELECT address FROM sign_in_failures") == [("203.0.113.5",)]
    _fail(full, "somebody", "203.0.113.5", 50)
    assert _try(behind, "office", "203.0.113.5") == 429
    assert _try(behind, "office", "198.51.100.7") == 200
    # Whatever stands before the address that the proxy saw was written by the caller.
    assert _try(behind, "office", "198.51.100.7, 203.0.113.5") == 429
    assert _try(behind, "office", "198.51.100.7, 203.0.113.5, 127.0.0.9") == 429
    assert _try(behind, "office", "203.0.113.5:4711") == 429
    _fail(full, "somebody", "2001:4860:1:2::/64", 50)
    assert _try(behind, "office", "2001:4860:1:2::77") == 429
    assert _try(behind, "office", "2001:4860:1:3::77") == 200


def test_nobody_else_is_believed_about_addresses(web: Web, full: str) -> None:
    assert _try(web, "nobody", "203.0.113.5", "a wrong password") == 401
    assert query(full, "SELECT address FROM sign_in_failures") == [("127.0.0.1",)]


def test_failures_of_others_do_not_lock_out_a_browser_in_which_the_person_signed_in(web: Web, full: str) -> None:
    signed_in(web, full, "viewer", "regular")
    signed_in(web, full, "viewer", "colleague")
    known = Browser(web.port)
    assert known.post("/admin/sign-in", {"name": "Regular ", **FORM}).status == 200
    _fail(full, "regular", "203.0.113.5", 50)
    _fail(full, "anybody", "127.0.0.1", 50)
    stranger = Browser(web.port).post("/admin/sign-in", {"name": "regular", **FORM})
    assert stranger.status == 429
    kept = {name: value for name, value in known.cookies.items() if name == "loopwise_device"}
    again = Browser(web.port, dict(kept))
    assert again.post("/admin/sign-in", {"name": "regular", **FORM}).status == 200
    # It is for that person only, and is itself counted.
    assert Browser(web.port, dict(kept)).post("/admin/sign-in", {"name": "colleague", **FORM}).status == 429
    changed = {"loopwise_device": "x" + kept["loopwise_device"]}
    assert Browser(web.port, changed).post("/admin/sign-in", {"name": "regular", **FORM}).status == 429
    guessing = Browser(web.port, dict(kept))
    statuses = [
        guessing.post("/admin/sign-in", {"name": "regular", "password": "a guess " + str(n)}).status for n in range(6)
    ]
    assert statuses == [401] * 5 + [429]


def test_the_answer_says_when_the_next_try_is_possible(web: Web, full: str) -> None:
    _fail(full, "waits", "127.0.0.1", 4, seconds_ago=800)
    _fail(full, "waits", "127.0.0.1", 1, seconds_ago=100)
    page = Browser(web.port).post("/admin/sign-in", {"name": "waits", **FORM})
    assert page.status == 429
    assert 90 <= int(page.headers["Retry-After"]) <= 100  # the fifth-newest is 800 s old, and counts for 900
    _fail(full, "other", "127.0.0.1", 50, seconds_ago=500)
    page = Browser(web.port).post("/admin/sign-in", {"name": "waits", **FORM})
    assert 390 <= int(page.headers["Retry-After"]) <= 400


def test_a_browsers_cookie_is_good_for_one_name_and_one_secret() -> None:
    device = throttle.device(SECRET, "Ada@Example.org ")
    assert throttle.source(SECRET, "ada@example.org", "192.0.2.1", device).known
    for secret, name, cookie in (
        (SECRET, "bob", device),
        ("another secret of more than 32 bytes", "ada@example.org", device),
        (SECRET, "ada@example.org", device + "0"),
        (SECRET, "ada@example.org", device.partition(".")[0]),
        (SECRET, "ada@example.org", "."),
        (SECRET, "ada@example.org", "ü.ü"),
    ):
        assert throttle.source(secret, name, "192.0.2.1", cookie) == ("192.0.2.1", False)


@pytest.mark.parametrize(
    "wanted",
    [
        "/admin/\r\nSet-Cookie: a=b",
        "/admin/\n",
        "/ad\tmin/",
        "\n/admin/",
        "/admin/\x00",
        "/admin/\x85x",
        "/\n/evil.example/admin/",
    ],
)
def test_a_next_with_line_ends_is_not_followed_and_is_no_fault(web: Web, database_url: str, wanted: str) -> None:
    browser = signed_in(web, database_url, "viewer", name := f"lines-{len(query(database_url, 'SELECT 1 FROM users'))}")
    page = Browser(web.port).post("/admin/sign-in", {"name": name, **FORM, "next": wanted})
    assert (page.status, page.address) == (200, "/admin/")
    page = browser.post("/admin/theme", {"theme": "dark", "next": wanted}, token=browser.token("/admin/"))
    assert (page.status, page.address) == (200, "/admin/")


def test_over_https_cookies_belong_to_this_host_alone_and_browsers_stay(database_url: str) -> None:
    with running_web(database_url, LOOPWISE_PUBLIC_URL="https://loopwise.example", LOOPWISE_HSTS_S="600") as web:
        signed_in(web, database_url, "viewer", "secure")
        browser = Browser(web.port)
        page = browser.post("/admin/sign-in", {"name": "secure", **FORM}, follow=False)
        cookies = page.headers.get_all("Set-Cookie") or []
        assert {cookie.partition("=")[0] for cookie in cookies} == {"__Host-loopwise", "__Host-loopwise_device"}
        assert all(
            "; Secure" in cookie and "; Path=/;" in f"{cookie};" and "; HttpOnly" in cookie for cookie in cookies
        )
        assert not any("Domain" in cookie for cookie in cookies)
        assert page.headers["Strict-Transport-Security"] == "max-age=600"
        assert browser.get("/admin/").status == 200


def test_answers_are_not_kept_by_caches_and_without_https_nothing_is_promised(web: Web) -> None:
    client = web.client()
    for path in ("/v1/experiments", "/healthz", "/openapi.json", "/v1/units/ann", "/metrics"):
        assert client.get(path).headers["Cache-Control"] == "no-store", path
    static = client.get("/static/admin.css").headers
    assert static["Cache-Control"] != "no-store"
    assert "Strict-Transport-Security" not in static
