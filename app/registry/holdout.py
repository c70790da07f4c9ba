"""The global holdout: a share of all units that no experiment touches. The control decides for them, everywhere.

A unit is in it if its keyed number lies below the share, whatever the experiment. So all experiments hold the same units back,
and a larger share keeps those who were in it. Decisions name the version of the holdout that was in force.
"""

import hmac
import secrets
from datetime import datetime
from typing import NamedTuple

import orjson
from pydantic import Field
from sqlalchemy import Engine

from app.foundation.fields import Model
from app.foundation.secrets import Purpose, derive
from app.foundation.settings import Settings
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.registry.store import holdouts as store
from app.registry.store.holdouts import Holdout

MAX_SHARE = 0.5
SALT_BYTES = 32


class HoldoutRequest(Model):
    """The share of all units that no experiment touches from now on, and why."""

    share: float = Field(ge=0, le=MAX_SHARE, description="Of all units; 0 ends the holdout.")
    reason: str = Field(min_length=1, max_length=10_000, description="It is kept in the history.")


class Standing(NamedTuple):
    """The global holdout as it is, and how it came about."""

    versions: list[Holdout]  # oldest first

    @property
    def share(self) -> float:
        """The share in force; 0: none."""
        return self.versions[-1].share if self.versions else 0.0

    @property
    def course(self) -> list[Holdout]:
        """The versions since the share was last raised from 0; empty: there is no holdout."""
        course: list[Holdout] = []
        for version in self.versions:
            course = [*course, version] if version.share > 0 else []
        return course

    @property
    def since(self) -> datetime | None:
        """When the holdout in force began; null: there is none."""
        return self.course[0].created_at if self.course else None

    @property
    def always(self) -> float:
        """The share of units that were in it all the time since then."""
        return min((version.share for version in self.course), default=0.0)

    @property
    def ever(self) -> float:
        """The share of units that were in it at some time since then."""
        return max((version.share for version in self.course), default=0.0)


def standing(engine: Engine) -> Standing:
    """The global holdout, with its history."""
    with transaction(engine) as connection:
        return Standing(store.versions(connection))


def change(engine: Engine, settings: Settings, request: HoldoutRequest, actor: str) -> Standing:
    """Set the share. Every decision that is stored afterwards was made under it."""
    with transaction(engine) as connection:
        platform.next_revision(connection)
        before = store.newest(connection)
        if before is None or before.share != request.share:
            version = 1 if before is None else before.version + 1
            salt = secrets.token_bytes(SALT_BYTES) if before is None else before.salt
            seal = _seal(settings.secret_key, version, request.share, salt)
            values = {"version": version, "share": request.share, "salt": salt, "seal": seal}
            store.add(connection, {**values, "actor": actor, "reason": request.reason})
            platform.record_change(
                connection,
                actor=actor,
                kind="holdout_changed",
                before={"share": 0.0 if before is None else before.share},
                after={"share": request.share, "version": version},
                reason=request.reason,
            )
        return Standing(store.versions(connection))


def holds(secret: str, version: Holdout) -> bool:
    """Whether a stored version is as it was made."""
    return hmac.compare_digest(_seal(secret, version.version, version.share, version.salt), version.seal)


def _seal(secret: str, version: int, share: float, salt: bytes) -> str:
    return derive(secret, Purpose.HOLDOUT, orjson.dumps([version, share, salt.hex()])).hex()
