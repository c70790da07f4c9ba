"""Calls from web pages of other origins: the allowed origins and the headers for them (CORS, in the fetch standard)."""

from flask import Flask, Response, g, request

from app.accounts import unit_tokens
from app.accounts.keys import Caller
from app.accounts.serving import key_directory
from app.foundation.errors import Forbidden
from app.foundation.serving import process

HEADERS = "Authorization, Content-Type, Last-Event-ID, Loopwise-Unit-Token"
PREFLIGHT_S = 600


def install(app: Flask) -> None:
    """Answer preflights before the key is checked, and add the headers that let pages read the answers."""
    app.before_request(_preflight)
    app.after_request(_allow)


def check_origin(origins: list[str]) -> None:
    """Check that a publishable key is used on an allowed origin.

    :raises Forbidden: the page's origin is not one of the key's.
    """
    origin = request.headers.get("Origin")
    if origin is None and request.headers.get("Sec-Fetch-Site") == "same-origin":  # pages do not send it to themselves
        origin = request.host_url.rstrip("/")
    if origin not in origins:
        raise Forbidden("wrong_origin", "This publishable key works only on the web pages that it was made for.")
    g.allowed_origin = request.headers.get("Origin")


def check_unit(caller: Caller, unit_id: str) -> None:
    """Check that a browser may speak for a unit. A server's secret key speaks for every unit.

    :raises Forbidden: the request has no valid token for this unit.
    """
    if caller.publishable:
        token = request.headers.get("Loopwise-Unit-Token") or request.args.get("unit_token", "")
        unit_tokens.check(process().settings.secret_key, unit_id, token)


def _preflight() -> Response | None:
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
        return None
    origin = request.headers.get("Origin", "")
    response = Response(status=204)
    response.headers["Vary"] = "Origin"
    keys = key_directory().known_keys().values()
    if any(origin in (key.origins or ()) and key.revoked_at is None for key in keys):
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Methods"] = "GET, POST"
        response.headers["Access-Control-Allow-Headers"] = HEADERS
        response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_S)
    return response


def _allow(response: Response) -> Response:
    origin = g.get("allowed_origin")
    if origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = "Retry-After, X-Request-Id"
        response.headers.add("Vary", "Origin")
    return response
