"""Charts in a browser: the nearest points under the pointer; without a script, lines and views are still switched."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.support import ARMS, Site, sign_in

KEY = "drawn"


@pytest.fixture(scope="module")
def drawn(site: Site) -> str:
    """An experiment with settled decisions of two arms."""
    site.client.make(KEY, arms=ARMS, control_arm="control", reward={"window_s": 1.0}, name="Drawn")
    for start in range(0, 400, 100):
        bodies = [{"unit_id": f"u{number}"} for number in range(start, start + 100)]
        decided = site.client.decide_many(KEY, bodies)
        site.client.reward_many({decision["decision_id"]: 1.0 for decision in decided[::2]})
    return f"{site.url}/admin/experiments/{KEY}"


def test_the_pointer_shows_every_arm_at_the_nearest_point(page: Page, site: Site, drawn: str) -> None:
    sign_in(page, site, "viewer")
    page.goto(f"{drawn}/")
    chart = page.locator("#rates .plotted > svg")
    expect(chart).to_be_visible(timeout=60_000)
    chart.scroll_into_view_if_needed()
    chart.hover()
    tip = page.locator(".chart-tip")
    expect(tip).to_contain_text("until 20")
    for arm in ARMS:
        expect(tip).to_contain_text(f"{arm['key']}: ")
    expect(tip).to_contain_text("decisions")
    page.keyboard.press("Escape")
    expect(tip).to_have_count(0)


def test_lines_views_and_explanations_need_no_script(chromium: Browser, site: Site, drawn: str) -> None:
    context = chromium.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844})
    page = context.new_page()
    sign_in(page, site, "viewer")
    page.goto(f"{drawn}/")
    first = page.locator("#rates .series-0")
    expect(first).to_be_visible()
    page.locator("#rates .toggle-0").uncheck()
    expect(first).to_be_hidden()
    expect(page.locator("#rates .series-1")).to_be_visible()
    page.locator("#rates-cumulative").check()
    expect(page.locator("#rates")).to_be_hidden()
    expect(page.locator("#rates-so-far")).to_be_visible()
    page.goto(f"{drawn}/results")
    expect(page).to_have_title("Results · Drawn · Loopwise")
    page.locator(".help").first.click()
    expect(page.locator(".help-text").first).to_be_visible()
    page.goto(f"{drawn}/integration")
    page.get_by_role("heading", name="Python over HTTP", exact=True).click()
    expect(page.locator("#snippet-python")).to_be_visible()
    expect(page.locator("#snippet-curl")).to_be_hidden()  # one language at a time
    context.close()
