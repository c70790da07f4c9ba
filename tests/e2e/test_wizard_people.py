"""The wizard's forms for messages, people and feedback, complete and with errors: accessible, on a phone, and with a script."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.support import Site, faults, sign_in, type_id, wider_than_the_window
from tests.wizard.test_document import COMPOSED, MESSAGES


@pytest.fixture(scope="module")
def drafts(site: Site, chromium: Browser) -> Iterator[dict[str, str]]:
    """Drafts of changes of a running experiment with everything, and of one with a composed message."""
    for document in (MESSAGES, COMPOSED):
        assert site.client.post("/v1/experiments", document).status == 201
        assert site.client.post(f"/v1/experiments/{document['key']}/start").status == 200
    context = chromium.new_context()
    page = context.new_page()
    sign_in(page, site)
    addresses = {}
    for key in ("messages", "composed"):
        page.goto(f"{site.url}/admin/experiments/{key}/")
        page.get_by_role("button", name="Change", exact=True).click()
        page.wait_for_url("**/admin/drafts/**")
        addresses[key] = page.url.rsplit("/", 1)[0]
    yield addresses
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_full_forms_and_their_mistakes_are_accessible_on_a_phone(
    chromium: Browser, site: Site, drafts: dict[str, str], axe: Path, scheme: str
) -> None:
    context = chromium.new_context(color_scheme=scheme, viewport={"width": 390, "height": 844})  # type: ignore[arg-type]
    page = context.new_page()
    sign_in(page, site, "editor", f"reads-{scheme}")
    for address in (
        *(f"{drafts['messages']}/{step}" for step in ("actions?edit=0", "people", "reward", "review")),
        f"{drafts['composed']}/actions",
    ):
        page.goto(address)
        page.evaluate("document.querySelectorAll('main details').forEach((one) => (one.open = true))")
        assert not faults(page, axe), address
        assert not wider_than_the_window(page), address
    page.goto(f"{drafts['messages']}/people")
    page.get_by_label("Maximum number of messages").first.fill("two")
    page.locator(".wizard-buttons").get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("[id='/fatigue/caps/0/limit-help'] .mistake")).to_be_visible()
    assert not faults(page, axe)
    page.get_by_label("Maximum number of messages").first.fill("2")
    page.get_by_label("Time zone").select_option("Europe/Vienna")
    page.locator(".wizard-buttons").get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved.", exact=True)).to_be_visible()
    context.close()


def test_a_message_is_written_with_a_script_and_previewed_for_the_sample_user(
    chromium: Browser, site: Site, drafts: dict[str, str]
) -> None:
    context = chromium.new_context()
    page: Page = context.new_page()
    sign_in(page, site, "editor", "writes")
    page.goto(f"{drafts['messages']}/actions")
    text = page.get_by_label("Text of the message")
    expect(text).to_be_hidden()
    type_id(page, "Id", "written")
    page.get_by_label("What Loopwise itself says").select_option("in_app")
    text.fill("{{ user_name | default: 'You' }}: {{ lessons }} to go")
    page.get_by_role("button", name="Save and preview").click()
    expect(page.locator("[data-preview=en]")).to_contain_text("Ada : 3 to go")
    page.get_by_role("button", name="Add a language").click()
    page.get_by_label("Language", exact=True).nth(1).fill("de")
    page.get_by_label("Text of the message").nth(1).fill("{{ name }}")
    page.get_by_role("button", name="Save and preview").click()
    expect(page.locator("[id='/actions/-/template/texts/1/body-help'] .mistake")).to_contain_text(
        "not a declared variable"
    )
    expect(page.get_by_label("Text of the message").nth(1)).to_have_value("{{ name }}")
    context.close()
