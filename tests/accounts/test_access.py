"""Who gets in, who sees what, and what a stolen form or cookie is worth: nothing."""

import re

import pytest
from flask import Flask
from werkzeug.routing import Rule

from app.accounts import users
from tests.page_client import PASSWORD, Browser, signed_in
from tests.service import Web, engine_of, query, runtime_of, settings


@pytest.fixture(scope="module")
def app(database_url: str) -> Flask:
    from app.web.app import create_app

    with runtime_of(database_url) as runtime:
        return create_app(settings(database_url), runtime)


def test_every_page_names_a_role_and_every_other_view_a_scope(app: Flask) -> None:
    for endpoint, view in app.view_functions.items():
        if endpoint.startswith("admin."):
            assert view.role in ("anybody", *users.ROLES), endpoint
        else:
            assert view.scope, endpoint


def test_only_these_pages_are_open_to_anybody(app: Flask) -> None:
    found = {name for name, view in app.view_functions.items() if getattr(view, "role", "") == "anybody"}
    assert found == {"admin.sign_in", "admin.sign_out", "admin.link", "admin.unknown_page"}


def _address(rule: Rule) -> str:
    """An address that the rule matches: the first of the words that it lists, or else 1."""
    listed = re.sub(r"<any\((\w+)[^>]*>", r"\1", rule.rule)
    return re.sub(r"<[^>]+>", "1", listed)


def test_nobody_sees_a_page_without_signing_in(app: Flask, web: Web) -> None:
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        if not rule.endpoint.startswith("admin.") or view.role == "anybody":
            continue
        address = _address(rule)
        if "GET" in (rule.methods or ()):
            page = Browser(web.port).get(address, follow=False)
            assert page.status == 302 and page.headers["Location"].startswith("/admin/sign-in?next="), address
        if "POST" in (rule.methods or ()):
            page = Browser(web.port).post(address)
            assert (page.status, "API key" in page.text) == (401, False), address


def test_pages_refuse_users_with_a_lower_role(app: Flask, viewer: Browser, editor: Browser) -> None:
    people = {"viewer": viewer, "editor": editor}
    for rule in app.url_map.iter_rules():
        needed = getattr(app.view_functions[rule.endpoint], "role", "")
        for role, browser in people.items():
            if needed not in users.ROLES or users.may(role, needed):
                continue
            address = _address(rule)
            for method in {"GET", "POST"} & set(rule.methods or ()):
                page = browser.get(address) if method == "GET" else browser.post(address)
                assert page.status == 403, (role, method, address)
                assert f"It needs the role {needed}" in page.text and "Your role may not do that" in page.text


def test_a_form_without_its_token_is_refused(admin: Browser, database_url: str) -> None:
    before = query(database_url, "SELECT count(*) FROM users")
    for token in ("", "wrong", signed_token_of_nobody()):
        page = admin.post("/admin/users", {"name": "mallory", "role": "admin"}, token=token)
        assert page.status == 400 and "reload the page" in page.text
    assert query(database_url, "SELECT count(*) FROM users") == before


def test_every_form_is_refused_without_its_token(app: Flask, admin: Browser) -> None:
    tried = 0
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("admin.") and "POST" in (rule.methods or ()):
            address = _address(rule)
            page = admin.post(address, {"name": "x"}, token="")
            assert page.status == 400 and "reload the page" in page.text, address
            tried += 1
    assert tried > 20


def signed_token_of_nobody() -> str:
    from itsdangerous import URLSafeTimedSerializer

    return str(URLSafeTimedSerializer("another secret", salt="wtf-csrf-token").dumps("guess"))


def test_signing_in_makes_a_new_session_and_signing_out_ends_it_on_the_server(web: Web, database_url: str) -> None:
    browser = signed_in(web, database_url, "viewer", "comes.and.goes")
    first = dict(browser.cookies)
    assert browser.get("/admin/").status == 200
    page = browser.post("/admin/sign-in", {"name": "comes.and.goes", "password": PASSWORD})
    assert page.address == "/admin/"
    assert browser.cookies["loopwise"] != first["loopwise"]
    last = dict(browser.cookies)
    browser.post("/admin/sign-out", token=browser.token("/admin/"))
    stolen = Browser(web.port, last)
    assert stolen.get("/admin/").address.startswith("/admin/sign-in")
    of_user = "SELECT count(*) FROM sessions s JOIN users u ON u.id = s.user_id WHERE u.name = %s"
    assert query(database_url, of_user, "comes.and.goes") == [(0,)]


def test_cookies_are_for_the_pages_only(web: Web, database_url: str) -> None:
    browser = Browser(web.port)
    header = browser.get("/admin/sign-in").headers["Set-Cookie"]
    assert "HttpOnly" in header and "SameSite=Lax" in header and "Path=/admin" in header
    signed = signed_in(web, database_url, "admin", "cookie.bearer")
    assert signed.get("/v1/experiments").status == 401


def test_a_modified_cookie_is_not_accepted(viewer: Browser, web: Web) -> None:
    value = viewer.cookies["loopwise"]
    for changed in (value[:-2] + ("AA" if value[-2:] != "AA" else "BB"), "x" + value, value.replace(".", "", 1), "%00"):
        page = Browser(web.port, {"loopwise": changed}).get("/admin/")
        assert page.address.startswith("/admin/sign-in")


def test_signing_in_leads_to_the_requested_page_but_never_to_another_site(web: Web, database_url: str) -> None:
    signed_in(web, database_url, "viewer", "wanderer")
    wanted = {
        "/admin/experiments/none/results?method=fixed": "/admin/experiments/none/results?method=fixed",
        "https://evil.example/admin/": "/admin/",
        "//evil.example/admin/": "/admin/",
        "/\\evil.example": "/admin/",
        "javascript:alert(1)": "/admin/",
        "/admin/../v1/experiments\\": "/admin/",
    }
    for asked, landed in wanted.items():
        browser = Browser(web.port)
        page = browser.post("/admin/sign-in", {"name": "wanderer", "password": PASSWORD, "next": asked})
        assert page.address == landed


def test_a_locked_out_user_is_out_at_once(web: Web, database_url: str) -> None:
    browser = signed_in(web, database_url, "editor", "leaver")
    with engine_of(database_url) as engine:
        users.set_disabled(engine, "leaver", True, "test")
    assert browser.get("/admin/").address.startswith("/admin/sign-in")
    page = browser.post("/admin/sign-in", {"name": "leaver", "password": PASSWORD})
    assert page.status == 401


def test_a_changed_role_applies_from_the_next_request(web: Web, database_url: str) -> None:
    browser = signed_in(web, database_url, "viewer", "climber")
    assert browser.get("/admin/users").status == 403
    with engine_of(database_url) as engine:
        users.set_role(engine, "climber", "admin", "test")
    assert browser.get("/admin/users").status == 200


def test_too_many_wrong_passwords_are_slowed_down_even_for_the_right_one(web: Web, database_url: str) -> None:
    signed_in(web, database_url, "viewer", "target")
    browser = Browser(web.port)
    for _ in range(5):
        assert browser.post("/admin/sign-in", {"name": "target", "password": "wrong password"}).status == 401
    page = browser.post("/admin/sign-in", {"name": "target", "password": PASSWORD})
    assert page.status == 429 and "Wait 15 minutes" in page.text
    query(database_url, "DELETE FROM sign_in_failures")
    assert browser.post("/admin/sign-in", {"name": "target", "password": PASSWORD}).status == 200


def test_a_wrong_name_and_a_wrong_password_look_the_same(web: Web, database_url: str) -> None:
    signed_in(web, database_url, "viewer", "exists")
    texts = set()
    for name in ("exists", "does.not.exist"):
        page = Browser(web.port).post("/admin/sign-in", {"name": name, "password": "not the right one"})
        texts.add((page.status, page.text.replace(name, "")))
    assert len(texts) == 1
    query(database_url, "DELETE FROM sign_in_failures")


@pytest.mark.parametrize(
    "address", ["/admin/nothing", "/admin/experiments/none/", "/admin/link/none", "/admin/drafts/99999"]
)
def test_an_error_is_a_page_with_words_and_a_way_back(admin: Browser, address: str) -> None:
    page = admin.get(address)
    assert page.status == 404
    assert page.headers["Content-Type"].startswith("text/html")
    assert "To the experiments" in page.text and "There is no such thing" in page.text


@pytest.mark.parametrize("address", ["/admin/sign-in", "/admin/", "/admin/keys", "/admin/nothing"])
def test_every_page_has_a_strict_policy_and_no_inline_script_or_style(admin: Browser, address: str) -> None:
    page = admin.get(address)
    policy = page.headers["Content-Security-Policy"]
    assert "unsafe" not in policy and "default-src 'self'" in policy and "form-action 'self'" in policy
    assert page.headers["Cache-Control"] == "no-store"
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=", page.html)
    assert set(re.findall(r'(?:src|href)="(https?:)?//', page.html)) == set()


def test_the_theme_is_remembered(viewer: Browser) -> None:
    page = viewer.post("/admin/theme", {"theme": "dark", "next": "/admin/?sort=name"}, token=viewer.token("/admin/"))
    assert page.address == "/admin/?sort=name"
    assert 'data-theme="dark"' in page.html
    viewer.post("/admin/theme", {"theme": "auto"}, token=viewer.token("/admin/"))
