"""Identifies and authorises callers. Every route declares the scope that it needs; a route without a scope is closed."""

from collections.abc import Callable
from typing import TypeVar

from flask import Flask, current_app, g, request
from flask.typing import ResponseReturnValue

from app.accounts import keys
from app.accounts.api import browsers
from app.accounts.keys import Caller
from app.accounts.serving import key_directory
from app.foundation.errors import Forbidden
from app.foundation.serving import PUBLIC, process
from app.foundation.store.engine import begin_request, end_request

PATIENT = ("analysts", "admin")  # a report may run many statements; the deadline applies to each, not to their sum
View = TypeVar("View", bound=Callable[..., ResponseReturnValue])


def needs(scope: str, *, browsers: bool = False, key_in_query: bool = False) -> Callable[[View], View]:
    """Mark a view with the scope that it needs, or ``PUBLIC``.

    :param browsers: publishable keys may call it too.
    :param key_in_query: a publishable key may stand in the address, for browsers that cannot send headers.
    """

    def mark(view: View) -> View:
        view.scope = scope  # type: ignore[attr-defined]
        view.browsers = browsers  # type: ignore[attr-defined]
        view.key_in_query = key_in_query  # type: ignore[attr-defined]
        return view

    return mark


def install(app: Flask) -> None:
    """Check every request before its body is read."""
    app.before_request(_start_clock)
    app.before_request(_authorise)
    app.teardown_request(lambda _: end_request())


def caller() -> Caller:
    """Return the caller; only in views that need a scope."""
    authorised: Caller = g.caller
    return authorised


def identify(presented: str) -> Caller:
    """Return the caller of a key.

    :raises Unauthorized: the key is not valid.
    :raises Forbidden: the key is publishable and not allowed on this page's origin.
    """
    key_id, presented_hash = keys.parse(presented)
    stored = keys.known_key(key_directory(), key_id)
    if stored is None or not keys.matches(stored, presented_hash):
        raise keys.unknown_key()
    if stored.origins is not None:
        browsers.check_origin(stored.origins)
    return Caller(stored.id, frozenset(stored.scopes), stored.experiment_id, stored.origins is not None)


def _start_clock() -> None:
    if request.blueprint not in PATIENT:
        begin_request(process().settings.decide_deadline_s)


def _authorise() -> None:
    if request.endpoint is None:
        return  # no such route, or not this method: Flask answers 404 or 405
    view = current_app.view_functions[request.endpoint]
    scope = getattr(view, "scope", None)
    if scope == PUBLIC:
        return
    in_query = getattr(view, "key_in_query", False) and "Authorization" not in request.headers
    g.caller = identify(request.args.get("key", "") if in_query else _presented())
    if in_query and not g.caller.publishable:
        raise keys.unknown_key()  # proxies log addresses, so secret keys must not appear in them
    if scope is None or not g.caller.may(scope):
        raise Forbidden("missing_scope", f"This key lacks the scope {scope!r}." if scope else "This route is closed.")
    if g.caller.publishable and not getattr(view, "browsers", False):
        raise Forbidden(
            "secret_key_needed", "Web pages may not call this route; call it from a server, with a secret key."
        )


def _presented() -> str:
    header = request.headers.get("Ocp-Apim-Subscription-Key")
    if header is not None and request.path.startswith("/personalizer/"):
        return header
    kind, _, presented = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer":
        raise keys.unknown_key()
    return presented.strip()
