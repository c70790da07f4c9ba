"""The audit log: every change of anything, by whom, when, from what, to what, why."""

from flask import render_template, request
from flask.typing import ResponseReturnValue

from app.accounts import users
from app.accounts.pages.access import page
from app.design import history as service
from app.design.history import Page
from app.foundation.errors import NotFound
from app.foundation.pages.typed import whole_number
from app.foundation.serving import process
from app.registry import lookup


@page("/audit-log", "admin")
def trail() -> ResponseReturnValue:
    """Changes of the whole platform, newest first."""
    engine = process().engine
    given = {name: request.args.get(name, "").strip() for name in ("actor", "kind", "experiment")}
    before = request.args.get("before", "")
    errors: dict[str, str] = {}
    changes = Page([], None)
    try:
        changes = service.newest(
            engine,
            experiment_key=given["experiment"] or None,
            actor=given["actor"] or None,
            kind=given["kind"] or None,
            before_id=whole_number(before),
        )
    except NotFound as error:
        errors["experiment"] = error.detail
    shown = render_template(
        "trail.html",
        section="trail",
        lines=changes.lines,
        older=changes.older,
        given=given,
        errors=errors,
        experiments=lookup.every_key(engine),
        kinds=[("", "anything"), *service.WORDS.items()],
        people=[*(account.name for account in users.list_users(engine)), "cli", "worker"],
    )
    return shown, 404 if errors else 200
