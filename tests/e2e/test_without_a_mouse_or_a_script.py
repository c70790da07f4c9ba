"""The pages without JavaScript, and without a mouse."""

from playwright.sync_api import Browser, Page, expect

from tests.e2e.support import PASSWORD, Site, sign_in, type_id
from tests.service import engine_of, query


def test_an_experiment_is_defined_and_started_without_javascript(chromium: Browser, site: Site) -> None:
    context = chromium.new_context(java_script_enabled=False)
    context.set_default_timeout(15_000)
    page = context.new_page()
    sign_in(page, site, "editor", "plain")
    page.get_by_role("button", name="Define an experiment").click()
    page.get_by_label("Name", exact=True).fill("Plain")
    page.get_by_role("button", name="Save and go on").click()
    for name in ("one", "two"):
        type_id(page, "Id", name)
        page.get_by_label("Title", exact=True).fill(f"Title of {name}")
        page.get_by_role("button", name="Add this action").click()
        expect(page.locator("main")).to_contain_text(f"Title of {name}")
    page.get_by_role("button", name="Save and go on").click()
    shares = page.locator("input[data-share]")
    shares.nth(0).fill("30")  # 30 + 60 + 20: nobody makes them sum to 100 without a script
    page.get_by_label("The one action").first.select_option("one")
    page.get_by_role("button", name="Save and go on").click()
    page.goto(page.url.rsplit("/", 1)[0] + "/review")
    expect(page.locator("main")).to_contain_text("fixing first")
    assert "110" in page.locator(".verdict.bad").inner_text()
    page.goto(page.url.rsplit("/", 1)[0] + "/arms")
    page.locator("input[data-share]").nth(0).fill("20")
    page.locator(".wizard-buttons").get_by_role("button", name="Save", exact=True).click()
    page.goto(page.url.rsplit("/", 1)[0] + "/review")
    page.get_by_role("button", name="Create the experiment").click()
    page.get_by_role("button", name="Start the experiment").click()
    expect(page.locator(".pill", has_text="running").first).to_be_visible()
    assert query(site.database_url, "SELECT status FROM experiments WHERE key = 'plain'") == [("running",)]
    context.close()


def _tab_to(page: Page, name: str, most: int = 40) -> None:
    """Press Tab until the element with that name has the focus, which must be visible then."""
    for _ in range(most):
        page.keyboard.press("Tab")
        focused = page.evaluate("(document.activeElement.innerText || document.activeElement.name || '').trim()")
        if focused.startswith(name):
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            shadow = page.evaluate("getComputedStyle(document.activeElement).boxShadow")
            assert outline != "none" or shadow != "none", f"nothing shows that {name} has the focus"
            return
    raise AssertionError(f"Tab does not reach {name!r}")


def test_the_keyboard_reaches_everything(page: Page, site: Site) -> None:
    from app.accounts import users

    with engine_of(site.database_url) as engine:
        users.use_link(engine, users.create_user(engine, "keys.only", "editor", "test"), PASSWORD)
    site.client.make("keyboard")
    page.goto(f"{site.url}/admin/sign-in")
    _tab_to(page, "name")
    page.keyboard.type("keys.only")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.url}/admin/")
    page.keyboard.press("Tab")  # the first stop skips the head of the page
    assert page.evaluate("document.activeElement.innerText") == "Skip to the content"
    page.keyboard.press("Enter")
    _tab_to(page, "keyboard")
    page.keyboard.press("Enter")
    page.wait_for_url("**/experiments/keyboard/")
    for tab in ("Results", "Off-policy", "Policy", "Decisions", "Log", "Integration"):
        _tab_to(page, tab)
        page.keyboard.press("Enter")
        page.wait_for_load_state()
        expect(page.locator(".tabs [aria-current=page]")).to_have_text(tab)
    page.goto(f"{site.url}/admin/experiments/keyboard/")
    _tab_to(page, "Pause")
    page.keyboard.press("Enter")
    _tab_to(page, "Pause now")
    page.keyboard.press("Enter")
    expect(page.locator(".pill", has_text="paused").first).to_be_visible()
