"""The context that apps send, as it was seen."""

from flask import Response

from app.accounts.api.auth import needs
from app.deciding.arrivals import SeenContext, seen_context
from app.design.api.experiments import KeyPath, blueprint, bound_key
from app.foundation.api.respond import as_json
from app.foundation.serving import process

__all__ = ["blueprint"]  # this route joins those of app.design.api


@blueprint.get("/<key>/context", responses={200: SeenContext})
@needs("read")
def context(path: KeyPath) -> Response:
    """The fields that the newest 500 calls carry, with type and example, compared with `context_schema`."""
    return as_json(seen_context(process().engine, bound_key(path.key)).as_json())
