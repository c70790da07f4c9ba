"""The list of experiments as a page."""

from tests.page_client import Browser
from tests.service import Client


def test_wherever_a_page_of_the_list_begins_it_shows_experiments(viewer: Browser, client: Client) -> None:
    client.make("listed", start=False)
    for start in ("0", "999999", "x", "-1", "9" * 30):
        page = viewer.get(f"/admin/?search=listed&from={start}")
        assert page.status == 200
        assert "listed" in page.html.partition("<tbody>")[2], start
