"""A draft, opened by an editor."""

import pytest

from tests.page_client import Browser
from tests.wizard.drafting import Draft


@pytest.fixture
def draft(editor: Browser) -> Draft:
    page = editor.post("/admin/drafts")
    assert page.status == 200
    return Draft(editor, page.address)
