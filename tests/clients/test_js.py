"""The JavaScript client in a real browser, on a page of another origin, against a real server."""

import gzip
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from app.accounts.keys import create_key
from app.deciding.pages.client_snippets import PUBLISHABLE
from app.deciding.pages.snippets import snippets
from app.design import experiments
from app.design.experiment_config import ExperimentConfig
from tests.service import ROOT, Client, Web, engine_of, query, wait_for

FILE = ROOT / "clients" / "js" / "loopwise.js"
PAGE = """<!doctype html><meta charset="utf-8"><title>A shop</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'self'; connect-src *">
<button id="buy" data-loopwise-on="click" data-loopwise-value="1">Buy</button>
<div id="far"></div><p id="seen">Seen</p><link rel="stylesheet" href="page.css"><script type="module" src="page.js"></script>
"""
CSS = "#far { height: 3000px }"
SCRIPT = "import { Loopwise } from './loopwise.js'; window.Loopwise = Loopwise;"
TEMPLATE = {
    "texts": {"en": {"title": "<b>Hi</b>", "body": "Go on, {{ name | default: 'you' }}", "call_to_action": "Go"}}
}


class Shop(NamedTuple):
    """A page of another origin, and its files."""

    url: str
    server: str
    key: str
    client: Client
    database_url: str
    folder: Path

    def token(self, unit: str) -> str:
        return str(self.client.post("/v1/units/token", {"unit_id": unit}).body["unit_token"])


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def shop(web: Web, client: Client, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    for name, text in (("index.html", PAGE), ("page.css", CSS), ("page.js", SCRIPT)):
        Path(folder, name).write_text(text, encoding="utf-8")
    shutil.copy(FILE, folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    origin = f"http://localhost:{server.server_port}"
    with engine_of(database_url) as engine:
        key = create_key(engine, scopes=["decide", "reward"], origins=[origin]).secret_text
    actions = [{"id": "hello", "template": TEMPLATE}, {"id": "nothing"}]
    arms = [{"key": "all", "share": 1.0, "policy": {"type": "fixed", "action": "hello"}}]
    client.make("greet", actions=actions, arms=arms, variables=[{"name": "name", "sample": "Ada"}])
    client.make("choose")
    yield Shop(origin, f"http://127.0.0.1:{web.port}", key, client, database_url, folder)
    server.shutdown()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    made = chromium.new_context()
    made.set_default_timeout(20_000)
    yield made
    made.close()


def opened(context: BrowserContext, shop: Shop, **options: Any) -> Page:
    """The shop's page with a client in `window.loopwise`."""
    page = context.new_page()
    page.goto(shop.url)
    page.wait_for_function("'Loopwise' in window")
    given = {"url": shop.server, "key": shop.key, "deadlineMs": 10_000, **options}
    page.evaluate("options => { window.loopwise = new Loopwise(options); }", given)
    return page


def rewards_of(shop: Shop, decision_id: str) -> list[tuple[str, float]]:
    return query(shop.database_url, "SELECT metric, value FROM rewards WHERE decision_id = %s", decision_id)


def test_it_is_small_and_needs_nothing() -> None:
    assert len(gzip.compress(FILE.read_bytes())) < 5000
    text = FILE.read_text(encoding="utf-8")
    assert "import " not in text.replace("import {", "") and "eval(" not in text and "innerHTML" not in text


def test_a_page_decides_and_rewards(context: BrowserContext, shop: Shop) -> None:
    page = opened(context, shop, unitId="js-1")
    decision = page.evaluate("loopwise.decide('choose', {context: {device: 'phone'}, fallback: 'z'})")
    assert decision["logged"] is True and decision["action"] in "abc" and decision["propensity"] == 1 / 3
    page.evaluate("decision => { loopwise.reward(decision, 0.5); loopwise.feedback(decision, 'stars', 4); }", decision)
    wait_for(lambda: rewards_of(shop, decision["decisionId"]) == [("reward", 0.5)], 20, "the reward")
    statement = "SELECT kind, value FROM feedback WHERE decision_id = %s"
    wait_for(lambda: query(shop.database_url, statement, decision["decisionId"]) == [("stars", 4)], 20, "the feedback")
    stored = "SELECT unit_id, context FROM decisions WHERE id = %s"
    assert query(shop.database_url, stored, decision["decisionId"]) == [("js-1", {"device": "phone"})]


@pytest.mark.parametrize("lists", [None, {"positions": 2}, {"positions": 2, "reward": "list"}])
def test_the_program_of_the_integration_page_runs_in_a_page(
    context: BrowserContext, shop: Shop, lists: dict[str, Any] | None
) -> None:
    key = f"program-{len(lists or {})}"
    actions = [{"id": "</script><b>"}, {"id": "other", "payload": "</script>"}]
    shop.client.make(key, actions=actions, lists=lists)
    (program,) = [one for one in snippets(_config(shop, key), shop.server) if one.name == "web"]
    text = program.text.replace(PUBLISHABLE, shop.key)
    page = context.new_page()
    lines: list[str] = []
    page.on("console", lambda message: lines.append(message.text))
    Path(shop.folder, "program.html").write_text(text, encoding="utf-8")
    page.goto(f"{shop.url}/program.html")
    rewarded = "SELECT r.decision_id FROM rewards r JOIN experiments e ON e.id = r.experiment_id WHERE e.key = %s"
    places = 2 if lists and lists.get("reward") == "list" else 1
    wait_for(lambda: len(query(shop.database_url, rewarded, key)) == places, 20, "the rewards")
    page.evaluate("1")  # lets the console's lines arrive
    assert len([line for line in lines if line.startswith("show:")]) == (2 if lists else 1)


def _config(shop: Shop, key: str) -> ExperimentConfig:
    with engine_of(shop.database_url) as engine:
        return ExperimentConfig.model_validate(experiments.get(engine, key).config)


def test_a_page_tries_without_counting(context: BrowserContext, shop: Shop) -> None:
    page = opened(context, shop, unitId="js-trial")
    decision = page.evaluate("loopwise.decide('choose', {test: true, fallback: 'z'})")
    assert decision["logged"] is True
    stored = "SELECT state FROM decisions WHERE id = %s"
    assert query(shop.database_url, stored, decision["decisionId"]) == [("trial",)]


def test_a_late_decision_is_the_default_and_is_not_reported(context: BrowserContext, shop: Shop) -> None:
    page = opened(context, shop, unitId="js-2")
    decision = page.evaluate("loopwise.decide('choose', {fallback: 'mine', deadlineMs: 0})")
    assert (decision["action"], decision["logged"], decision["decisionId"]) == ("mine", False, None)
    page.evaluate("decision => loopwise.reward(decision, 1)", decision)
    assert page.evaluate("localStorage.length") == 0
    assert decision["reason"] == "timeout"
    unknown = page.evaluate("loopwise.decide('no-such-experiment', {fallback: 'mine'})")
    assert (unknown["action"], unknown["reason"], unknown["status"]) == ("mine", "unknown_experiment", 404)


def test_each_fallback_has_its_reason(context: BrowserContext, shop: Shop) -> None:
    page = opened(context, shop, unitId="js-9", consent=False)
    assert page.evaluate("loopwise.decide('choose')")["reason"] == "consent"
    page = opened(context, shop, unitId="js-9", url="http://127.0.0.1:9")
    assert page.evaluate("loopwise.decide('choose')")["reason"] == "unreachable"
    page = opened(context, shop, unitId="js-9")
    assert page.evaluate("loopwise.decide('choose')")["logged"] is True
    page.goto(shop.url.replace("localhost", "127.0.0.1"))  # another origin than the key's
    page.wait_for_function("'Loopwise' in window")
    options = {"url": shop.server, "key": shop.key, "deadlineMs": 10_000}
    page.evaluate("options => { window.loopwise = new Loopwise(options); }", options)
    assert page.evaluate("loopwise.decide('choose')")["reason"] == "cors"
    context.set_offline(True)
    assert page.evaluate("loopwise.decide('choose')")["reason"] == "offline"


def test_an_event_of_the_browser_counts_once(context: BrowserContext, shop: Shop) -> None:
    page = opened(context, shop, unitId="js-10", unitToken=shop.token("js-10"))
    for _ in range(2):
        page.evaluate("loopwise.event('lesson-done', {minutes: 5}, {eventId: '00000000-0000-4000-8000-000000000001'})")
    page.evaluate("loopwise.event('lesson-done')")
    statement = "SELECT name, properties FROM events WHERE unit_id = 'js-10'"
    wait_for(lambda: len(query(shop.database_url, statement)) == 2, 20, "the events")
    assert ("lesson-done", {"minutes": 5}) in query(shop.database_url, statement)


def test_elements_report_clicks_and_being_seen_once(context: BrowserContext, shop: Shop) -> None:
    page = opened(context, shop, unitId="js-3")
    ids = [page.evaluate("loopwise.decide('choose')")["decisionId"] for _ in range(2)]
    page.evaluate(
        """([clicked, seen]) => {
            document.getElementById('buy').dataset.loopwiseDecision = clicked;
            loopwise.observe();
            Object.assign(document.getElementById('seen').dataset,
                {loopwiseDecision: seen, loopwiseOn: 'seen', loopwiseMetric: 'shown', loopwiseValue: '1'});
            document.getElementById('seen').after(document.createElement('hr'));
        }""",
        ids,
    )
    page.click("#buy")
    page.click("#buy")
    wait_for(lambda: rewards_of(shop, ids[0]) == [("reward", 1.0)], 20, "the click")
    assert rewards_of(shop, ids[1]) == []
    page.locator("#seen").scroll_into_view_if_needed()
    wait_for(lambda: rewards_of(shop, ids[1]) == [("shown", 1.0)], 20, "the sight")
    assert rewards_of(shop, ids[0]) == [("reward", 1.0)]


def test_reports_wait_while_there_is_no_network_and_count_once(context: BrowserContext, shop: Shop) -> None:
    page = opened(context, shop, unitId="js-4")
    decision = page.evaluate("loopwise.decide('choose')")
    context.set_offline(True)
    page.evaluate(
        "decision => { loopwise.reward(decision, 0.25); loopwise.feedback(decision, 'thumbs', 'up'); }", decision
    )
    page.wait_for_timeout(500)
    assert rewards_of(shop, decision["decisionId"]) == []
    context.set_offline(False)
    page.close()
    other = opened(context, shop)  # another page of the shop, later
    wait_for(lambda: rewards_of(shop, decision["decisionId"]) == [("reward", 0.25)], 20, "the waiting reward")
    wait_for(
        lambda: other.evaluate("JSON.parse(Object.values(localStorage)[0] ?? '[]').length") == 0, 20, "the empty queue"
    )


def test_without_consent_nothing_is_sent_or_stored(context: BrowserContext, shop: Shop) -> None:
    page = opened(context, shop, consent=False)
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    decision = page.evaluate("loopwise.decide('choose', {fallback: 'plain'})")
    page.evaluate("loopwise.reward('some-decision'); loopwise.listen()")
    page.wait_for_timeout(300)
    assert (decision["action"], decision["logged"], requested) == ("plain", False, [])
    assert page.evaluate("localStorage.length") == 0
    page.evaluate("loopwise.allow(true)")
    assert page.evaluate("loopwise.decide('choose')")["logged"] is True
    assert page.evaluate("localStorage.length") == 1  # this browser's own unit id
    page.evaluate("loopwise.allow(false)")
    assert page.evaluate("localStorage.length") == 0


def test_consent_is_written_for_the_unit_that_the_page_can_prove(context: BrowserContext, shop: Shop) -> None:
    page = opened(context, shop, unitId="js-5", unitToken=shop.token("js-5"))
    assert page.evaluate("loopwise.consent({learn: 'denied'}, '2026-11')")["consent"]["learn"] == "denied"
    assert shop.client.get("/v1/consent/js-5").body["consent"]["learn"] == "denied"
    other = opened(context, shop, unitId="js-6", unitToken=shop.token("js-5"))
    assert "403" in other.evaluate("loopwise.consent({learn: 'denied'}, '1').then(() => '', (error) => error.message)")


def held(shop: Shop, unit: str, decision_id: str) -> None:
    """A message for a unit, as a trigger leaves it for the stream."""
    body = {"experiment": "greet", "unit_id": unit, "decision_id": decision_id, "variables": {"name": "Ada"}}
    answer = shop.client.post("/v1/messages/decide", body)
    assert answer.body["message"] is not None
    query(
        shop.database_url,
        "INSERT INTO deliveries (decision_id, experiment_id, unit_id, message, status)"
        " SELECT id, experiment_id, unit_id, message, 'waiting' FROM decisions WHERE id = %s",
        decision_id,
    )


def test_a_survey_prompt_is_answered_in_the_toast(context: BrowserContext, shop: Shop) -> None:
    page = opened(context, shop, unitId="js-8")
    decision = page.evaluate("loopwise.decide('choose')")["decisionId"]
    message = {"title": "", "body": "How was it?", "call_to_action": "", "asks": "stars"}
    page.evaluate("([id, message]) => loopwise.toast({decision_id: id, message}) && null", [decision, message])
    page.get_by_role("button", name="stars 4").click()
    statement = "SELECT kind, value FROM feedback WHERE decision_id = %s"
    wait_for(lambda: query(shop.database_url, statement, decision) == [("stars", 4)], 20, "the answer")


def test_a_message_comes_through_the_stream_as_a_toast_and_its_action_is_rewarded(
    context: BrowserContext, shop: Shop
) -> None:
    page = opened(context, shop, unitId="js-7", unitToken=shop.token("js-7"))
    page.evaluate("loopwise.listen()")
    held(shop, "js-7", "toast-1")
    toast = page.locator(".loopwise-toast")
    toast.wait_for()
    assert toast.locator("strong").inner_text() == "<b>Hi</b>" and "Go on, Ada" in toast.inner_text()
    status = "SELECT status FROM deliveries WHERE decision_id = %s"
    wait_for(lambda: query(shop.database_url, status, "toast-1") == [("delivered",)], 20, "the receipt")
    toast.get_by_role("button", name="Go").click()
    wait_for(lambda: rewards_of(shop, "toast-1") == [("reward", 1.0)], 20, "the reward")
    assert toast.count() == 0
    held(shop, "js-7", "toast-2")
    toast.wait_for()
    toast.get_by_role("button", name="Close").click()
    statement = "SELECT kind FROM feedback WHERE decision_id = 'toast-2'"
    wait_for(lambda: query(shop.database_url, statement) == [("dismissed",)], 20, "the feedback")
    assert rewards_of(shop, "toast-2") == []
