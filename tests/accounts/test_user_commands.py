"""`loopwise users` as an administrator types it."""

import re
from pathlib import Path

from tests.page_client import PASSWORD, Browser
from tests.service import Web, loopwise, query


def test_a_user_is_made_gets_in_changes_role_and_is_locked_out(tmp_path: Path, web: Web, database_url: str) -> None:
    def run(*arguments: str) -> str:
        done = loopwise(tmp_path, database_url, "users", *arguments, "--data-dir", str(tmp_path / "none"))
        assert done.returncode == 0, done.stderr
        return done.stdout

    link = run("create", "Grace@example.org", "--role", "editor").strip().splitlines()[-1]
    found = re.fullmatch(r"http://127\.0\.0\.1:8000(/admin/link/[\w-]{43})", link)
    assert found
    assert "invited" in run("list")
    browser = Browser(web.port)
    assert browser.post(found[1], {"password": PASSWORD}, token=browser.token(found[1])).address == "/admin/"
    assert "grace@example.org" in browser.get("/admin/").text
    assert re.search(r"grace@example\.org +editor +active", run("list"))
    run("set-role", "grace@example.org", "viewer")
    assert "(viewer)" in browser.get("/admin/").text
    run("disable", "grace@example.org")
    assert browser.get("/admin/").address.startswith("/admin/sign-in")
    run("disable", "grace@example.org", "--undo")
    again = run("link", "grace@example.org").strip().removeprefix("http://127.0.0.1:8000")
    assert browser.post(again, {"password": PASSWORD + "!"}, token=browser.token(again)).status == 200
    actors = query(database_url, "SELECT DISTINCT actor FROM changes WHERE kind LIKE 'user%%'")
    assert actors == [("cli",)]


def test_a_wrong_command_ends_with_an_error_of_one_sentence(tmp_path: Path, database_url: str) -> None:
    for arguments, words in (
        (("create", "two words"), "give 1 to 100 letters"),
        (("create", "x", "--role", "god"), "give one of viewer, analyst, editor, admin"),
        (("set-role", "nobody", "admin"), "no user 'nobody'"),
        (("link", "nobody"), "loopwise users list"),
        (("disable", "nobody"), "no user 'nobody'"),
    ):
        done = loopwise(tmp_path, database_url, "users", *arguments)
        assert done.returncode == 2 and words in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
