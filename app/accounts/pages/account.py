"""Signing in and out, one-time links, and how pages look."""

from urllib.parse import urlsplit

from flask import Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts import throttle, users
from app.accounts.pages.access import (
    ANYBODY,
    PREFIX,
    begin_session,
    end_session,
    page,
    read_cookie,
    set_cookie,
    with_retry,
)
from app.foundation.errors import TooManyRequests, Unauthorized, Unprocessable
from app.foundation.pages.forms import mistakes
from app.foundation.serving import process

THEMES = ("auto", "light", "dark")
YEAR_S = 365 * 86_400
DEVICE = "loopwise_device"  # the cookie of a browser in which somebody signed in


@page("/sign-in", ANYBODY, ("GET", "POST"))
def sign_in() -> ResponseReturnValue:
    """Name and password."""
    wanted = request.values.get("next", "")
    if request.method == "GET":
        return render_template("sign_in.html", next=wanted, name="", problem="")
    name, secret = request.form.get("name", ""), process().settings.secret_key
    source = throttle.source(secret, name, request.remote_addr or "", read_cookie(DEVICE))
    try:
        token = users.sign_in(process().engine, name, request.form.get("password", ""), source)
    except (Unauthorized, TooManyRequests) as error:
        shown = render_template("sign_in.html", next=wanted, name=name, problem=error.detail)
        return with_retry(Response(shown, error.status), error)
    begin_session(token)
    response = redirect(_inside(wanted))
    if not source.known:
        set_cookie(response, DEVICE, throttle.device(secret, name), YEAR_S)
    return response


@page("/sign-out", ANYBODY, ("POST",))
def sign_out() -> ResponseReturnValue:
    """End the session on the server."""
    end_session()
    return redirect(url_for("admin.sign_in"))


@page("/link/<token>", ANYBODY, ("GET", "POST"))
def link(token: str) -> ResponseReturnValue:
    """A one-time link: the first administrator, an invitation, a forgotten password."""
    opened = users.open_link(process().engine, token)
    if request.method == "GET":
        return render_template("link.html", opened=opened, name="", errors={})
    name = request.form.get("name", "")
    try:
        session_token = users.use_link(process().engine, token, request.form.get("password", ""), name)
    except Unprocessable as error:
        return render_template("link.html", opened=opened, name=name, errors=mistakes(error)), error.status
    begin_session(session_token)
    response = redirect(url_for("admin.home"))
    set_cookie(response, DEVICE, throttle.device(process().settings.secret_key, opened.name or name), YEAR_S)
    return response


@page("/theme", "viewer", ("POST",))
def choose_theme() -> ResponseReturnValue:
    """Light, dark, or as the system has it."""
    theme = request.form.get("theme", "")
    response = redirect(_inside(request.form.get("next", "")))
    if theme in THEMES:
        set_cookie(response, "loopwise_theme", theme, YEAR_S)
    return response


def _inside(address: str) -> str:
    """Where to go next; an address outside of the pages is not followed."""
    parts = urlsplit(address)
    inside = not parts.scheme and not parts.netloc and parts.path.startswith(f"{PREFIX}/") and "\\" not in address
    inside = inside and address.isprintable()  # browsers, and the header, take line ends out or stumble over them
    return address.rstrip("?") if inside else url_for("admin.home")
