"""Decisions and replay as pages."""

import re
from urllib.parse import quote

import pytest

from tests.page_client import Browser
from tests.service import Client, bandit, query

STRANGE = 'a/b?c=1&d <script>alert(1)</script>"\n\u202eevil'
LONG = "x" * 500


@pytest.fixture(scope="module", autouse=True)
def experiment(client: Client) -> None:
    arms = [arm | {"share": 0.5} for arm in bandit()]
    arms.append({"key": "even", "share": 0.5, "policy": {"type": "uniform"}})
    client.make("paged", arms=arms)
    client.decide_many("paged", [{"decision_id": f"d{n:03}", "unit_id": f"u{n}"} for n in range(120)])
    text = '<b onclick="x">bold</b> \u202e' + "long " * 2000
    client.decide(
        "paged", 'unit "<i>', decision_id=STRANGE, context={'<img src=x onerror="y">': text}, excluded_actions=["a"]
    )


def links(browser: Browser, address: str) -> list[str]:
    return re.findall(r'href="(/admin/experiments/paged/replay\?id=[^"]+)"', browser.get(address).html)


def test_every_decision_is_on_one_page_and_its_link_replays_it(viewer: Browser) -> None:
    seen: list[str] = []
    address = "/admin/experiments/paged/decisions"
    while address:
        page = viewer.get(address)
        assert page.status == 200
        seen += re.findall(r'href="/admin/experiments/paged/replay\?id=([^"]+)"', page.html)
        older = re.search(r'href="([^"]+)">Older', page.html)
        address = older[1].replace("&amp;", "&") if older else ""
    assert len(seen) == len(set(seen)) == 121
    page = viewer.get(f"/admin/experiments/paged/replay?id={seen[-1]}")
    assert page.status == 200 and "Recomputing gives the same." in page.text


def test_texts_from_outside_are_shown_as_text(viewer: Browser) -> None:
    (link,) = links(viewer, f"/admin/experiments/paged/decisions?id={quote(STRANGE)}")
    page = viewer.get(link.replace("&amp;", "&"))
    assert page.status == 200 and "Recomputing gives the same." in page.text
    assert "<script>alert" not in page.html and "<img src=x" not in page.html and "<b onclick" not in page.html
    assert "the call excluded it" in page.text
    assert "style=" not in page.html


def test_filters_find_and_say_when_nothing_matches(viewer: Browser) -> None:
    assert len(links(viewer, "/admin/experiments/paged/decisions?unit=u7")) == 1
    arms = [query_count(viewer, f"arm={arm}") for arm in ("even", "learned")]
    assert max(arms) == 50 and 15 < min(arms) <= 50  # a page holds 50, and of 121 one arm has at least 61
    assert "No decision matches" in viewer.get("/admin/experiments/paged/decisions?id=ghost").text
    assert "No decision matches" in viewer.get("/admin/experiments/paged/decisions?until=2001-01-01").text


def query_count(viewer: Browser, given: str) -> int:
    return len(links(viewer, f"/admin/experiments/paged/decisions?{given}"))


def test_a_time_that_cannot_be_read_is_explained_beside_its_field(viewer: Browser) -> None:
    page = viewer.get("/admin/experiments/paged/decisions?since=yesterday")
    assert page.status == 422 and "Write a time such as" in page.text and 'value="yesterday"' in page.html


def test_an_unknown_decision_and_an_unknown_experiment_are_not_found(viewer: Browser) -> None:
    assert viewer.get("/admin/experiments/paged/replay?id=ghost").status == 404
    assert viewer.get("/admin/experiments/paged/replay").status == 404
    assert viewer.get("/admin/experiments/ghost/decisions").status == 404


def test_a_tampered_decision_says_so(viewer: Browser, database_url: str) -> None:
    query(database_url, "UPDATE decisions SET propensity = propensity * 0.999 WHERE id = 'd005'")
    page = viewer.get("/admin/experiments/paged/replay?id=d005")
    assert "Recomputing gives something else." in page.text and "differs The action has this propensity" in page.text


def test_the_rule_and_the_shares_are_those_of_the_time_of_the_decision(client: Client, viewer: Browser) -> None:
    client.make("changing", reward={"window_s": 60.0, "aggregation": "max"})
    client.decide("changing", decision_id="before")
    arms = [{"key": "all", "share": 0.25, "policy": {"type": "uniform"}}]
    arms.append({"key": "late", "share": 0.75, "policy": {"type": "fixed", "action": "a"}})
    assert client.patch("/v1/experiments/changing", {"arms": arms}).status == 200
    page = viewer.get("/admin/experiments/changing/replay?id=before")
    assert "it was version 1" in page.text and "all : 100.0% of the units" in page.text and "late" not in page.text
    assert "the largest of the rewards that arrive within 1 minute" in page.text
    assert "this arm's policy does not learn" in page.text and "Recomputing gives the same." in page.text


def test_strangers_see_neither(web: object, viewer: Browser) -> None:
    stranger = Browser(viewer.port)
    for path in ("decisions", "replay?id=d001", "policy", "off-policy"):
        assert stranger.get(f"/admin/experiments/paged/{path}", follow=False).status == 302
