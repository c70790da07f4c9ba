"""Takes the pictures of the guides: .venv/bin/python -m tests.e2e.pictures URL LINK

URL and LINK are what `loopwise up` printed at its first start, when its demo has played to the end. The first administrator is
made, the example experiment goes through the wizard and gets some traffic, and docs/pictures is written anew.
"""

import argparse
import http.client
import json
import random
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Page, sync_playwright

from tests.service import ROOT

FOLDER = ROOT / "docs" / "pictures"
KEY = "first-tip"
DEMO = "/admin/experiments/crackers"
PEOPLE = 1500
TIPS = (
    ("tour", "Take the tour", "Three minutes that show you around."),
    ("goal", "Set a goal", "Say how much you want to learn a week."),
    ("friend", "Learn with a friend", "Invite somebody who learns the same."),
)


def main() -> None:
    """Walk through everything once."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.pictures", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("link")
    given = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.png"):
        old.unlink()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 900}, color_scheme="light")
        page.set_default_timeout(20_000)
        _sign_in(page, given.link)
        _define(page, given.url)
        _look_at_results(page, given.url)
        browser.close()


def _picture(page: Page, name: str, height: int = 700, prepare: Callable[[], None] | None = None) -> None:
    """The upper part of the page as it stands."""
    if prepare is not None:
        prepare()
    page.wait_for_timeout(300)
    whole = int(page.evaluate("document.documentElement.scrollHeight"))
    clip = {"x": 0, "y": 0, "width": 1100, "height": min(height, whole)}
    page.screenshot(path=FOLDER / f"{name}.png", clip=clip, full_page=True)  # type: ignore[arg-type]


def _part(page: Page, name: str, selector: str) -> None:
    """One element of the page."""
    page.locator(selector).first.screenshot(path=FOLDER / f"{name}.png")


def _sign_in(page: Page, link: str) -> None:
    page.goto(link)
    page.get_by_label("Name").fill("ada@example.org")
    page.get_by_label("Password").fill("correct horse battery")
    _picture(page, "welcome", 520)
    page.get_by_role("button", name="Sign in").click()
    _picture(page, "home", 420)


def _go_on(page: Page) -> None:
    page.get_by_role("button", name="Save and go on").click()


def _define(page: Page, url: str) -> None:
    """The wizard, step by step, and the traffic of a believable week."""
    page.get_by_role("button", name="New experiment").click()
    page.get_by_label("Name", exact=True).fill("Which first tip to show")
    page.get_by_label("Key", exact=True).fill(KEY)
    page.get_by_label("Hypothesis").fill("Newcomers on a phone want the tour; people with a course want a goal.")
    _picture(page, "wizard-purpose", 620)
    _go_on(page)
    for name, title, text in TIPS:
        page.get_by_label("Id", exact=True).fill(name)
        page.get_by_label("Title", exact=True).fill(title)
        page.get_by_label("Text", exact=True).fill(text)
        if name == "friend":
            _picture(page, "wizard-actions", 900)
        page.get_by_role("button", name="Add this action").click()
    _go_on(page)
    page.get_by_label("The one action (its id)").first.fill("tour")
    _picture(page, "wizard-arms", 900)
    _go_on(page)
    page.get_by_label("A decision waits for reports").fill("2")
    page.get_by_label("Unit", exact=True).select_option(label="seconds")
    page.locator(".wizard-buttons").get_by_role("button", name="Save", exact=True).click()
    _picture(page, "wizard-reward", 760)
    _go_on(page)
    page.get_by_label("Context fields that results may be split by").fill("device")
    _go_on(page)
    _go_on(page)
    _picture(page, "wizard-review", 640)
    page.get_by_role("button", name="Create the experiment").click()
    page.get_by_role("button", name="Start the experiment").click()
    page.goto(f"{url}/admin/experiments/{KEY}/integration")
    _picture(page, "integration", 760)
    page.get_by_role("button", name="Make a key for this experiment").click()
    _send(url, page.locator("#new-key").inner_text())
    page.goto(f"{url}/admin/experiments/{KEY}/")
    page.get_by_text("Is it learning?").wait_for(timeout=60_000)
    time.sleep(40)  # until the worker computed the results anew
    page.reload()
    _picture(page, "overview", 1150)


def _send(url: str, key: str) -> None:
    """What an app would send: people with a phone like the tour, people with a course like to set a goal."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def call(path: str, body: Any) -> Any:
        connection.request("POST", path, json.dumps(body), headers)
        return json.loads(connection.getresponse().read())

    chance = random.Random(7)
    for start in range(0, PEOPLE, 100):
        people = [
            {"device": chance.choice(["phone", "desktop"]), "has_course": chance.random() < 0.5} for _ in range(100)
        ]
        asked = [
            {"experiment": KEY, "unit_id": f"person-{start + n}", "context": person} for n, person in enumerate(people)
        ]
        decided = call("/v1/decide/batch", {"decisions": asked})["decisions"]
        rewards = []
        for person, one in zip(people, decided, strict=True):
            liked = "goal" if person["has_course"] else "tour" if person["device"] == "phone" else "friend"
            follows = chance.random() < (0.6 if one["action"]["id"] == liked else 0.15)
            rewards.append({"decision_id": one["decision_id"], "value": float(follows)})
        call("/v1/rewards/batch", {"rewards": rewards})
        time.sleep(2.5)


def _look_at_results(page: Page, url: str) -> None:
    """The demo's experiment, as an analyst reads it."""
    page.goto(f"{url}{DEMO}/results")
    _picture(page, "results", 1180)
    page.goto(f"{url}{DEMO}/results?segment=last")
    page.goto(f"{url}{DEMO}/off-policy")
    _picture(page, "off-policy", 1250)
    _part(page, "candidate", "#candidate-form")
    page.goto(f"{url}{DEMO}/policy")
    _picture(page, "policy", 760)
    page.get_by_role("button", name="Compare the two chosen versions").click()
    _picture(page, "policy-compare", 800)
    page.goto(f"{url}{DEMO}/decisions")
    _picture(page, "decisions", 560)
    page.locator("table a[href*='replay']").first.click()
    _picture(page, "replay", 1250)
    page.goto(f"{url}{DEMO}/log")
    page.get_by_label("Write a note").fill("Loyalty decides most; prices matter less than we thought.")
    page.get_by_role("button", name="Add the note").click()
    _picture(page, "log", 640)


if __name__ == "__main__":
    main()
