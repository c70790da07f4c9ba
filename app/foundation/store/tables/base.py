"""What all tables share."""

from sqlalchemy import Column, DateTime, MetaData, text

metadata = MetaData()
_now = text("clock_timestamp()")


def time_column(name: str, *, nullable: bool = False, now: bool = False) -> Column[object]:
    """A moment, with its offset; ``now``: the database's clock fills it in."""
    return Column(name, DateTime(timezone=True), nullable=nullable, server_default=_now if now else None)
