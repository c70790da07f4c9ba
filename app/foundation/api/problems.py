"""Every error becomes one RFC 9457 problem document; on the Personalizer routes, that service's own error body."""

import orjson
import structlog
from flask import Flask, Response, current_app, request
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from app.foundation.errors import BadRequest, LoopwiseError, TooManyRequests, Unavailable
from app.foundation.fields import JsonObject, invalid, pydantic_fields
from app.foundation.store.engine import is_outage, unavailable

log = structlog.get_logger()
PERSONALIZER = "/personalizer/"
_PERSONALIZER_CODES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "ResourceNotFound",
    409: "Conflict",
}


HTTP_CODES = {
    "bad_request": "The request is not valid HTTP.",
    "not_found": "There is nothing at this address. `/openapi.json` lists every route.",
    "method_not_allowed": "The address exists, but not for this method; the header Allow lists those that work.",
    "request_entity_too_large": "The body is larger than LOOPWISE_MAX_BODY_BYTES. Split it.",
}  # codes of the web framework's own errors; the page /docs/errors shows them after ours


class _HttpProblem(LoopwiseError):
    """One of the web framework's own errors, for a page."""

    def __init__(self, status: int, code: str, title: str, detail: str) -> None:
        super().__init__(code, detail)
        self.status = status  # type: ignore[misc]
        self.title = title  # type: ignore[misc]


class _AnyText(BaseConverter):
    """The rest of a path as it stands: an id may begin with a slash or hold a line break."""

    regex = r"[\s\S]+"
    part_isolating = False


def install(app: Flask) -> None:
    """Register the handlers, and take paths literally."""
    app.url_map.converters["path"] = _AnyText
    app.url_map.merge_slashes = False
    app.before_request(_refuse_nul)
    app.register_error_handler(LoopwiseError, render)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)


def _refuse_nul() -> None:
    if "\0" in request.path or b"%00" in request.query_string:
        raise BadRequest("nul_character", "The address holds the character NUL (%00); remove it.")


def validation_response(error: ValidationError) -> Response:
    """What flask-openapi answers to a body that does not fit its model."""
    document = request.get_json(silent=True) if request.get_data() else None
    return render(invalid(pydantic_fields(error, document)))


def render(error: LoopwiseError) -> Response:
    """The response for an error."""
    status = error.status
    shown = _page(error)
    if shown is not None:
        return shown
    if request.path.startswith(PERSONALIZER):
        status = 400 if status == 422 else status
        code = _PERSONALIZER_CODES.get(status, "ServiceUnavailable" if status == 503 else "InvalidRequest")
        body: JsonObject = {"error": {"code": code, "message": error.detail, "target": error.code}}
        response = Response(orjson.dumps(body), status, mimetype="application/json")
    else:
        body = problem(status, error.code, error.title, error.detail)
        if error.fields:
            body["errors"] = [
                {"path": field.path, "code": field.code, "params": dict(field.params), "message": field.message}
                for field in error.fields
            ]
        response = Response(orjson.dumps(body), status, mimetype="application/problem+json")
    if isinstance(error, Unavailable | TooManyRequests):
        response.headers["Retry-After"] = str(error.retry_after_s)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="loopwise"'
    return response


def _page(error: LoopwiseError) -> Response | None:
    """The error as a page, when a person asked for one; ``app.admin`` knows how."""
    make = current_app.extensions.get("error_page")
    return None if make is None else make(error)


def problem(status: int, code: str, title: str, detail: str) -> JsonObject:
    """The members that every problem document has."""
    return {"type": f"/docs/errors#{code}", "title": title, "status": status, "detail": detail, "code": code}


def _http(error: HTTPException) -> Response:
    """Flask's own errors keep their headers (Allow, for one) and get our body."""
    if error.response is not None:
        return error.response  # type: ignore[return-value]
    response = error.get_response()
    status = error.code or 500
    detail = error.description or error.name
    if status == 413:
        detail = f"The body is larger than {current_app.config['MAX_CONTENT_LENGTH']} bytes; split it."
    code = error.name.lower().replace(" ", "_")
    code = code if code in HTTP_CODES else "bad_request"
    shown = _page(_HttpProblem(status, code, error.name, detail))
    if shown is not None:
        return shown
    if request.path.startswith(PERSONALIZER):
        name = _PERSONALIZER_CODES.get(status, error.name.replace(" ", ""))
        response.set_data(orjson.dumps({"error": {"code": name, "message": detail}}))
        response.content_type = "application/json"
    else:
        response.set_data(orjson.dumps(problem(status, code, error.name, detail)))
        response.content_type = "application/problem+json"
    return response  # type: ignore[return-value]


def _unexpected(error: Exception) -> Response:
    if is_outage(error):
        return render(unavailable())
    log.exception("request_failed", method=request.method, route=request.url_rule and request.url_rule.rule)
    detail = "This is a fault of Loopwise; its log says more."
    shown = _page(LoopwiseError("internal_error", detail))
    if shown is not None:
        return shown
    body = problem(500, "internal_error", "Loopwise failed", detail)
    return Response(orjson.dumps(body), 500, mimetype="application/problem+json")
