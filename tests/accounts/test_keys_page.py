"""The page of API keys: a key is shown once, says what it may, and stops at once when it is revoked."""

import re

from tests.page_client import Browser
from tests.service import Client, wait_for


def test_a_key_is_shown_once_and_works_for_its_experiment_until_it_is_revoked(admin: Browser, client: Client) -> None:
    client.make("keyed")
    client.make("others")
    asked = {"name": "shop <front>", "scopes": "decide", "experiment": "keyed"}
    page = admin.post("/admin/keys", asked)
    (key,) = re.findall(r'id="new-key">(lw_[^<]+)<', page.html)
    listed = admin.get("/admin/keys")
    assert key not in listed.html
    row = listed.html.partition(key[:15])[2].partition("</tr>")[0]
    assert "shop &lt;front&gt;" in row and "decide; only keyed" in row and "valid" in row
    app = Client(client.port, key)
    assert app.decide("keyed").status == 201
    assert app.decide("others").status == 403
    admin.post(f"/admin/keys/{key[:15]}/revoke")
    wait_for(lambda: app.decide("keyed").status == 401, 20, "the revocation")
    assert "revoked" in admin.get("/admin/keys").html.partition(key[:15])[2].partition("</tr>")[0]


def test_the_form_keeps_its_values_when_a_key_is_refused(admin: Browser) -> None:
    page = admin.post("/admin/keys", {"name": "kept", "scopes": "read", "experiment": "nowhere"})
    assert page.status == 404
    assert "There is no experiment 'nowhere'" in page.text
    assert 'value="kept"' in page.html and "new-key" not in page.html
    page = admin.post("/admin/keys", {"name": "kept"})
    assert page.status == 422 and "mistake" in page.html
