"""API keys: make one, see it once, revoke it."""

from typing import Any

from flask import flash, redirect, render_template, request, url_for

from app.admin.access import page, user
from app.admin.forms import mistakes
from app.errors import LoopwiseError
from app.services import keys as service
from app.serving import runtime

SCOPES = (
    ("decide", "ask for decisions"),
    ("reward", "report rewards, feedback, events and consent"),
    ("read", "read experiments and reports"),
    ("manage", "define and steer experiments"),
    ("people", "see, hand out and erase what is stored of a person"),
    ("admin", "everything"),
)


@page("/keys", "admin", ("GET", "POST"))
def keys() -> Any:
    """The keys, and a form for a new one."""
    engine = runtime().engine
    form, errors, new, status = request.form, {}, None, 200
    if request.method == "POST":
        scopes = form.getlist("scopes")
        try:
            new = service.create_key(
                engine,
                scopes=scopes,
                experiment_key=form.get("experiment", "").strip() or None,
                name=form.get("name", "").strip()[:200],
                origins=form.get("origins", "").split() or None,
                actor=user().name,
            )
            runtime().snapshots.refresh()
        except LoopwiseError as error:
            errors = mistakes(error) or {"experiment": error.detail}
            status = error.status
    shown = render_template(
        "keys.html",
        section="keys",
        keys=service.list_keys(engine),
        experiments=runtime().snapshots.current.by_id,
        scopes=SCOPES,
        typed={} if new else form,
        chosen=[] if new else form.getlist("scopes"),
        errors=errors,
        new=new,
    )
    return shown, status


@page("/keys/<key_id>/revoke", "admin", ("POST",))
def revoke_key(key_id: str) -> Any:
    """A key stops working at once."""
    service.revoke_key(runtime().engine, key_id, actor=user().name)
    runtime().snapshots.refresh()
    flash(f"{key_id} is revoked: no process accepts it from now on.")
    return redirect(url_for("admin.keys"))
