"""Every page, light and dark, wide and narrow: no serious accessibility fault, no horizontal scrolling."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page

from app.web.app import create_app
from tests.e2e.support import Site, faults, fill, sign_in, speak, wider_than_the_window
from tests.service import settings
from tests.wizard.test_document import COMPOSED

SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
KEY = "shop"
ONE = f"/admin/experiments/{KEY}"
PAGES = (
    "/admin/",
    "/admin/?search=nothing-like-this",
    f"{ONE}/",
    f"{ONE}/results",
    f"{ONE}/results?segment=region",
    f"{ONE}/slots",
    f"{ONE}/what-works-for-whom",
    f"{ONE}/fairness",
    f"{ONE}/feedback",
    f"{ONE}/off-policy",
    f"{ONE}/long-term",
    f"{ONE}/excluded-units",
    f"{ONE}/policy",
    f"{ONE}/policy/compare?arm=learned&first=1&second=2",
    f"{ONE}/policy/rollback?arm=learned&version=1",
    f"{ONE}/health",
    f"{ONE}/quarantine",
    f"{ONE}/decisions",
    f"{ONE}/replay?id={{decision}}",
    f"{ONE}/log",
    f"{ONE}/integration",
    "/admin/drafts/{draft}/purpose",
    "/admin/drafts/{draft}/actions",
    "/admin/drafts/{draft}/actions/import",
    "/admin/drafts/{draft}/arms",
    "/admin/drafts/{draft}/reward",
    "/admin/drafts/{draft}/people",
    "/admin/drafts/{draft}/metrics",
    "/admin/drafts/{draft}/plan",
    "/admin/drafts/{draft}/review",
    "/admin/drafts/{composed}/actions",
    "/admin/drafts/{composed}/actions?pick=0.1+1.1",
    "/admin/health",
    "/admin/holdout",
    "/admin/impact",
    "/admin/learnings",
    "/admin/saved-metrics",
    "/admin/triggers",
    "/admin/triggers/new",
    "/admin/triggers/{trigger}",
    "/admin/triggers/{trigger}/change",
    "/admin/triggers/{trigger}/dry-run",
    "/admin/triggers/{trigger}/delete",
    "/admin/deliveries",
    "/admin/deliveries?status=failed",
    "/admin/webhooks",
    "/admin/webhooks/{webhook}",
    "/admin/notices",
    "/admin/notices/receivers",
    "/admin/notices/receivers/{receiver}",
    "/admin/people",
    "/admin/people/unit?id=listener",
    "/admin/people/erasures/{erasure}",
    "/admin/experiments/speaks/off-policy",
    "/admin/experiments/speaks/off-policy/cap",
    f"{ONE}/policy/warm-start",
    f"{ONE}/policy/apprentice",
    "/admin/experiments/speaks/private-reports",
    "/admin/experiments/speaks/decisions",
    "/admin/account",
    f"{ONE}/ship",
    "/admin/keys",
    "/admin/users",
    "/admin/settings",
    "/admin/audit-log",
    "/admin/nothing-here",
)


# What is no page: parts of pages, files, a redirect; and the pages before signing in, which have a test of their own.
NO_PAGES = {
    "sign_in",
    "link",
    "draft",
    "integration_live",
    "overview_live",
    "evaluation_progress",
    "draft_world",
    "learnings_file",
    "unit_file",
    "export",
    "report",
}


def test_every_page_is_in_the_list(database_url: str) -> None:
    app = create_app(settings(database_url))
    addresses = app.url_map.bind("localhost")
    listed = {addresses.match(re.sub(r"{\w+}", "1", page).split("?")[0])[0] for page in PAGES}
    found = {rule.endpoint for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())}
    pages = {endpoint for endpoint in found if endpoint.startswith("admin.")}
    assert pages - listed == {f"admin.{name}" for name in NO_PAGES}


@pytest.fixture(scope="module")
def seen(site: Site, chromium: Browser) -> Iterator[dict[str, str]]:
    """An experiment with a history, and the names that addresses need."""
    from app.off_policy import candidate_policies, evaluations
    from app.off_policy.evaluation_request import CandidateSpec, EvaluationRequest
    from tests.service import engine_of, query, wait_for

    ids, names = fill(site), speak(site)
    with engine_of(site.database_url) as engine:
        spec = CandidateSpec(key="always-b", policy={"type": "fixed", "action": "b"})
        candidate_policies.add(engine, KEY, spec, "test")
        evaluations.ask(engine, KEY, EvaluationRequest(), "test")
    wait_for(lambda: query(site.database_url, "SELECT 1 FROM evaluations WHERE status = 'done'"), 60, "the evaluation")
    context = chromium.new_context()
    page = context.new_page()
    sign_in(page, site)
    assert site.client.post("/v1/experiments", COMPOSED).status == 201
    drafts = {}
    for name, key in (("draft", KEY), ("composed", COMPOSED["key"])):
        page.goto(f"{site.url}/admin/experiments/{key}/")
        page.get_by_role("button", name="Change", exact=True).click()
        page.wait_for_url("**/admin/drafts/**")
        drafts[name] = page.url.split("/drafts/")[1].split("/")[0]
    yield {"decision": quote(ids[-1]), **drafts, **names}
    context.close()


@pytest.fixture(scope="module")
def windows(chromium: Browser, site: Site, seen: dict[str, str]) -> Iterator[dict[tuple[str, str], Page]]:
    """One window for each appearance, signed in."""
    opened: dict[tuple[str, str], Page] = {}
    for scheme in ("light", "dark"):
        for size, viewport in SIZES.items():
            context = chromium.new_context(color_scheme=scheme, viewport=viewport)  # type: ignore[arg-type]
            page = context.new_page()
            sign_in(page, site, name=f"{scheme}-{size}")
            opened[scheme, size] = page
    yield opened
    for page in opened.values():
        page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.parametrize("address", PAGES)
def test_a_page_is_accessible_and_fits(
    windows: dict[tuple[str, str], Page],
    site: Site,
    seen: dict[str, str],
    axe: Path,
    address: str,
    size: str,
    scheme: str,
) -> None:
    page = windows[scheme, size]
    answer = page.goto(site.url + address.format(**seen))
    assert answer is not None and answer.status == (404 if "nothing-here" in address else 200)
    page.evaluate("document.querySelectorAll('main details').forEach((one) => (one.open = true))")
    assert not faults(page, axe)
    assert not wider_than_the_window(page)
    assert page.locator("html").get_attribute("data-bs-theme") == scheme


@pytest.mark.parametrize("address", ["/admin/sign-in", "/admin/link/{link}"])
def test_the_sign_in_pages_are_accessible(chromium: Browser, site: Site, axe: Path, address: str) -> None:
    from app.accounts import users
    from tests.service import engine_of

    with engine_of(site.database_url) as engine:
        link = users.create_user(engine, "comes.later", "viewer", "test") if "link" in address else ""
    context = chromium.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(site.url + address.format(link=link))
    assert not faults(page, axe)
    context.close()
