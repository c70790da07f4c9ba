"""With LOOPWISE_APPROVALS, one person asks and a second one approves: start, change and ship, in two browsers."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.support import ARMS, Site, sign_in
from tests.service import definition, running_web


@pytest.fixture(scope="module")
def strict(site: Site) -> Iterator[Site]:
    """The same installation with approvals switched on."""
    with running_web(site.database_url, LOOPWISE_APPROVALS="1") as web:
        yield Site(f"http://127.0.0.1:{web.port}", site.database_url, web.client(site.client.key))


@pytest.fixture
def two(chromium: Browser, strict: Site) -> Iterator[tuple[Page, Page]]:
    contexts = [chromium.new_context(), chromium.new_context()]
    pages = [context.new_page() for context in contexts]
    for page in pages:
        sign_in(page, strict, "editor")
    yield pages[0], pages[1]
    for context in contexts:
        context.close()


def test_a_second_person_approves_the_start_and_the_shipping(two: tuple[Page, Page], strict: Site) -> None:
    ann, ben = two
    key = "four-eyes"
    created = strict.client.post("/v1/experiments", definition(key, arms=ARMS, control_arm="control"))
    assert created.status == 201, created.raw
    address = f"{strict.url}/admin/experiments/{key}/"
    ann.goto(address)
    ann.get_by_role("button", name="Start", exact=True).click()
    expect(ann.locator("main")).to_contain_text("to start this experiment")
    expect(ann.get_by_role("button", name="Approve")).to_have_count(0)  # not her own request
    expect(ann.locator(".pill", has_text="draft").first).to_be_visible()
    ben.goto(f"{strict.url}/admin/")
    expect(ben.locator("main")).to_contain_text("waits for an approval")
    ben.get_by_role("link", name=key, exact=True).first.click()
    ben.get_by_role("button", name="Approve").click()
    expect(ben.locator("main")).to_contain_text("You have approved it, and it is done.")
    expect(ben.locator(".pill", has_text="running").first).to_be_visible()

    ann.goto(f"{address}ship")
    ann.locator("#how-now").check()
    ann.locator("#arm").select_option("learned")
    ann.locator("#reason").fill("It wins.")
    ann.get_by_role("button", name="Ship", exact=False).first.click()
    expect(ann.locator("main")).to_contain_text("to ship learned: It wins.")
    ben.goto(address)
    ben.get_by_role("button", name="Decline").click()
    expect(ben.locator("main")).to_contain_text("Nothing has changed.")
    expect(ben.locator(".pill", has_text="running").first).to_be_visible()
