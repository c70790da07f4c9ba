"""Shared by the browser tests: an installation, signing in, sample data, and the accessibility check."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Locator, Page

from tests.service import Client, engine_of, query, wait_for

PASSWORD = "correct horse battery"
SERIOUS = ("serious", "critical")


class Site(NamedTuple):
    """One running installation."""

    url: str
    database_url: str
    client: Client


def sign_in(page: Page, site: Site, role: str = "admin", name: str = "") -> str:
    """A new user opens the link, chooses a password, and is in. Returns the name."""
    from app.accounts import users

    with engine_of(site.database_url) as engine:
        name = name or f"{role}-{len(users.list_users(engine))}"
        token = users.create_user(engine, name, role, "test")
    page.goto(f"{site.url}/admin/link/{token}")
    page.fill("#password", PASSWORD)
    page.click("main button")
    page.wait_for_url(f"{site.url}/admin/")
    return name


def type_id(within: Page | Locator, label: str, text: str) -> None:
    """Unfold the key or id that is hidden until somebody wants it, and type one."""
    summary = within.locator("summary").filter(has_text=re.compile(f"^{label}:"))
    if not summary.evaluate("element => element.parentElement.open"):
        summary.click()
    within.get_by_label(label, exact=True).fill(text)


def faults(page: Page, axe: Path) -> str:
    """Serious accessibility faults of the current page, in words with the element; empty: none."""
    page.evaluate(axe.read_text(encoding="utf-8"))  # bypasses the page's policy, which allows no foreign script
    result: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return "\n".join(
        f"{violation['id']}: {violation['help']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for violation in result["violations"]
        if violation["impact"] in SERIOUS
        for node in violation["nodes"][:3]
    )


def wider_than_the_window(page: Page) -> bool:
    """True when the page needs horizontal scrolling."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth + 1"))


LEARNED = {
    "type": "bandit",
    "algorithm": "squarecb",
    "parameters": {"bits": 12, "gamma_scale": 20.0},
    "exploration_floor": 0.05,
}
ARMS = [
    {"key": "control", "share": 0.3, "policy": {"type": "fixed", "action": "a"}},
    {"key": "learned", "share": 0.7, "policy": LEARNED},
]


def fill(site: Site, key: str = "shop", rounds: int = 4, count: int = 120) -> list[str]:
    """An experiment with a history: decisions, rewards, several model versions. Returns the ids of the decisions."""
    site.client.make(
        key,
        name='Which <b>offer</b> "works" & why',
        hypothesis="People from the north like b, people from the south like c.",
        arms=ARMS,
        control_arm="control",
        reward={"window_s": 1.0},
        segments=["region"],
        feedback={"thumbs": {"up": 1.0, "down": 0.0}},
    )
    ids: list[str] = []
    for number in range(rounds):
        ids += _round(site, key, number, count)
        _wait_until_settled(site, key, len(ids))
    for kind in ("activity", "results", "health", "audit", "feedback", "whom"):
        _wait_for_figures(site, key, kind)
    return ids


MESSAGE = {"texts": {"en": {"title": "Hi {{ name }}", "body": "{{ name }}, go on."}}}
HOOK = "https://push.example.com/loopwise"


def speak(site: Site, key: str = "speaks", text: str = "<b>news</b>", unit: str = "listener") -> dict[str, str]:
    """Messages: an experiment with a cap, a trigger that fired for a unit, a webhook, consent, an erasure with its receipt.

    :param text: the text of every field that users can write.
    :param unit: the unit that the trigger fired for.
    :returns: names that addresses need: trigger, webhook, receiver, erasure.
    """
    actions = [{"id": "tip", "template": MESSAGE}, {"id": "nothing"}]
    site.client.make(
        key,
        name=text[:200],
        actions=actions,
        variables=[{"name": "name", "sample": "Ada", "required": True}],
        reward={"window_s": 1.0},
        fatigue={"caps": [{"limit": 3, "window_s": 604_800.0, "across": "experiment"}]},
    )
    _made(site, "/v1/webhooks", {"key": "hook", "url": HOOK})
    _made(site, "/v1/notices/receivers", {"key": "on-call", "webhook": "hook"})
    trigger = {
        "key": "fires",
        "name": text[:200],
        "experiment": key,
        "pattern": {"type": "count", "event": "came", "count": 2, "window_s": 86_400},
        "conditions": [{"property": "name", "is": "eq", "value": text[:90]}],
        "variables": {"name": "name"},
        "context": {text[:20]: "plan"},
        "delivery": {"to": "unit"},
    }
    _made(site, "/v1/triggers", trigger)
    _made(site, "/v1/triggers/fires/start", {})
    for unit_id in (unit, "leaver"):
        _made(site, "/v1/consent", _consent(unit_id, text[:100]))
    came = [
        {"unit_id": unit, "name": "came", "event_id": f"{text[:90]}{n}", "properties": {"name": text[:90]}}
        for n in range(2)
    ]
    _made(site, "/v1/events", {"events": came})
    decided = "SELECT count(*) FROM firings WHERE status <> 'waiting'"
    wait_for(lambda: query(site.database_url, decided) == [(1,)], 30, "the firing")
    erasure = _made(site, "/v1/erasure", {"unit_id": "leaver"})["erasure_id"]
    erased = "SELECT 1 FROM erasures WHERE status = 'done'"
    wait_for(lambda: query(site.database_url, erased), 30, "the erasure")
    counted = "SELECT 1 FROM latest WHERE kind = 'consent' AND body::text LIKE '%%granted%%'"
    wait_for(lambda: query(site.database_url, counted), 60, "the counts of consent")
    return {"trigger": "fires", "webhook": "hook", "receiver": "on-call", "erasure": str(erasure)}


def _consent(unit_id: str, text: str) -> dict[str, Any]:
    given = {"unit_id": unit_id, "purposes": {"learn": "granted"}, "text_version": text, "source": text}
    return given | {"occurred_at": "2026-01-01T12:00:00Z"}


def _made(site: Site, path: str, body: Any) -> dict[str, Any]:
    answer = site.client.post(path, body)
    assert answer.status in (200, 201, 202), answer.raw
    return dict(answer.body)


def _round(site: Site, key: str, number: int, count: int) -> list[str]:
    bodies = [
        {"unit_id": f"person-{number}-{n}", "context": {"region": "north" if n % 2 else "south", "visits": n % 7}}
        for n in range(count)
    ]
    decided = site.client.decide_many(key, bodies)
    liked = {"north": "b", "south": "c"}
    rewards = {
        decision["decision_id"]: float(decision["action"]["id"] == liked[request["context"]["region"]])
        for decision, request in zip(decided, bodies, strict=True)
    }
    site.client.reward_many(rewards)
    said = [
        {"decision_id": name, "kind": "thumbs", "value": "up" if value else "down"} for name, value in rewards.items()
    ]
    said[0]["comment"] = "<b>Nice</b>, but " + "a-very-long-word" * 20
    answer = site.client.post("/v1/feedback/batch", {"feedback": said[::3]})
    assert answer.status in (200, 201), answer.raw
    return list(rewards)


def _wait_until_settled(site: Site, key: str, count: int) -> None:
    settled = "SELECT count(*) FROM outcomes o JOIN experiments e ON e.id = o.experiment_id WHERE e.key = %s"
    wait_for(lambda: query(site.database_url, settled, key)[0][0] == count, 30, "settling")


def _wait_for_figures(site: Site, key: str, kind: str) -> None:
    known = "SELECT 1 FROM latest l JOIN experiments e ON e.id = l.experiment_id WHERE e.key = %s AND l.kind = %s"
    wait_for(lambda: query(site.database_url, known, key, kind), 30, f"the worker's {kind}")
