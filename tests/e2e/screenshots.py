"""Takes a picture of every page as it looks: .venv/bin/python -m tests.e2e.screenshots URL LINK FOLDER [--experiment KEY]

LINK is a one-time link of a user (`loopwise users create NAME --role admin`). Each page is taken at 1280 pixels light and
dark, and at 390 pixels, into FOLDER, so that a person can look at all of them before a release.
"""

import argparse
import os
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser import CHROMIUM
from tests.e2e.support import PASSWORD

LOOKS = {
    "light": ("light", {"width": 1280, "height": 800}),
    "dark": ("dark", {"width": 1280, "height": 800}),
    "phone": ("light", {"width": 390, "height": 844}),
}
OF_AN_EXPERIMENT = (
    "",
    "results",
    "long-term",
    "excluded-units",
    "slots",
    "what-works-for-whom",
    "fairness",
    "feedback",
    "off-policy",
    "policy",
    "health",
    "quarantine",
    "ship",
    "decisions",
    "log",
    "integration",
)
OF_THE_PLATFORM = (
    "",
    "account",
    "triggers",
    "deliveries",
    "webhooks",
    "health",
    "holdout",
    "impact",
    "learnings",
    "notices",
    "saved-metrics",
    "people",
    "keys",
    "users",
    "settings",
    "audit-log",
)


def pages(experiment: str) -> list[tuple[str, str]]:
    """Every page: its name and its address below ``/admin/``."""
    platform = [(name or "home", name) for name in OF_THE_PLATFORM]
    return platform + [
        (f"experiment-{name or 'overview'}", f"experiments/{experiment}/{name}") for name in OF_AN_EXPERIMENT
    ]


def take(page: Page, url: str, experiment: str, folder: Path, look: str) -> None:
    """Take every page in one look."""
    for name, address in pages(experiment):
        answer = page.goto(f"{url}/admin/{address}")
        if answer is None or answer.status != 200:
            print(f"{address}: {answer.status if answer else 'no answer'}")
        page.screenshot(path=folder / f"{name}-{look}.png", full_page=True)


def main() -> None:
    """Sign in once, then take every page in every look."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("link")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--experiment", default="crackers")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser: Browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        context = browser.new_context()
        page = context.new_page()
        page.goto(given.link)
        if page.locator("#name").count():  # the first administrator chooses a name
            page.fill("#name", "pictures")
        page.fill("#password", PASSWORD)
        page.click("main button")
        page.wait_for_url("**/admin/")
        state = context.storage_state()
        for look, (scheme, viewport) in LOOKS.items():
            seen = browser.new_context(color_scheme=scheme, viewport=viewport, storage_state=state)  # type: ignore[arg-type]
            take(seen.new_page(), given.url, given.experiment, given.folder, look)
            seen.close()
        browser.close()


if __name__ == "__main__":
    main()
