"""One's own page: password, time zone, appearance; for every role, and for nobody else."""

import re

import pytest

from tests.page_client import PASSWORD, Browser, signed_in
from tests.service import Web, query

ADDRESS = "/admin/account"
NEW = "a quite different horse"


def save(browser: Browser, address: str, **values: str) -> tuple[int, str]:
    page = browser.post(address, values, token=browser.token(ADDRESS))
    return page.status, page.text


@pytest.mark.parametrize("role", ["viewer", "editor", "admin"])
def test_times_follow_the_zone_that_the_person_chose(web: Web, database_url: str, role: str) -> None:
    browser = signed_in(web, database_url, role)
    assert "Times are in UTC." in browser.get("/admin/").text
    status, text = save(browser, ADDRESS, time_zone="Asia/Kolkata", theme="dark")
    assert status == 200 and "Saved." in text and "Times are in Asia/Kolkata." in text
    assert 'data-theme="dark"' in browser.get("/admin/").html
    assert re.search(r"It is now [\d-]+ [\d:]+ IST", text)
    other = Browser(web.port)  # the preferences belong to the person, not to the browser
    name = re.search(r"signed in as (\S+)", text)
    assert name
    token = other.token()
    other.post("/admin/sign-in", {"name": name[1], "password": PASSWORD}, token=token)
    assert 'data-theme="dark"' in other.get("/admin/").html
    assert "Times are in Asia/Kolkata." in other.get("/admin/").text


def test_the_browsers_zone_is_taken_until_the_person_chooses_one(web: Web, database_url: str) -> None:
    browser = signed_in(web, database_url, "viewer")
    browser.cookies["loopwise_zone"] = "Europe%2FVienna"
    assert "Times are in Europe/Vienna." in browser.get("/admin/").text
    for hostile in ("../../etc/passwd", "/etc/localtime", "%00", "Europe/Nowhere", "x" * 3000):
        browser.cookies["loopwise_zone"] = hostile
        assert "Times are in UTC." in browser.get("/admin/").text


def test_what_is_no_zone_and_no_theme_is_refused_beside_its_field(web: Web, database_url: str) -> None:
    browser = signed_in(web, database_url, "viewer")
    status, text = save(browser, ADDRESS, time_zone="Vienna", theme="auto")
    assert status == 422 and "Europe/Vienna" in text
    status, text = save(browser, ADDRESS, time_zone="", theme="pink")
    assert status == 422


def test_a_new_password_ends_every_other_session(web: Web, database_url: str) -> None:
    browser = signed_in(web, database_url, "viewer", "changes")
    elsewhere = Browser(web.port)
    elsewhere.post("/admin/sign-in", {"name": "changes", "password": PASSWORD}, token=elsewhere.token())
    assert elsewhere.get(ADDRESS).address == ADDRESS
    wrong = browser.post(
        f"{ADDRESS}/password", {"current": "wrong horse", "password": NEW}, token=browser.token(ADDRESS)
    )
    assert wrong.status == 422 and "This is not your current password" in wrong.text
    short = browser.post(f"{ADDRESS}/password", {"current": PASSWORD, "password": "x"}, token=browser.token(ADDRESS))
    assert short.status == 422 and elsewhere.get(ADDRESS).address == ADDRESS
    done = browser.post(f"{ADDRESS}/password", {"current": PASSWORD, "password": NEW}, token=browser.token(ADDRESS))
    assert done.status == 200 and "Your password is changed." in done.text
    assert "sign-in" in elsewhere.get(ADDRESS).address
    kinds = "SELECT count(*) FROM changes WHERE kind = 'password_changed' AND actor = 'changes'"
    assert query(database_url, kinds) == [(1,)]


def test_guesses_of_the_current_password_are_limited(web: Web, database_url: str) -> None:
    browser = signed_in(web, database_url, "viewer", "guessed")
    del browser.cookies["loopwise_device"]
    statuses = []
    for _ in range(6):
        page = browser.post(
            f"{ADDRESS}/password", {"current": "not it at all", "password": NEW}, token=browser.token(ADDRESS)
        )
        statuses.append(page.status)
    assert statuses == [422] * 5 + [429]


def test_nobody_else_sees_it(web: Web) -> None:
    assert "sign-in" in Browser(web.port).get(ADDRESS).address
