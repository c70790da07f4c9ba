"""Finds the hot route of a path: a rule has no placeholder, or one that takes whatever stands between two fixed ends."""

import re
from typing import Final, NamedTuple

from app.accounts.api.hot import Route

_PLACEHOLDER: Final = re.compile(r"<(?:path:)?(\w+)>")


class Found(NamedTuple):
    """A route with what its placeholder holds."""

    route: Route
    given: dict[str, str]


class Routes:
    """The hot routes by their paths."""

    def __init__(self, routes: list[Route]) -> None:
        self._fixed: dict[str, Found] = {}
        self._open: list[tuple[str, str, str, Route]] = []
        for route in routes:
            parts = _PLACEHOLDER.split(route.rule)
            if len(parts) == 1:
                self._fixed[route.rule] = Found(route, {})
            else:
                before, name, after = parts
                self._open.append((before, name, after, route))

    def find(self, path: str) -> Found | None:
        """The route of a path; null: it is not hot."""
        found = self._fixed.get(path)
        if found is not None:
            return found
        for before, name, after, route in self._open:
            if path.startswith(before) and path.endswith(after) and len(path) > len(before) + len(after):
                return Found(route, {name: path[len(before) : len(path) - len(after)]})
        return None
