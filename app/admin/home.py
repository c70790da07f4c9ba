"""The list of experiments."""

from flask import render_template, request

from app.admin.access import may, page
from app.services import drafts
from app.services import home as service
from app.serving import runtime

SHOWN = 50


@page("/", "viewer")
def home() -> str:
    """Every experiment: how it stands and what is wrong."""
    given = {name: request.args.get(name, "").strip() for name in ("search", "status", "sort")}
    found = service.lines(runtime().engine, search=given["search"], status=given["status"], sort=given["sort"])
    first = request.args.get("from", "")
    start = min(int(first), max(0, len(found) - 1)) if first.isdecimal() and len(first) < 10 else 0
    return render_template(
        "home.html",
        section="experiments",
        lines=found[start : start + SHOWN],
        count=len(found),
        start=start,
        shown=SHOWN,
        given=given,
        filtered=any(given[name] for name in ("search", "status")),
        sorts=service.SORTS,
        statuses=service.STATUSES,
        drafts=drafts.unfinished(runtime().engine) if may("editor") else [],
    )
