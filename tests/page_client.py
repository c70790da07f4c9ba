"""Imitates a person's browser: keeps cookies, follows redirects, and sends forms with the token of the page."""

import html
import http.client
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from tests.service import Web, engine_of

PASSWORD = "correct horse battery"


def _in_one_line(tag: str) -> str:
    """A tag without line breaks between its attributes; their values stay as they are."""
    return re.sub(r'"[^"]*"|\s+', lambda part: part[0] if part[0].startswith('"') else " ", tag)


class Page(NamedTuple):
    """An answered page."""

    status: int
    headers: http.client.HTTPMessage
    raw: bytes
    address: str  # path and query, after redirects

    @property
    def html(self) -> str:
        """The page, with every tag in one line, because line breaks within tags have no meaning."""
        return re.sub(r"<[a-zA-Z/][^>]*>", lambda tag: _in_one_line(tag[0]), self.raw.decode())

    @property
    def text(self) -> str:
        """The page's words, tags taken out and entities resolved."""
        plain = re.sub(r"(?s)<(script|style)\b.*?</\1>", " ", self.html)
        return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", plain))).strip()


@dataclass
class Browser:
    """One person's browser at one server."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    def request(
        self, method: str, address: str, body: bytes | None = None, follow: bool = True, **headers: str
    ) -> Page:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}
        try:
            connection.request(method, address, body, {**sent, **headers})
            response = connection.getresponse()
            page = Page(response.status, response.headers, response.read(), address)
        finally:
            connection.close()
        for line in response.headers.get_all("Set-Cookie") or []:
            name, _, value = line.split(";")[0].partition("=")
            self.cookies[name] = value
        if follow and page.status in (302, 303):
            parts = urlsplit(page.headers["Location"])
            return self.request("GET", parts.path + (f"?{parts.query}" if parts.query else ""))
        return page

    def get(self, address: str, follow: bool = True, **headers: str) -> Page:
        return self.request("GET", address, follow=follow, **headers)

    def post(
        self,
        address: str,
        values: dict[str, Any] | None = None,
        token: str | None = None,
        follow: bool = True,
        **headers: str,
    ) -> Page:
        """Send a form; the token is taken from the sign-in page when none is given. Lists are repeated fields."""
        token = self.token() if token is None else token
        body = urlencode({"csrf_token": token, **(values or {})}, doseq=True).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.request("POST", address, body, follow, **kind, **headers)

    def version(self, address: str) -> str:
        """The version that a page's form begins from."""
        match = re.search(r'name="version" value="([^"]+)"', self.get(address).html)
        assert match, f"{address} has no version"
        return match[1]

    def token(self, address: str = "/admin/sign-in") -> str:
        match = re.search(r'name="csrf_token" value="([^"]+)"', self.get(address).html)
        assert match, f"{address} has no form"
        return match[1]


def signed_in(web: Web, database_url: str, role: str = "admin", name: str = "") -> Browser:
    """The browser of a new user who is signed in."""
    from app.accounts import users

    name = name or f"{role}-{len(_known(database_url))}"
    with engine_of(database_url) as engine:
        link = users.create_user(engine, name, role, "test")
    browser = Browser(web.port)
    page = browser.post(f"/admin/link/{link}", {"password": PASSWORD}, token=browser.token(f"/admin/link/{link}"))
    assert page.status == 200, page.text
    return browser


def _known(database_url: str) -> list[Any]:
    from app.accounts import users

    with engine_of(database_url) as engine:
        return users.list_users(engine)
