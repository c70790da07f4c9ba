"""Takes the pictures of the guides: .venv/bin/python -m tests.e2e.pictures URL LINK

URL and LINK are what `loopwise up` printed at its first start on a new data directory, when its demo and then `loopwise
demo messages` have played to the end. The script creates the first administrator, takes an example through the wizard,
gives it two minutes of traffic, and writes docs/pictures again.
"""

import argparse
import http.client
import json
import os
import random
import shutil
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from playwright.sync_api import Page, sync_playwright

from tests.e2e import camera
from tests.e2e.support import type_id
from tests.service import ROOT

FOLDER = ROOT / "docs" / "pictures"
KEY = "first-tip"
EXAMPLE = f"/admin/experiments/{KEY}"
DEMO = "/admin/experiments/crackers"
COURSE = "/admin/experiments/course"  # the messages' demo has several
PEOPLE, BATCH = 3000, 40
TIPS = (
    ("tour", "Take the tour", "Three minutes that show you around."),
    ("goal", "Set a goal", "Say how much you want to learn a week."),
    ("friend", "Learn with a friend", "Invite somebody who learns the same."),
)


class Walk(NamedTuple):
    """One browser window on one installation."""

    page: Page
    url: str

    def go(self, path: str) -> None:
        self.page.goto(self.url + path)

    def press(self, button: str) -> None:
        self.page.get_by_role("button", name=button, exact=True).first.click()

    def fill(self, label: str, text: str) -> None:
        self.page.get_by_label(label, exact=True).first.fill(text)

    def type_id(self, label: str, text: str) -> None:
        type_id(self.page, label, text)

    def choose(self, label: str, value: str) -> None:
        self.page.get_by_label(label, exact=True).first.select_option(value)

    def take(self, name: str, first: str = "header.top", last: str = "footer", most: int = 1200) -> None:
        camera.take(self.page, FOLDER / f"{name}.png", first, last, most)

    def wait_for(self, path: str, text: str) -> None:
        """Load a page again until it has a text that the worker has to compute first."""
        for _ in range(60):
            self.go(path)
            if text in self.page.locator("#content").inner_text():
                return
            time.sleep(3)
        raise TimeoutError(f"{path} does not say: {text}")


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.pictures", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("link")
    given = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.png"):
        old.unlink()
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox refuses to run as root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        context = browser.new_context(viewport={"width": 1200, "height": 900}, color_scheme="light")
        page = context.new_page()
        page.set_default_timeout(20_000)
        walk = Walk(page, given.url)
        _sign_in(walk, given.link)
        _define(walk)
        _watch(walk)
        _analyse(walk)
        _speak(walk)
        browser.close()


def _sign_in(walk: Walk, link: str) -> None:
    walk.page.goto(link)
    walk.fill("Name", "ada@example.org")
    walk.fill("Password", "correct horse battery")
    walk.take("welcome", last="main .card")
    walk.press("Sign in")


def _define(walk: Walk) -> None:
    """The wizard, step by step."""
    walk.press("New experiment")
    walk.fill("Name", "Which tip to show first")
    walk.type_id("Key", KEY)
    walk.fill("Hypothesis", "Newcomers on a phone want the tour; people who have a course already want to set a goal.")
    walk.take("wizard-purpose", "nav[aria-label=Steps]", "#step")
    walk.press("Save and go on")
    for name, title, text in TIPS:
        walk.type_id("Id", name)
        walk.fill("Title", title)
        walk.fill("Text", text)
        if name == TIPS[-1][0]:
            walk.take("wizard-actions", "#step .head-row", "#action")
        walk.press("Add this action")
    walk.press("Save and go on")
    walk.choose("The one action", "tour")
    walk.take("wizard-arms", "nav[aria-label=Steps]", "fieldset.arm:nth-of-type(2)", 1100)
    walk.press("Save and go on")
    walk.press("Save and work it out")
    walk.take("wizard-reward", "#step .reading", "#step")
    walk.press("Save and go on")
    walk.take("wizard-people", "#step .reading", "#step")
    walk.press("Save and go on")  # the step of people, as it is
    _add_metric(walk)
    walk.fill("What the control reaches now", "25")
    walk.fill("New users a day, in all arms", "400")
    walk.press("Work it out")
    walk.take("wizard-plan", "[data-plan]", "#answer .verdict")
    walk.press("Save and go on")
    walk.take("wizard-review", "nav[aria-label=Steps]", "#shares-figure")


def _add_metric(walk: Walk) -> None:
    walk.press("Add a metric")
    walk.fill("Name in reports", "Unsubscribed from mails")
    walk.choose("Role", "guardrail")
    walk.choose("Better is", "decrease")
    walk.choose("What is measured", "count")
    walk.fill("Reported metric", "unsubscribed")
    walk.choose("Per", "unit")
    walk.fill("Change that matters, in %", "20")
    walk.fill("Context fields that results may be split by", "device, has_course")
    walk.take("wizard-metrics", "[data-metric]", "#step .two")
    walk.press("Save and go on")


def _watch(walk: Walk) -> None:
    """The example runs: its traffic, its overview, a change of the shares, a note."""
    _shorten(walk)
    walk.press("Create the experiment")
    walk.press("Start the experiment")
    walk.go(f"{EXAMPLE}/integration")
    walk.take("integration", "nav.tabs", "#snippet-client", 700)
    walk.press("Make a key for this experiment")
    _send(walk.url, walk.page.locator("#new-key").inner_text())
    walk.wait_for(f"{EXAMPLE}/results", f"from {PEOPLE:,} settled decisions")
    walk.wait_for(f"{EXAMPLE}/", "What learned chooses")
    walk.take("overview", last="#rates", most=1300)
    walk.go(f"{EXAMPLE}/results")
    walk.take("results-looks", "#looks", "#looks")
    walk.go("/admin/")
    walk.take("home", last="main .table-scroll")
    walk.go(f"{EXAMPLE}/")
    walk.press("Change")
    walk.page.locator("nav[aria-label=Steps]").get_by_role("button", name="Arms").click()
    walk.page.locator("[id='/arms/1/share']").fill("70")
    walk.page.locator("[id='/arms/1/share']").blur()
    walk.page.locator("nav[aria-label=Steps]").get_by_role("button", name="Review").click()
    walk.take("change", "main h2:has-text('What this change means')", "main .table-scroll")
    walk.press("Apply the change")
    walk.go(f"{EXAMPLE}/log")
    walk.fill("Write a note", "People who have a course set themselves goals. The tour helps newcomers only.")
    walk.press("Add the note")
    walk.fill("Conclude the experiment", "We keep the learned arm for everybody: more people follow the tip.")
    walk.take("log", "nav.tabs", ".trail", 800)


def _shorten(walk: Walk) -> None:
    """Shorten the reward window, so that the pictures need not wait for an hour."""
    walk.page.locator("nav[aria-label=Steps]").get_by_role("button", name="Reward").click()
    walk.fill("A decision waits for reports", "30")
    walk.choose("Unit", "seconds")
    walk.page.locator("nav[aria-label=Steps]").get_by_role("button", name="Review").click()


def _send(url: str, key: str) -> None:
    """Send an app's traffic: people with a course like goals; of the others, people on phones like the tour."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def call(path: str, body: Any) -> Any:
        connection.request("POST", path, json.dumps(body), headers)
        return json.loads(connection.getresponse().read())

    chance = random.Random(7)
    for start in range(0, PEOPLE, BATCH):
        people = [
            {"device": chance.choice(["phone", "desktop"]), "has_course": chance.random() < 0.5} for _ in range(BATCH)
        ]
        bodies = [
            {"experiment": KEY, "unit_id": f"person-{start + n}", "context": person} for n, person in enumerate(people)
        ]
        decided = call("/v1/decide/batch", {"decisions": bodies})["decisions"]
        rewards = []
        for person, decision in zip(people, decided, strict=True):
            liked = "goal" if person["has_course"] else "tour" if person["device"] == "phone" else "friend"
            if chance.random() < (0.6 if decision["action"]["id"] == liked else 0.15):
                rewards.append({"decision_id": decision["decision_id"], "value": 1.0})
            if chance.random() < 0.04:
                rewards.append({"decision_id": decision["decision_id"], "metric": "unsubscribed", "value": 1.0})
        call("/v1/rewards/batch", {"rewards": rewards})
        time.sleep(1.5)


def _analyse(walk: Walk) -> None:
    """The demo's experiment, as an analyst reads it."""
    walk.wait_for(f"{DEMO}/results", "all well")
    walk.take("results", "main form.filters", "main .wide")
    walk.wait_for(f"{DEMO}/off-policy", "The newest evaluation")
    walk.take("off-policy", "#evaluation ~ h2", "#differences", 900)
    walk.take("off-policy-table", "table.whole", "table.whole")
    walk.fill("Name of the candidate", "without_the_last")
    walk.page.get_by_label("last", exact=True).check()
    walk.take("candidate", "#candidate-form", "#candidate-form")
    walk.go(f"{DEMO}/policy")
    walk.take("policy", "nav.tabs", "main tbody tr:nth-child(2)")
    walk.press("Compare the two chosen versions")
    walk.take("policy-compare", "main h2", "main figure")
    walk.go(f"{DEMO}/decisions?arm=learned")
    walk.page.locator("table a[href*='replay']").first.click()
    walk.take("replay", "main h2", ".table-scroll[aria-label='Fields of the context']")
    walk.take("replay-choice", "main h2:has-text('How the action was chosen')", "#contributions")


def _speak(walk: Walk) -> None:
    """The messages' demo: a composed message, people's answers, and a trigger."""
    walk.go(f"{COURSE}-headlines/")
    walk.press("Change")
    walk.page.locator("nav[aria-label=Steps]").get_by_role("button", name="Actions").click()
    for slot in (1, 2):
        walk.page.locator(f"#slots-{slot} summary").first.click()
    walk.take("composed", "#slots", "#slots-2", 1100)
    walk.take("composed-preview", "#pairs", "#combinations")
    walk.page.get_by_text("Discard this draft").click()
    walk.press("Discard it for good")
    walk.wait_for(f"{COURSE}-nudges/feedback", "rank correlation")
    walk.take("feedback", "nav.tabs", "#rates", 1100)
    walk.go("/admin/triggers/course-stalled")
    walk.take("trigger", "main h1", "main tbody tr:nth-child(5)", 900)


if __name__ == "__main__":
    main()
