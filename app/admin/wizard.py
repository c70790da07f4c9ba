"""Being built."""

from typing import Any

from app.admin.access import page


@page("/drafts", "editor", ("POST",))
def new_draft() -> Any:
    """Being built."""
    return "being built"


@page("/drafts/<int:draft_id>", "editor")
def draft(draft_id: int) -> Any:
    """Being built."""
    return "being built"


@page("/experiments/<key>/edit", "editor", ("POST",))
def edit(key: str) -> Any:
    """Being built."""
    return "being built"
