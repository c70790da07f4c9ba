"""The addresses of Azure Personalizer's API. Its versions differ in their addresses, and mean the same routes."""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from app.foundation.api.written import PERSONALIZER

ROUTES_AT: Final = f"{PERSONALIZER}v1.0/"
# v1.1-preview has three revisions. Newer SDKs name no version in the path; they send `api-version` in the query.
_OTHERS: Final = re.compile(
    r"/personalizer/(?:v1\.1-preview(?:\.[123])?/)?"
    r"(?=(?:rank|multislot|events|configurations|evaluations|featureImportances|logs|model)(?:/|\Z))"
)
Start = Callable[..., Any]
Wsgi = Callable[[dict[str, Any], Start], Iterable[bytes]]


def routed(path: str) -> str:
    """The path of the route that a path of any version means; every other path stays as it is."""
    if not path.startswith(PERSONALIZER):
        return path
    found = _OTHERS.match(path)
    return path if found is None else ROUTES_AT + path[found.end() :]


def with_every_version(app: Wsgi) -> Wsgi:
    """A WSGI application that knows the paths of every version."""

    def call(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        environ["PATH_INFO"] = routed(environ.get("PATH_INFO", ""))
        return app(environ, start)

    return call
