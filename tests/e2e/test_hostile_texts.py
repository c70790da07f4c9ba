"""Texts of users that look like HTML, quotes, scripts, right-to-left marks and ten thousand letters show as text everywhere."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.support import Site, sign_in, speak, wider_than_the_window
from tests.service import engine_of, query, wait_for

EVIL = "\"'><img src=x onerror=window.hacked=1><script>window.hacked=1</script>{{7*7}}\u202ekcab\u2066 &amp; =1+1"
LONG = EVIL + "w" * 9_000
KEY = "evil"
ONE = f"/admin/experiments/{KEY}"
PAGES = (
    "/admin/",
    f"/admin/?search={quote(EVIL)}",
    f"{ONE}/",
    f"{ONE}/results",
    f"{ONE}/results?segment=field",
    f"{ONE}/off-policy",
    f"{ONE}/policy",
    f"{ONE}/decisions",
    f"{ONE}/decisions?unit={quote(EVIL)}",
    f"{ONE}/replay?id={quote(EVIL, safe='')}",
    f"{ONE}/log",
    f"{ONE}/integration",
    f"{ONE}/report?show=1",
    "/admin/drafts/{draft}/purpose",
    "/admin/drafts/{draft}/actions",
    "/admin/drafts/{draft}/arms",
    "/admin/drafts/{draft}/review",
    "/admin/triggers",
    "/admin/triggers/fires",
    "/admin/triggers/fires/change",
    "/admin/triggers/fires/dry-run",
    "/admin/triggers/fires/delete",
    "/admin/deliveries",
    "/admin/people",
    f"/admin/people/unit?id={quote(EVIL)}",
    "/admin/experiments/speaks/decisions",
    "/admin/experiments/speaks/off-policy/cap",
    "/admin/keys",
    "/admin/audit-log",
    f"/admin/{quote(EVIL)}",
)


@pytest.fixture(scope="module")
def window(site: Site, chromium: Browser) -> Iterator[tuple[Page, str]]:
    """A phone's window of an administrator, and the draft of a change of the experiment with the texts."""
    _fill(site)
    context = chromium.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    sign_in(page, site)
    page.goto(f"{site.url}{ONE}/")
    page.get_by_role("button", name="Change", exact=True).click()
    page.wait_for_url("**/admin/drafts/**")
    yield page, page.url.split("/drafts/")[1].split("/")[0]
    context.close()


def _fill(site: Site) -> None:
    from app.accounts import keys
    from app.design import history as trail
    from app.off_policy import candidate_policies, evaluations
    from app.off_policy.evaluation_request import CandidateSpec, EvaluationRequest

    action = EVIL[:400]
    actions: list[dict[str, Any]] = [
        {"id": action, "payload": {"title": LONG}, "features": {"f": 1}},
        {"id": "other", "payload": EVIL},
    ]
    bandit = {"type": "bandit", "algorithm": "squarecb", "parameters": {"bits": 12}, "exploration_floor": 0.1}
    arms = [
        {"key": "control", "share": 0.5, "policy": {"type": "fixed", "action": action}},
        {"key": "learned", "share": 0.5, "policy": bandit},
    ]
    site.client.make(
        KEY,
        name=EVIL[:200],
        hypothesis=LONG,
        actions=actions,
        arms=arms,
        reward={"window_s": 1.0},
        segments=["field"],
    )
    bodies = [{"unit_id": f"{EVIL}{n}", "context": {"field": EVIL, EVIL[:90]: EVIL}} for n in range(240)]
    bodies[0] |= {"unit_id": EVIL, "decision_id": EVIL}
    decided = site.client.decide_many(KEY, bodies)
    site.client.reward_many({decision["decision_id"]: float(n % 2) for n, decision in enumerate(decided)})
    with engine_of(site.database_url) as engine:
        trail.add_note(engine, KEY, LONG, "test")
        keys.create_key(engine, scopes=["read"], name=EVIL)
        spec = CandidateSpec(key="fixed", policy={"type": "fixed", "action": action}, features_off=[])
        candidate_policies.add(engine, KEY, spec, "test")
        settled = "SELECT count(*) = 240 FROM outcomes"
        wait_for(lambda: query(site.database_url, settled)[0][0], 30, "settling")
        evaluations.ask(engine, KEY, EvaluationRequest(), "test")
    known = "SELECT 1 FROM latest WHERE kind = 'activity' AND (body->>'settled')::int = 240"
    wait_for(lambda: query(site.database_url, known), 30, "the activity")
    wait_for(lambda: query(site.database_url, "SELECT 1 FROM reports WHERE segment = 'field'"), 30, "the segments")
    wait_for(lambda: query(site.database_url, "SELECT 1 FROM evaluations WHERE status = 'done'"), 60, "the evaluation")
    speak(site, text=EVIL, unit=EVIL)


@pytest.mark.parametrize("address", PAGES)
def test_texts_show_as_text(window: tuple[Page, str], site: Site, address: str) -> None:
    page, draft = window
    answer = page.goto(site.url + address.format(draft=draft) if "{draft}" in address else site.url + address)
    assert answer is not None and answer.status in (200, 404)
    page.evaluate("document.querySelectorAll('main details').forEach((one) => (one.open = true))")
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src=x], script:not([src])").count() == 0
    assert "49" not in page.locator("h1").first.inner_text()  # a template was not evaluated
    assert not wider_than_the_window(page)
