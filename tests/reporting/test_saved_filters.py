"""A person's named filters of the list of experiments: saved, used, replaced, removed, and seen by nobody else."""

import html
import re

import pytest

from app.design.life import labels
from app.design.life.saved_filters import MOST
from tests.lab import Lab
from tests.page_client import Browser, signed_in
from tests.service import Web

NASTY = '<b>"mine"</b> & all'


@pytest.fixture(scope="module", autouse=True)
def experiments(lab: Lab) -> None:
    for key, tags in (("autumn", ["season", "mail"]), ("spring", ["season"]), ("plain", [])):
        lab.make(key)
        labels.label(lab.runtime.engine, key, labels.Labels(tags=tags), "test")


@pytest.fixture
def browser(web: Web, database_url: str) -> Browser:
    return signed_in(web, database_url, "viewer")


def listed(text: str) -> set[str]:
    return {key for key in ("autumn", "spring", "plain") if f"<code>{key}</code>" in text}


def saved(page_html: str) -> list[str]:
    section = re.search(r'aria-label="Saved filters".*?</section>', page_html, re.S)
    return (
        []
        if section is None
        else [html.unescape(name) for name in re.findall(r'name="name" value="([^"]*)"', section[0])]
    )


def test_the_list_is_filtered_by_tag_owner_and_status(browser: Browser) -> None:
    assert listed(browser.get("/admin/?tag=season").html) == {"autumn", "spring"}
    assert listed(browser.get("/admin/?tag=mail&status=running").html) == {"autumn"}
    assert listed(browser.get("/admin/?tag=mail&status=draft").html) == set()
    assert listed(browser.get("/admin/?owner=nobody").html) == set()
    assert listed(browser.get("/admin/?tag=%27%22%3Cx").html) == set()


def test_a_filter_is_saved_used_replaced_and_removed(browser: Browser) -> None:
    page = browser.post("/admin/filters", {"name": f"  {NASTY} ", "tag": "mail", "sort": "name"})
    assert page.status == 200 and listed(page.html) == {"autumn"} and saved(page.html) == [NASTY]
    assert (
        "tag=mail" in browser.get("/admin/").html.partition('aria-label="Saved filters"')[2].partition("</section>")[0]
    )
    page = browser.post("/admin/filters", {"name": NASTY, "tag": "season"})
    assert saved(page.html) == [NASTY] and listed(page.html) == {"autumn", "spring"}
    page = browser.post("/admin/filters", {"name": NASTY, "do": "remove"})
    assert saved(page.html) == []


def test_filters_are_their_persons_alone(web: Web, database_url: str, browser: Browser) -> None:
    browser.post("/admin/filters", {"name": "mine", "status": "running"})
    other = signed_in(web, database_url, "viewer")
    assert saved(other.get("/admin/").html) == [] and saved(browser.get("/admin/").html) == ["mine"]
    other.post("/admin/filters", {"name": "mine", "do": "remove"})
    assert saved(browser.get("/admin/").html) == ["mine"]


@pytest.mark.parametrize("sent", [{"name": ""}, {"name": "n" * 61}, {"name": "x", "search": "s" * 201}])
def test_what_cannot_be_saved_is_refused_in_words(browser: Browser, sent: dict[str, str]) -> None:
    assert browser.post("/admin/filters", sent).status == 422
    assert saved(browser.get("/admin/").html) == []


def test_signs_that_no_database_holds_are_left_out(browser: Browser) -> None:
    page = browser.post("/admin/filters", {"name": "a\0b", "search": "x\0y"})
    assert page.status == 200 and saved(page.html) == ["ab"]


def test_there_is_a_limit(browser: Browser) -> None:
    for number in range(MOST):
        assert browser.post("/admin/filters", {"name": f"f{number}", "status": "running"}).status == 200
    refused = browser.post("/admin/filters", {"name": "one more", "status": "running"})
    assert refused.status == 422 and "saved filters; remove one first" in refused.text
    assert browser.post("/admin/filters", {"name": "f1", "status": "draft"}).status == 200
