"""A list in a real browser, from the wizard to the results: set up, previewed, decided and rewarded over HTTP, and read."""

import random
import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.e2e.support import Site, faults, sign_in, type_id, wider_than_the_window
from tests.service import query, wait_for

KEY = "reading-list"
LISTS = 150
EARNS = {1: 0.6, 2: 0.2}  # by position


def test_a_list_from_the_wizard_to_the_results(page: Page, site: Site, axe: Path) -> None:
    page.set_default_timeout(30_000)
    sign_in(page, site, "editor", "makes-lists")
    _set_up(page, site, axe)
    page.get_by_role("button", name="Create the experiment").click()
    expect(page.locator("#snippet-client")).to_contain_text("for place in decision.positions")
    expect(page.locator("main")).to_contain_text("2 positions: send slots 2.")
    page.get_by_role("button", name="Start the experiment").click()
    expect(page.locator(".pill", has_text="running").first).to_be_visible()
    shown = _lists_are_read(site)
    page.goto(f"{site.url}/admin/experiments/{KEY}/results")
    page.get_by_role("link", name="Positions").click()
    _positions_are_right(page, shown)
    assert not faults(page, axe)
    page.set_viewport_size({"width": 390, "height": 844})
    assert not wider_than_the_window(page)


def _set_up(page: Page, site: Site, axe: Path) -> None:
    """From a new draft to its review."""
    page.goto(f"{site.url}/admin/")
    page.get_by_role("button", name="New experiment").or_(page.get_by_role("button", name="Define")).first.click()
    page.get_by_label("Name", exact=True).fill("Reading list")
    type_id(page, "Key", KEY)
    page.get_by_role("button", name="Save and go on").click()
    page.get_by_role("button", name="A list of actions").click()
    page.get_by_label("How many positions").fill("200")
    page.get_by_text("Paste many at once").click()
    page.get_by_label("One action a line").fill("Rivers\nMountains & <b>sea</b>\nCities")
    page.get_by_role("button", name="Make an action of each line").click()
    expect(page.locator("[id='/lists/positions-help'] .mistake")).to_contain_text("at most 50")
    page.get_by_label("How many positions").fill("2")
    page.get_by_role("button", name="Save and go on").click()
    page.locator("[name='/arms/0/policy/type']").select_option("uniform")
    page.get_by_role("button", name="Save and go on").click()
    page.locator("[name='/reward/window_s']").fill("1")
    page.locator("[name='/reward/window_s:unit']").select_option("seconds")
    page.get_by_role("button", name="Save and go on").click()
    steps = page.url.rsplit("/", 1)[0]
    page.goto(f"{steps}/metrics")
    page.locator(".wizard-buttons").get_by_role("button", name="Save", exact=True).click()
    page.goto(f"{steps}/actions")
    lists = page.locator("#drawn ol")
    expect(lists).to_have_count(3)
    seen = {tuple(lists.all_inner_texts())}
    for _ in range(12):  # six lists of two are possible, in each of three arms
        page.get_by_role("button", name="Try again").click()
        page.wait_for_url(re.compile("draw="))
        seen.add(tuple(lists.all_inner_texts()))
    assert len(seen) > 1
    assert not faults(page, axe)
    page.goto(f"{steps}/review")
    expect(page.locator("#what-happens")).to_contain_text(
        "answers with a list of 2 different actions from the 3 actions, one position after the other"
    )


def _lists_are_read(site: Site) -> int:
    """Ask for lists, and report what each position earned. Returns how many were answered."""
    chance = random.Random(5)
    for number in range(LISTS):
        answer = site.client.decide(KEY, f"reader-{number}", slots=2)
        assert answer.status == 201 and len(answer.body["positions"]) == 2, answer.raw
        for at in answer.body["positions"]:
            if chance.random() < EARNS[at["position"]]:
                assert site.client.reward(at["decision_id"], 1.0).status == 201
    read = "SELECT l.body -> 'window' ->> 'decisions' FROM latest l JOIN experiments e ON e.id = l.experiment_id "
    read += "WHERE e.key = %s AND l.kind = 'slots'"
    wait_for(
        lambda: query(site.database_url, read, KEY) == [(str(2 * LISTS),)], 60, "the worker's report of all positions"
    )
    return LISTS


def _positions_are_right(page: Page, lists: int) -> None:
    rows = page.locator("main table tr")
    for arm in ("control", "learned", "uniform"):
        expect(page.locator("main")).to_contain_text(f"Arm {arm}: what each position earned")
    page.evaluate("document.querySelectorAll('main details').forEach((one) => (one.open = true))")
    tops = [row for row in rows.all_inner_texts() if row.startswith("Position 1")]
    shown = [int(row.split("\t")[1].replace(",", "")) for row in tops]
    assert sum(shown) == lists
    expect(page.locator("[aria-label='What it says']")).to_contain_text("the first position earned most")
