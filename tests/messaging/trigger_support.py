"""Triggers in this process: define, report events, match, fire."""

from datetime import UTC, datetime, timedelta
from typing import Any

from app.messaging.events import recording as events
from app.messaging.events.request import EventRequest
from app.messaging.triggers import firing as firings
from app.messaging.triggers import lifecycle as triggers
from app.messaging.triggers import matching
from tests.service import Loop, query

NOW = datetime.now(UTC)
MESSAGE = {"texts": {"en": {"body": 'Hello {{ name | default: "you" }}'}}}
VARIABLES = [{"name": "name", "sample": "Ada"}]


def ago(**delta: float) -> datetime:
    """A time before the tests began."""
    return NOW - timedelta(**delta)


class Triggers:
    """The services of one database."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.engine = loop.runtime.engine

    def experiment(self, key: str, **fields: Any) -> int:
        """A message experiment that always says hello, unless told otherwise."""
        fields = {"actions": [{"id": "hello", "template": MESSAGE}], "variables": VARIABLES, **fields}
        return self.loop.make(key, **fields)

    def define(self, key: str, pattern: dict[str, Any], *, start: bool = True, **fields: Any) -> int:
        """A trigger, started; returns its id."""
        document = {"key": key, "experiment": "tips", "pattern": pattern, "delivery": {"to": "unit"}, **fields}
        made = triggers.create(self.engine, document, "test")
        if start:
            triggers.move(self.engine, key, "start", "test")
        return made.id

    def report(self, *reported: dict[str, Any]) -> None:
        """Events in one call."""
        requests = [EventRequest.model_construct(**{"unit_id": "u", **event}) for event in reported]
        events.take(self.loop.runtime, self.loop.caller, requests)

    def match(self) -> int:
        """Match all waiting events; returns new firings."""
        made = 0
        while True:
            done = matching.match_some(self.engine)
            made += done.firings
            if not done.events:
                return made

    def fire(self) -> int:
        """Decide for all due firings; returns new deliveries."""
        return firings.fire_due(self.loop.runtime).deliveries

    def causes(self, key: str) -> list[str]:
        """The causes of a trigger's firings, in order."""
        statement = "SELECT cause FROM firings f JOIN triggers t ON t.id = f.trigger_id WHERE t.key = %s ORDER BY caused_at, f.id"
        return [cause for (cause,) in query(self.loop.database_url, statement, key)]

    def states(self, key: str) -> list[tuple[str, str | None]]:
        """Status and reason of each firing."""
        statement = "SELECT f.status, f.reason FROM firings f JOIN triggers t ON t.id = f.trigger_id WHERE t.key = %s"
        return [
            (str(status), reason) for status, reason in query(self.loop.database_url, f"{statement} ORDER BY f.id", key)
        ]
