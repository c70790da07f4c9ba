"""Routes that apps call all the time, each described once: scope, models, service, statuses.

From the description come a view of Flask (for the OpenAPI document, and for any WSGI server) and a route of the web process's
event loop (``app.web.front``). The service is in steps (``app.foundation.running.steps``), so it waits in neither.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final, NamedTuple, get_type_hints

from flask import Response, request
from flask_openapi import APIBlueprint
from pydantic import BaseModel

from app.accounts.api import browsers
from app.accounts.api.auth import Door, caller, needs
from app.accounts.keys import Caller, KeyDirectory
from app.accounts.serving import key_directory
from app.foundation.api.respond import as_json, request_document
from app.foundation.fields import JsonObject
from app.foundation.running.steps import Steps, run
from app.foundation.serving import process


class Asked(NamedTuple):
    """One call, authorised and checked."""

    process: Any  # app.deciding.runtime.Runtime, which this feature does not know
    directory: KeyDirectory  # the same
    caller: Caller
    document: JsonObject  # the body as it was sent, which tells a field that was left out from null; {}: no body
    unit_token: str
    secret: str

    def check_proof(self, unit_id: str) -> None:
        """:raises Forbidden: the caller is a browser without a valid token for this unit."""
        browsers.check_proof(self.secret, self.caller, unit_id, self.unit_token)

    def count_unit(self, unit_id: str, calls: int = 1) -> None:
        """:raises TooManyRequests: web pages ask or report too often for this unit."""
        if self.caller.publishable:
            self.directory.rates.take_unit(unit_id, calls)


class Answered(NamedTuple):
    """The answer to a call."""

    document: Mapping[str, object] | None  # null: no body
    status: int
    unseen: Callable[[], None] | None = None  # called instead of answering, when the caller has gone


def stored(document: Mapping[str, object], created: bool, unseen: Callable[[], None] | None = None) -> Answered:
    """The answer to what was stored. 201: some of it is new. 200: all of it was stored before."""
    return Answered(document, 201 if created else 200, unseen)


Service = Callable[..., Steps[Answered]]  # takes asked, and path, query and body as far as it names them


class Route(NamedTuple):
    """The description."""

    rule: str  # as Flask writes it; at most one placeholder
    endpoint: str
    door: Door
    path: type[BaseModel] | None
    query: type[BaseModel] | None
    body: type[BaseModel] | None
    service: Service


ROUTES: Final[list[Route]] = []


def hot(
    blueprint: APIBlueprint,
    rule: str,
    scope: str,
    *,
    browsers: bool = False,
    responses: Mapping[int, type[BaseModel] | None] | None = None,  # null: an answer without a body
) -> Callable[[Service], Service]:
    """Describe a POST route. Its service is the function below; the function's annotations of path, query
    and body are the models."""

    def describe(service: Service) -> Service:
        hints = get_type_hints(service)
        models: JsonObject = {name: hints[name] for name in ("path", "query", "body") if name in hints}

        @wraps(service)
        def view(**given: Any) -> Response:
            answered = run(service(_asked("body" in models), **given))
            if answered.document is None:
                return Response(status=answered.status)
            return as_json(answered.document, answered.status)

        del view.__wrapped__  # its annotations are others
        view.__annotations__ = models
        marked = needs(scope, browsers=browsers)(view)
        documented: Any = responses  # a kind of dictionary that the library does not say
        blueprint.post(rule, responses=documented)(marked)
        endpoint, whole = f"{blueprint.name}.{view.__name__}", f"{blueprint.url_prefix}{rule}"
        door = Door(scope, browsers)
        path, query, body = (models.get(name) for name in ("path", "query", "body"))
        ROUTES.append(Route(whole, endpoint, door, path, query, body, service))
        return service

    return describe


def _asked(has_body: bool) -> Asked:
    token = request.headers.get(browsers.TOKEN_HEADER) or request.args.get("unit_token", "")
    document = request_document() if has_body else {}
    serving = process()
    return Asked(serving, key_directory(), caller(), document, token, serving.settings.secret_key)
