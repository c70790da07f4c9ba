"""Identifies and authorises callers. Every route declares the scope that it needs; a route without a scope is closed.

What decides is the same for every server: ``identify`` and ``check_door`` know a ``Knock``, not a framework. The rest of this
module makes knocks of Flask's requests.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from flask import Flask, current_app, g, request
from flask.typing import ResponseReturnValue

from app.accounts import keys
from app.accounts.api import browsers
from app.accounts.keys import Caller, KeyDirectory
from app.accounts.serving import key_directory
from app.foundation.api.written import PERSONALIZER
from app.foundation.errors import Forbidden
from app.foundation.running.steps import Steps, run
from app.foundation.serving import PUBLIC, process
from app.foundation.store.engine import begin_request, end_request

PATIENT = ("analysts", "admin")  # a report may run many statements; the deadline applies to each, not to their sum
View = TypeVar("View", bound=Callable[..., ResponseReturnValue])


class Door(NamedTuple):
    """What a route asks of its callers."""

    scope: str | None  # null: nobody may
    browsers: bool = False  # publishable keys may call it too


class Knock(NamedTuple):
    """What a request shows of its caller."""

    presented: str  # the key
    origin: str | None  # the header of that name
    own_origin: str | None  # of a page that this server itself served, which sends no origin


class Admitted(NamedTuple):
    """A caller whose key is valid."""

    caller: Caller
    origin: str | None  # the page that may read the answer


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


def identify(directory: KeyDirectory, knock: Knock) -> Steps[Admitted]:
    """Return the caller of a key, in steps: a process that does not know the key looks it up once.

    :raises Unauthorized: the key is not valid.
    :raises Forbidden: the key is publishable and not allowed on this page's origin.
    """
    key_id, presented_hash = keys.parse(knock.presented)
    stored = yield from keys.known_key(directory, key_id)
    if stored is None or not keys.matches(stored, presented_hash):
        raise keys.unknown_key()
    publishable = stored.origins is not None
    if stored.origins is not None:
        browsers.check_origin(stored.origins, knock.origin or knock.own_origin)
    caller = Caller(stored.id, frozenset(stored.scopes), stored.experiment_id, publishable, stored.test)
    return Admitted(caller, knock.origin if publishable else None)


def check_door(door: Door, caller: Caller, directory: KeyDirectory, address: str) -> None:
    """Check that a caller may use a route now.

    :param address: where the call comes from.
    :raises Forbidden: its key lacks the scope, or is publishable and the route is not for web pages.
    :raises TooManyRequests: its key is publishable, and the key or the address calls too often.
    """
    if door.scope is None or not caller.may(door.scope):
        words = f"This key lacks the scope {door.scope!r}." if door.scope else "This route is closed."
        raise Forbidden("missing_scope", words)
    if caller.publishable and not door.browsers:
        raise Forbidden(
            "secret_key_needed", "Web pages may not call this route; call it from a server, with a secret key."
        )
    if caller.publishable:
        directory.rates.take_call(caller.key_id, address)


def presented(path: str, header: Callable[[str], str | None]) -> str:
    """The key that a request shows in its headers.

    :param header: finds a header by its name in small letters.
    :raises Unauthorized: it shows none.
    """
    key = header("ocp-apim-subscription-key")
    if key is not None and path.startswith(PERSONALIZER):
        return key
    kind, _, text = (header("authorization") or "").partition(" ")
    if kind.lower() != "bearer":
        raise keys.unknown_key()
    return text.strip()


def install(app: Flask) -> None:
    """Check every request before its body is read."""
    app.before_request(_start_clock)
    app.before_request(_authorise)
    app.teardown_request(lambda _: end_request())


def caller() -> Caller:
    """Return the caller; only in views that need a scope."""
    authorised: Caller = g.caller
    return authorised


def known(presented_key: str) -> Caller:
    """Return the caller of a key that came with the present request. Raises as ``identify`` does."""
    headers = request.headers
    same = headers.get("Sec-Fetch-Site") == "same-origin"
    own = request.host_url.rstrip("/") if same else None
    admitted = run(identify(key_directory(), Knock(presented_key, headers.get("Origin"), own)))
    g.allowed_origin = admitted.origin
    return admitted.caller


def _start_clock() -> None:
    if request.blueprint not in PATIENT:
        waited_s = request.environ.get("loopwise.waited_s", 0.0)
        begin_request(process().settings.decide_deadline_s - waited_s)


def _authorise() -> None:
    if request.endpoint is None:
        return  # no such route, or not this method: Flask answers 404 or 405
    view = current_app.view_functions[request.endpoint]
    door = Door(getattr(view, "scope", None), getattr(view, "browsers", False))
    if door.scope == PUBLIC:
        return
    in_query = getattr(view, "key_in_query", False) and "Authorization" not in request.headers
    g.caller = known(request.args.get("key", "") if in_query else presented(request.path, request.headers.get))
    if in_query and not g.caller.publishable:
        raise keys.unknown_key()  # proxies log addresses, so secret keys must not appear in them
    check_door(door, g.caller, key_directory(), request.remote_addr or "")
    if g.caller.publishable:
        request.max_content_length = process().settings.browser_body_bytes
