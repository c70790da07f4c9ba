"""A whole Loopwise and a real browser: web server, worker and clock as processes, Debian's Chromium driven by Playwright.

Without a browser the tests are skipped; on a build server (CI is set) they fail instead.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.support import Site
from tests.service import ROOT, make_key, running_web, running_worker

CHROMIUM = shutil.which("chromium")
AXE = ROOT / ".venv" / "axe.min.js"


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        _without("chromium")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox refuses to run as root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe() -> Path:
    if not AXE.exists():
        _without("axe-core; `make browser` fetches it")
    return AXE


@pytest.fixture(scope="module")
def site(database_url: str, redis_url: str) -> Iterator[Site]:
    """A running installation without a user yet."""
    with (
        running_web(database_url, LOOPWISE_REPORT_INTERVAL_S="1") as web,
        running_worker(database_url, redis_url, LOOPWISE_REPORT_INTERVAL_S="1"),
    ):
        yield Site(f"http://127.0.0.1:{web.port}", database_url, web.client(make_key(database_url)))


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A new browser window whose console must stay silent: a blocked script or style is an error there."""
    context = chromium.new_context()
    context.set_default_timeout(15_000)
    opened = context.new_page()
    errors: list[str] = []
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert [error for error in errors if "Failed to load resource" not in error] == []


def _without(what: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"there is no {what}")
    pytest.skip(f"there is no {what}")
