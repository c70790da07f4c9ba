"""A message is composed of parts in a real browser: built, kept apart, seen, started, and decided; also on a phone."""

from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.e2e.support import Site, faults, sign_in, type_id, wider_than_the_window

KEY = "composed-here"


def _save(page: Page) -> None:
    page.locator(".wizard-buttons").get_by_role("button", name="Save", exact=True).click()


def _part(page: Page, slot: int, part: int, name: str, text: str) -> None:
    fields = f"[id='/composition/slots/{slot}/parts/{part}']"
    type_id(page.locator(fields), "Id", name)
    page.locator(fields).get_by_label("Text in en").fill(text)


def _begin(page: Page, site: Site) -> None:
    """A new experiment whose arms choose alike, at its step of actions."""
    page.goto(f"{site.url}/admin/")
    page.get_by_role("button", name="New experiment").or_(page.get_by_role("button", name="Define")).first.click()
    page.get_by_label("Name", exact=True).fill("Composed")
    type_id(page, "Key", KEY)
    page.get_by_role("button", name="Save and go on").click()
    page.get_by_role("button", name="A message composed of parts").click()
    expect(page.get_by_role("heading", name="2 slots")).to_be_visible()


def test_a_message_is_composed_seen_started_and_decided(page: Page, site: Site, axe: Path) -> None:
    page.set_default_timeout(30_000)
    sign_in(page, site, "editor", "composes")
    _begin(page, site)
    page.get_by_role("button", name="Add a part: text").click()
    _part(page, 0, 0, "hello", "Hello {{ name }}")
    _part(page, 1, 0, "warm", "Lovely to see you.")
    _part(page, 1, 1, "brisk", "<b>Go!</b>")
    page.get_by_role("button", name="Add a part: title").click()
    _part(page, 0, 1, "news", "News")
    page.get_by_role("button", name="Add a variable").click()
    page.get_by_label("Name", exact=True).fill("name")
    page.get_by_label("Sample value").fill("Ada")
    page.get_by_label("People without a value").check()
    page.get_by_label("One part").select_option(label="title: hello")
    page.get_by_label("never with").select_option(label="text: brisk")
    page.get_by_role("button", name="Keep them apart").click()
    expect(page.locator("[id='/composition/forbidden']")).to_contain_text("title: hello and text: brisk")
    expect(page.locator("#count")).to_contain_text("3 combinations are allowed of 4")
    page.locator("#combinations").get_by_label("title").select_option(label="news")
    page.locator("#combinations").get_by_label("text").select_option(label="brisk")
    page.get_by_role("button", name="Save and preview").click()
    expect(page.locator("[data-preview=en]")).to_have_count(2)
    expect(page.locator("[data-preview=en]").first).to_contain_text("Hello Ada")
    expect(page.locator("[data-preview=en]").last).to_contain_text("<b>Go!</b>")
    assert not faults(page, axe)
    page.get_by_role("button", name="Save and go on").click()
    for arm in (0, 1):
        page.locator(f"[name='/arms/{arm}/policy/type']").select_option("uniform")
    _save(page)
    page.goto(page.url.rsplit("/", 1)[0] + "/review")
    expect(page.locator("#what-happens")).to_contain_text(
        "composes a message of title and text, in one of 3 combinations"
    )
    page.get_by_role("button", name="Create the experiment").click()
    page.get_by_role("button", name="Start the experiment").click()
    expect(page.locator(".pill", has_text="running").first).to_be_visible()
    assert _said(site) in ("Hello Bo: Lovely to see you.", "News: Lovely to see you.", "News: <b>Go!</b>")


def _said(site: Site) -> str:
    body = {"experiment": KEY, "unit_id": "u", "variables": {"name": "Bo"}}
    answer = site.client.post("/v1/messages/decide", body)
    assert answer.status == 201, answer.raw
    said = answer.body["message"]
    return f"{said['title']}: {said['body']}"


def test_errors_of_a_composed_message_are_fixed_on_a_phone_without_a_script(
    chromium: Browser, site: Site, axe: Path
) -> None:
    context = chromium.new_context(
        java_script_enabled=False, color_scheme="dark", viewport={"width": 390, "height": 844}
    )
    context.set_default_timeout(30_000)
    page = context.new_page()
    sign_in(page, site, "editor", "composes-again")
    page.goto(f"{site.url}/admin/")
    page.get_by_role("button", name="New experiment").or_(page.get_by_role("button", name="Define")).first.click()
    page.goto(page.url.rsplit("/", 1)[0] + "/actions")
    page.get_by_role("button", name="A message composed of parts").click()
    _part(page, 0, 0, "not an id", "T")
    _part(page, 1, 0, "b", "{{ nobody }}")
    page.get_by_role("button", name="Save", exact=True).last.click()
    expect(page.locator("[id='/composition/slots/0/parts/0/id-help'] .mistake")).to_be_visible()
    expect(page.locator("[id='/composition/slots/1/parts/0/texts/0/text-help'] .mistake")).to_contain_text(
        "not a declared variable"
    )
    expect(page.locator("[id='/composition/slots/0/parts/0/id']")).to_have_value("not an id")
    _part(page, 0, 0, "a", "T")
    _part(page, 1, 0, "b", "B")
    page.get_by_role("button", name="Move up: text").click()
    expect(page.locator("[id='/composition/slots/0/name']")).to_have_value("text")
    expect(page.locator("#count")).to_contain_text("1 combination is allowed")
    expect(page.locator("[data-preview=en]")).to_contain_text("B")
    address = page.url
    context.close()
    context = chromium.new_context(color_scheme="dark", viewport={"width": 390, "height": 844})
    page = context.new_page()
    sign_in(page, site, "editor", "looks-at-it")
    page.goto(address)
    page.evaluate("document.querySelectorAll('main details').forEach((one) => (one.open = true))")
    assert not faults(page, axe)
    page.locator("[id='/composition/slots/1/name']").fill("w" * 3000)
    _part(page, 1, 0, "i" * 3000, "<i>" + "t" * 9000)
    _save(page)
    expect(page.locator("[id='/composition/slots/1/parts/0/texts/0/text-help'] .mistake")).to_be_visible()
    assert not faults(page, axe)
    assert not wider_than_the_window(page)
    context.close()
