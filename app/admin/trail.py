"""The audit log: every change of anything, by whom, when, from what, to what, why."""

from typing import Any

from flask import render_template, request

from app.admin.access import page
from app.services import trail as service
from app.serving import runtime


@page("/audit-log", "admin")
def trail() -> Any:
    """Changes of the whole platform, newest first."""
    given = {name: request.args.get(name, "").strip() for name in ("actor", "kind", "experiment")}
    before = request.args.get("before", "")
    found = service.newest(
        runtime().engine,
        experiment_key=given["experiment"] or None,
        actor=given["actor"] or None,
        kind=given["kind"] or None,
        before_id=int(before) if before.isdecimal() and len(before) < 19 else None,
    )
    return render_template("trail.html", section="trail", lines=found.lines, older=found.older, given=given)
