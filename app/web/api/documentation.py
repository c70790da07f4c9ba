"""The API's own pages: the OpenAPI document, a page that explores it, and what each error means. No foreign host."""

from importlib.resources import files
from pathlib import Path

from flask import Blueprint, Response, current_app, redirect, render_template_string, send_from_directory

from app.accounts.api.auth import needs
from app.foundation.api.problems import HTTP_CODES
from app.foundation.api.respond import as_json
from app.foundation.api.written import OFREP, PERSONALIZER, family
from app.foundation.codes import WORDS
from app.foundation.errors import CODES
from app.foundation.fields import JsonObject
from app.foundation.serving import PUBLIC

SWAGGER = Path(str(files("flask_openapi_swagger"))) / "templates" / "swagger"
CSP = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"  # Swagger UI styles its own elements

BOOTSTRAP = Path(str(files("flask_bootstrap"))) / "static" / "bootstrap5" / "css"
STATIC = Path(__file__).parents[1] / "static"

_ERRORS = {PERSONALIZER: "PersonalizerError", OFREP: "FlagError"}

blueprint = Blueprint("pages", __name__)

EXPLORER = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Loopwise API</title><link rel="stylesheet" href="/docs/swagger/css/swagger-ui.css"></head>
<body><div id="swagger-ui"></div><script src="/docs/swagger/js/swagger-ui-bundle.js"></script>
<script src="/static/explorer.js"></script></body></html>
"""
ERRORS = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Loopwise: errors</title></head><body><main><h1>Errors</h1>
<p>Every error answer carries a <code>code</code>. This is what each one means and how to fix it.</p>
{% for code, text in codes.items() %}<h2 id="{{ code }}"><code>{{ code }}</code></h2><p>{{ text }}</p>
{% endfor %}<h1 id="values">Wrong values</h1>
<p>An item of <code>errors</code> says what is wrong with one value. Words in braces are its <code>params</code>.</p>
<dl>{% for code, words in values.items() %}<dt id="value-{{ code }}"><code>{{ code }}</code></dt><dd>{{ words.shown }}</dd>
{% endfor %}</dl></main></body></html>
"""


@blueprint.get("/")
@needs(PUBLIC)
def home() -> Response:
    """Redirect a browser to the pages."""
    return redirect("/admin/")  # type: ignore[return-value]


@blueprint.get("/openapi.json")
@needs(PUBLIC)
def openapi() -> Response:
    """The OpenAPI 3.1 document."""
    document = current_app.api_doc  # type: ignore[attr-defined]
    return as_json(document | {"paths": {path: _with_errors(path, item) for path, item in document["paths"].items()}})


def _with_errors(path: str, item: JsonObject) -> JsonObject:
    """Every error is a problem document, except on the routes of other services' clients, in their own shapes."""
    shape = _ERRORS.get(family(path))
    if shape is None:
        return item
    body = {"application/json": {"schema": {"$ref": f"#/components/schemas/{shape}"}}}
    return {
        method: operation
        | {
            "responses": {
                status: response | {"content": body} if int(status) >= 400 else response
                for status, response in operation["responses"].items()
            }
        }
        for method, operation in item.items()
    }


@blueprint.get("/docs")
@needs(PUBLIC)
def explorer() -> Response:
    """The page that explores the API."""
    response = Response(EXPLORER, mimetype="text/html")
    response.headers["Content-Security-Policy"] = CSP
    return response


@blueprint.get("/docs/swagger/<path:name>")
@needs(PUBLIC)
def swagger(name: str) -> Response:
    """Swagger UI's files, from its package."""
    return send_from_directory(SWAGGER, name)


@blueprint.get("/static/bootstrap/<path:name>")
@needs(PUBLIC)
def bootstrap(name: str) -> Response:
    """Bootstrap's style sheet, from the package that carries it."""
    return send_from_directory(BOOTSTRAP, name)


@blueprint.get("/static/<path:name>")
@needs(PUBLIC)
def static(name: str) -> Response:
    """Our own scripts and styles."""
    return send_from_directory(STATIC, name)


@blueprint.get("/docs/errors")
@needs(PUBLIC)
def errors() -> str:
    """What each error code means."""
    return render_template_string(ERRORS, codes=CODES | HTTP_CODES, values=WORDS)
