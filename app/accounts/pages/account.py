"""Signing in and out, one-time links, one's own password, and how pages look."""

from datetime import UTC, datetime
from urllib.parse import urlsplit

from flask import Response, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response as BaseResponse

from app.accounts import own_account, throttle, users
from app.accounts.pages.access import (
    ANYBODY,
    PREFIX,
    begin_session,
    end_session,
    page,
    read_cookie,
    set_cookie,
    user,
    with_retry,
)
from app.foundation.errors import TooManyRequests, Unauthorized, Unprocessable
from app.foundation.pages import format
from app.foundation.pages.forms import mistakes
from app.foundation.serving import process
from app.foundation.times import zones

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
    """Light, dark, or as the system has it, from the menu of any page."""
    theme = request.form.get("theme", "")
    if theme in own_account.THEMES:
        own_account.set_preferences(process().engine, user().name, user().time_zone, theme)
    return _themed(redirect(_inside(request.form.get("next", ""))), theme)


@page("/account", "viewer")
def account() -> str:
    """One's own password, time zone and appearance."""
    return _account({})


@page("/account", "viewer", ("POST",))
def save_account() -> ResponseReturnValue:
    """Keep the time zone and the appearance."""
    theme, zone = request.form.get("theme", ""), request.form.get("time_zone", "").strip()
    try:
        own_account.set_preferences(process().engine, user().name, zone or None, theme)
    except Unprocessable as error:
        return _account(mistakes(error)), error.status
    flash("Saved.")
    return _themed(redirect(url_for("admin.account")), theme)


@page("/account/password", "viewer", ("POST",))
def change_password() -> ResponseReturnValue:
    """Replace one's own password; every other browser is signed out."""
    name, secret = user().name, process().settings.secret_key
    source = throttle.source(secret, name, request.remote_addr or "", read_cookie(DEVICE))
    current, password = request.form.get("current", ""), request.form.get("password", "")
    try:
        token = own_account.change_password(process().engine, name, current, password, source)
    except (Unprocessable, TooManyRequests) as error:
        shown = _account(mistakes(error) or {"current": error.detail})
        return with_retry(Response(shown, error.status), error)
    begin_session(token)
    flash("Your password is changed. You are signed out in every other browser.")
    return redirect(url_for("admin.account"))


def _account(errors: dict[str, str]) -> str:
    themes = [("auto", "As my system has it"), ("light", "Light"), ("dark", "Dark")]
    return render_template(
        "account.html",
        section="account",
        errors=errors,
        typed=request.form,
        zones=sorted(zones()),
        themes=themes,
        now=format.local(datetime.now(UTC)),
    )


def _themed(response: BaseResponse, theme: str) -> BaseResponse:
    """Keep the appearance in this browser, too, for the pages before the sign-in."""
    if theme in own_account.THEMES:
        set_cookie(response, "loopwise_theme", theme, YEAR_S)
    return response


def _inside(address: str) -> str:
    """Where to go next; an address outside of the pages is not followed."""
    parts = urlsplit(address)
    inside = not parts.scheme and not parts.netloc and parts.path.startswith(f"{PREFIX}/") and "\\" not in address
    inside = inside and address.isprintable()  # browsers, and the header, take line ends out or stumble over them
    return address.rstrip("?") if inside else url_for("admin.home")
