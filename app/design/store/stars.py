"""Which experiments a person has starred."""

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.postgresql import insert

from app.foundation.store import tables

_s = tables.stars
_e = tables.experiments


def put(connection: Connection, user_id: int, experiment_id: int, starred: bool) -> None:
    """Star an experiment, or take the star away."""
    if starred:
        values = insert(_s).values(user_id=user_id, experiment_id=experiment_id)
        connection.execute(values.on_conflict_do_nothing())
    else:
        connection.execute(delete(_s).where(_s.c.user_id == user_id, _s.c.experiment_id == experiment_id))


def keys(connection: Connection, user_id: int) -> frozenset[str]:
    """The keys of a person's starred experiments."""
    query = select(_e.c.key).join(_s, _s.c.experiment_id == _e.c.id).where(_s.c.user_id == user_id)
    return frozenset(connection.execute(query).scalars())
