"""Every error becomes one RFC 9457 problem document; on the Personalizer routes, that service's own error body."""

import orjson
import structlog
from flask import Flask, Response, current_app, request
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from app.foundation.api.written import OFREP, PERSONALIZER, failure, fault, personalizer_code, problem, too_large
from app.foundation.errors import BadRequest, LoopwiseError
from app.foundation.fields import invalid, pydantic_fields
from app.foundation.store.engine import is_outage, unavailable

log = structlog.get_logger()
HTTP_CODES = {
    "bad_request": "The request is not valid HTTP.",
    "not_found": "There is nothing at this address. `/openapi.json` lists every route.",
    "method_not_allowed": "The address exists, but not for this method; the header Allow lists those that work.",
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
    shown = _page(error)
    if shown is not None:
        return shown
    written = failure(error, request.path)
    return Response(written.body, written.status, written.headers)


def _page(error: LoopwiseError) -> Response | None:
    """The error as a page, when a person asked for one; ``app.admin`` knows how."""
    make = current_app.extensions.get("error_page")
    return None if make is None else make(error)


def _http(error: HTTPException) -> Response:
    """Flask's own errors keep their headers (Allow, for one) and get our body."""
    if error.response is not None:
        return error.response  # type: ignore[return-value]
    response = error.get_response()
    status = error.code or 500
    detail = error.description or error.name
    if status == 413:
        return render(too_large(request.max_content_length or 0))
    code = error.name.lower().replace(" ", "_")
    code = code if code in HTTP_CODES else "bad_request"
    shown = _page(_HttpProblem(status, code, error.name, detail))
    if shown is not None:
        return shown
    if request.path.startswith(PERSONALIZER):
        name = personalizer_code(status, error.name.replace(" ", ""))
        response.set_data(orjson.dumps({"error": {"code": name, "message": detail}}))
        response.content_type = "application/json"
    elif request.path.startswith(OFREP):
        response.set_data(orjson.dumps({"errorCode": "GENERAL", "errorDetails": detail}))
        response.content_type = "application/json"
    else:
        response.set_data(orjson.dumps(problem(status, code, error.name, detail)))
        response.content_type = "application/problem+json"
    return response  # type: ignore[return-value]


def _unexpected(error: Exception) -> Response:
    if is_outage(error):
        return render(unavailable())
    log.exception("request_failed", method=request.method, route=request.url_rule and request.url_rule.rule)
    return render(fault())
