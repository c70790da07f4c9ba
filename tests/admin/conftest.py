"""One web server for each module, people of each role at it, and an app's client."""

from collections.abc import Iterator

import pytest

from tests.admin.drafting import Draft
from tests.admin.support import Browser, signed_in
from tests.analysis.log import Lab
from tests.service import Web, runtime_of


@pytest.fixture(scope="module")
def admin(web: Web, database_url: str) -> Browser:
    return signed_in(web, database_url, "admin")


@pytest.fixture(scope="module")
def editor(web: Web, database_url: str) -> Browser:
    return signed_in(web, database_url, "editor")


@pytest.fixture(scope="module")
def viewer(web: Web, database_url: str) -> Browser:
    return signed_in(web, database_url, "viewer")


@pytest.fixture(scope="module")
def lab(database_url: str) -> Iterator[Lab]:
    """Whole logs in one call, and the worker's figures."""
    with runtime_of(database_url, LOOPWISE_DECIDE_DEADLINE_S="30", LOOPWISE_STATEMENT_TIMEOUT_S="60") as started:
        yield Lab(started, database_url)


@pytest.fixture
def draft(editor: Browser) -> Draft:
    page = editor.post("/admin/drafts")
    assert page.status == 200
    return Draft(editor, page.address)
