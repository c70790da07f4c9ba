"""The request whose body is read as strict JSON."""

from typing import Any

from flask import Request, current_app
from werkzeug.exceptions import RequestEntityTooLarge

from app.foundation.api.packed import unpack
from app.foundation.formats.strict_json import parse_body


class StrictRequest(Request):
    """A request whose JSON is read by ``parse``, whatever content type it names."""

    document: object = None  # the parsed body, once somebody has asked for it

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:  # noqa: ARG002
        """The parsed body; the parameters are werkzeug's and change nothing."""
        body = self.get_data()
        # A chunked body has no length to refuse it by, and werkzeug cuts it off at the limit without a word.
        if self.content_length is None and len(body) == self.max_content_length and self.environ["wsgi.input"].read(1):
            raise RequestEntityTooLarge
        body = unpack(body, self.headers.get("Content-Encoding"), self.max_content_length or 0)
        self.document = parse_body(body, current_app.config["MAX_JSON_DEPTH"])
        return self.document
