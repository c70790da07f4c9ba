"""The main menu stands on one line, opens its groups without a script, and is whole on a phone."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.support import Site, sign_in, wider_than_the_window

ENTRIES = ["Experiments", "Impact", "Health", "Messages", "Notices", "Admin"]


@pytest.mark.parametrize("width", [1280, 900, 390])
def test_an_administrators_menu_is_one_line_and_opens_without_a_script(
    chromium: Browser, site: Site, width: int
) -> None:
    context = chromium.new_context(java_script_enabled=False, viewport={"width": width, "height": 800})
    page = context.new_page()
    sign_in(page, site, "admin", f"admin-{width}")
    entries = page.locator(".top-nav > a, .top-nav > details > summary")
    assert entries.all_inner_texts() == ENTRIES
    assert len({box["y"] for entry in entries.all() if (box := entry.bounding_box())}) == 1
    page.locator(".top-nav summary", has_text="Admin").click()
    page.get_by_role("link", name="Audit log").click()
    expect(page.locator("h1")).to_have_text("Audit log")
    page.locator(".top-nav summary", has_text="Messages").click()
    page.get_by_role("link", name="Triggers", exact=True).click()
    expect(page.locator(".top-nav .here")).to_have_text("Messages")
    context.close()


def test_opening_a_group_closes_the_other(page: Page, site: Site) -> None:
    sign_in(page, site, "admin", "opens-both")
    page.locator(".top-nav summary", has_text="Messages").click()
    expect(page.get_by_role("link", name="Deliveries")).to_be_visible()
    page.locator(".top-nav summary", has_text="Admin").click()
    expect(page.get_by_role("link", name="API keys")).to_be_visible()
    expect(page.get_by_role("link", name="Deliveries")).not_to_be_visible()
    assert not wider_than_the_window(page)


def test_a_viewer_has_no_group_of_administration(page: Page, site: Site) -> None:
    sign_in(page, site, "viewer", "only-looks")
    assert page.locator(".top-nav > a, .top-nav > details > summary").all_inner_texts() == ENTRIES[:-1]
