"""The life of an experiment in a browser: a window of a day, a clone, a pause with a reason, and one's own time zone."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.support import ARMS, Site, sign_in
from tests.service import query

DAY_S = 86_400.0
KEY = "a-day"


@pytest.fixture
def page(chromium: Browser, site: Site) -> Iterator[Page]:
    context = chromium.new_context(timezone_id="Asia/Tokyo")
    page = context.new_page()
    sign_in(page, site, "editor")
    yield page
    context.close()


def test_a_window_of_a_day_shows_provisional_figures_and_then_results(page: Page, site: Site) -> None:
    site.client.make(KEY, arms=ARMS, control_arm="control", reward={"window_s": DAY_S}, name="A day")
    page.goto(f"{site.url}/admin/experiments/{KEY}/integration")
    live = page.get_by_label("What arrived from your app")
    expect(live).to_contain_text("Waiting for your first call")
    decided = site.client.decide_many(KEY, [{"unit_id": f"u{n}"} for n in range(60)])
    expect(live).to_contain_text("Your first call arrived", timeout=15_000)
    site.client.reward_many({decision["decision_id"]: 1.0 for decision in decided[::3]})
    expect(live).to_contain_text("Your newest reward arrived", timeout=15_000)
    page.goto(f"{site.url}/admin/experiments/{KEY}/")
    expect(page.locator("main")).to_contain_text("have a reward so far", timeout=30_000)
    expect(page.locator(".tile", has_text="have a reward so far")).to_contain_text("33.3%", timeout=30_000)
    expect(page.locator("main")).to_contain_text("Rewards so far provisional")
    closes = query(
        site.database_url,
        "SELECT to_char(min(closes_at) AT TIME ZONE 'Asia/Tokyo', 'YYYY-MM-DD HH24:MI:SS') FROM awaiting_outcome a"
        " JOIN experiments e ON e.id = a.experiment_id WHERE e.key = %s",
        KEY,
    )[0][0]
    expect(page.locator("main")).to_contain_text(f"the first reward window closes {closes} JST")
    for table in ("awaiting_outcome", "decisions"):  # a day passes
        query(
            site.database_url,
            f"UPDATE {table} SET closes_at = closes_at - interval '1 day' WHERE experiment_id ="
            " (SELECT id FROM experiments WHERE key = %s)",
            KEY,
        )
    expect(page.locator("main")).to_contain_text("of settled decisions had a reward", timeout=60_000)
    expect(page.locator(".tile", has_text="of settled decisions")).to_contain_text("33.3%", timeout=30_000)
    expect(page.locator("main")).not_to_contain_text("provisional")


def test_a_clone_is_made_paused_and_archived(page: Page, site: Site) -> None:
    site.client.make("original", name="Original", arms=ARMS, control_arm="control")
    page.goto(f"{site.url}/admin/experiments/original/")
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Clone").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value("Copy of Original")
    page.goto(page.url.rpartition("/")[0] + "/review")
    page.get_by_role("button", name="Create the experiment").click()
    page.wait_for_url("**/experiments/original-2/**")
    page.get_by_role("button", name="Start", exact=True).click()
    page.get_by_text("Pause", exact=True).click()
    page.get_by_label("Why? (optional)").fill("The prices were wrong.")
    page.get_by_role("button", name="Pause now").click()
    expect(page.locator("main")).to_contain_text("The prices were wrong.")
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Archive").click()
    expect(page.locator(".alert")).to_contain_text("The experiment is archived.")
    page.goto(f"{site.url}/admin/")
    expect(page.locator("main")).not_to_contain_text("original-2")
