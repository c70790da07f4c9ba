"""Decides which decisions a round does not learn: those of suspects, and what is more than one unit may teach.

They are settled and stand in the ledger as not learned, and ``held_out`` says why. A person may release them; the next round
then learns them, once.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection

from app.learning.store import held_out as store
from app.learning.store.held_out import HeldOut, Suspect
from app.learning.store.training import Due, Owner
from bandits.unit_share import kept

UNIT_SHARE: Final = "unit_share"
LATELY: Final = 1000  # newest learned decisions among which a unit's share is bounded


def of_suspects(rows: Sequence[Due | Owner], suspects: Sequence[Suspect]) -> list[HeldOut]:
    """Return the decisions of suspects."""
    held = []
    for due in rows:
        suspect = next((suspect for suspect in suspects if suspect.holds(due)), None)
        if suspect is not None:
            held.append(HeldOut(due.id, suspect.rule, suspect.id))
    return held


def too_many(
    connection: Connection, version_id: int | None, rows: Sequence[Due | Owner], share: float, lately: int = LATELY
) -> list[HeldOut]:
    """Return what is more than one unit may teach.

    :param version_id: the version that learns on; what it learned lately counts. None: it learns from nothing.
    :param rows: what would be learned, oldest first.
    """
    if share >= 1.0:
        return []
    before = None if version_id is None else store.learned_lately(connection, version_id, lately)
    keep = kept([due.unit_id for due in rows], share, before)
    return [HeldOut(due.id, UNIT_SHARE, None) for due, kept_ in zip(rows, keep, strict=True) if not kept_]
