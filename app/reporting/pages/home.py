"""The list of experiments."""

from flask import render_template, request

from app.accounts.pages.access import may, page
from app.design import drafts
from app.foundation.pages.typed import whole_number
from app.foundation.serving import process
from app.reporting import home as service

SHOWN = 50


@page("/", "viewer")
def home() -> str:
    """List every experiment with its state and its problems."""
    given = {name: request.args.get(name, "").strip() for name in ("search", "status", "sort")}
    lines = service.lines(process().engine, search=given["search"], status=given["status"], sort=given["sort"])
    start = min(whole_number(request.args.get("from", "")) or 0, max(0, len(lines) - 1))
    return render_template(
        "home.html",
        section="experiments",
        lines=lines[start : start + SHOWN],
        count=len(lines),
        start=start,
        shown=SHOWN,
        given=given,
        filtered=any(given[name] for name in ("search", "status")),
        sorts=service.SORTS,
        statuses=service.STATUSES,
        drafts=drafts.unfinished(process().engine) if may("editor") else [],
    )
