"""A whole Loopwise and a real browser: web server, worker and clock as processes, Debian's Chromium driven by Playwright.

The browser itself is in ``tests/browser.py``.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import without
from tests.e2e.support import Site
from tests.service import ROOT, make_key, running_web, running_worker

AXE = ROOT / ".venv" / "axe.min.js"


@pytest.fixture(scope="session")
def axe() -> Path:
    if not AXE.exists():
        without("axe-core; `make browser` fetches it")
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
