"""Drafts of experiments."""

from typing import Any

from sqlalchemy import Connection, text

LISTED = 50


def newest(connection: Connection) -> list[tuple[Any, ...]]:
    """(id, title, key of the experiment that it changes, updated by, updated at), the last saved first."""
    query = """
        SELECT d.id,
            coalesce(nullif(d.typed #>> '{purpose,name}', ''), nullif(d.typed #>> '{purpose,key}', ''), 'Without a name'),
            e.key, d.updated_by, d.updated_at
        FROM drafts d LEFT JOIN experiments e ON e.id = d.experiment_id ORDER BY d.updated_at DESC LIMIT :most
    """
    return [tuple(row) for row in connection.execute(text(query), {"most": LISTED})]
