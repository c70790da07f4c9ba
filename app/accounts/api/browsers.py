"""Calls from web pages of other origins: the allowed origins and the headers for them (CORS, in the fetch standard)."""

from collections.abc import Iterable

from flask import Flask, Response, g, request

from app.accounts import unit_tokens
from app.accounts.keys import Caller
from app.accounts.serving import key_directory
from app.accounts.store.keys import StoredKey
from app.foundation.errors import Forbidden
from app.foundation.serving import process

TOKEN_HEADER = "Loopwise-Unit-Token"  # noqa: S105 - a name
HEADERS = f"Authorization, Content-Encoding, Content-Type, If-None-Match, Last-Event-ID, {TOKEN_HEADER}"
ASKED_METHOD = "access-control-request-method"  # only preflights have this header
PREFLIGHT_S = 600


def install(app: Flask) -> None:
    """Answer preflights before the key is checked, and add the headers that let pages read the answers."""
    app.before_request(_preflight)
    app.after_request(_allow)


def check_origin(origins: list[str], origin: str | None) -> None:
    """Check that a publishable key is used on an allowed origin.

    :raises Forbidden: the page's origin is not one of the key's.
    """
    if origin not in origins:
        raise Forbidden("wrong_origin", "This publishable key works only on the web pages that it was made for.")


def check_unit(caller: Caller, unit_id: str) -> None:
    """Check that the browser behind the present request may speak for a unit; see ``check_proof``."""
    token = request.headers.get(TOKEN_HEADER) or request.args.get("unit_token", "")
    check_proof(process().settings.secret_key, caller, unit_id, token)


def check_proof(secret: str, caller: Caller, unit_id: str, token: str) -> None:
    """Check that a caller may speak for a unit. A server's secret key speaks for every unit.

    :raises Forbidden: the caller is a browser without a valid token for this unit.
    """
    if caller.publishable:
        unit_tokens.check(secret, unit_id, token)


def allowing(origin: str) -> dict[str, str]:
    """The headers that let a page read the answer to a call with a key that was made for it."""
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": "ETag, Retry-After, X-Request-Id"}


def preflight(known: Iterable[StoredKey], origin: str) -> dict[str, str]:
    """The headers that answer a browser's question whether pages of an origin may call: if any key was made for them."""
    headers = {"Vary": "Origin"}
    if any(origin in (key.origins or ()) and key.revoked_at is None for key in known):
        headers |= {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": "GET, POST",
            "Access-Control-Allow-Headers": HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_S),
        }
    return headers


def _preflight() -> Response | None:
    if request.method != "OPTIONS" or ASKED_METHOD not in request.headers:
        return None
    known = key_directory().known_keys().values()
    return Response(status=204, headers=preflight(known, request.headers.get("Origin", "")))


def _allow(response: Response) -> Response:
    origin = g.get("allowed_origin")
    if origin is not None:
        response.headers.update(allowing(origin))
        response.headers.add("Vary", "Origin")
    return response
