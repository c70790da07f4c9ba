"""API keys: make one, see it once, revoke it."""

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts import keys as service
from app.accounts.pages.access import page, user
from app.foundation.errors import LoopwiseError
from app.foundation.pages.forms import mistakes
from app.foundation.serving import process
from app.registry import lookup

SCOPES = (
    ("decide", "ask for decisions"),
    ("reward", "report rewards, feedback, events and consent"),
    ("read", "read experiments and reports"),
    ("manage", "define and steer experiments"),
    ("people", "see, hand out and erase what is stored of a person"),
    ("admin", "everything"),
)


@page("/keys", "admin", ("GET", "POST"))
def keys() -> ResponseReturnValue:
    """The keys, and a form for a new one."""
    engine = process().engine
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
                test="test" in form,
                actor=user().name,
            )
            process().refresh()
        except LoopwiseError as error:
            errors = mistakes(error) or {"experiment": error.detail}
            status = error.status
    listed = service.list_keys(engine)
    shown = render_template(
        "keys.html",
        section="keys",
        keys=listed,
        known=lookup.every_key(engine),
        experiments=service.bound_experiments(engine, listed),
        scopes=SCOPES,
        typed={} if new else form,
        chosen=[] if new else form.getlist("scopes"),
        errors=errors,
        new=new,
    )
    return shown, status


@page("/keys/<key_id>/revoke", "admin", ("POST",))
def revoke_key(key_id: str) -> ResponseReturnValue:
    """A key stops working at once."""
    service.revoke_key(process().engine, key_id, actor=user().name)
    process().refresh()
    flash(f"{key_id} is revoked: no process accepts it from now on.")
    return redirect(url_for("admin.keys"))
