"""The chain over the log: a link for each commit batch, anchors that join links."""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Sequence, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from app.foundation.store.tables.base import metadata, time_column

_numbers = Sequence("log_links_id_seq", metadata=metadata)

log_links = Table(
    "log_links",
    metadata,
    Column("id", BigInteger, _numbers, primary_key=True, server_default=_numbers.next_value()),
    Column("kind", Text, nullable=False),  # the table whose rows it counts
    time_column("at"),  # of these rows
    Column("parts", JSONB, nullable=False),  # by experiment id: [rows, XOR of their hashes in two halves]
    Column("tag", LargeBinary, nullable=False),  # keyed hash of the link
    Column("anchor", BigInteger, nullable=True),  # number of the anchor that names it; null: not anchored yet
    Index("log_links_at", "at", "anchor", postgresql_using="brin", postgresql_with={"pages_per_range": 16}),
    Index("log_links_new", "id", postgresql_where=text("anchor IS NULL")),
)

log_anchors = Table(
    "log_anchors",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),  # 0: when the chain began
    time_column("at"),
    Column("links", BigInteger, nullable=False),  # how many it names
    Column("hi", BigInteger, nullable=False),  # XOR of their tags' first 64 bits
    Column("lo", BigInteger, nullable=False),  # of the next 64
    Column("tag", LargeBinary, nullable=False),  # keyed hash of the anchor and of the tag before
)
