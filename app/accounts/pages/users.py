"""Users: invite, change roles, lock out."""

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts import users as service
from app.accounts.pages.access import page, user
from app.foundation.errors import LoopwiseError
from app.foundation.pages.forms import mistakes, public_url
from app.foundation.serving import process

ROLES = (
    ("viewer", "Viewer: reads everything"),
    ("analyst", "Analyst: also evaluates policies, without steering experiments"),
    ("editor", "Editor: defines and steers experiments"),
    ("admin", "Administrator: also users, keys, settings"),
)


@page("/users", "admin", ("GET", "POST"))
def users() -> ResponseReturnValue:
    """Everybody, and a form that invites somebody."""
    engine = process().engine
    errors: dict[str, str] = {}
    link, status, typed = "", 200, dict(request.form)
    if request.method == "POST":
        name = request.form.get("name", "")
        try:
            token = service.create_user(engine, name, request.form.get("role", ""), user().name)
            link, typed = _address(token), {}
        except LoopwiseError as error:
            errors, status = mistakes(error) or {"name": error.detail}, error.status
    return _shown(errors, link, typed), status


@page("/users/<name>", "admin", ("POST",))
def change_user(name: str) -> ResponseReturnValue:
    """Another role, a new link, locked out or let in."""
    engine, wanted = process().engine, request.form.get("do", "")
    if wanted == "link":
        return _shown({}, _address(service.new_link(engine, name, user().name)), {})
    if wanted == "role":
        service.set_role(engine, name, request.form.get("role", ""), user().name)
        flash(f"{name} is {request.form.get('role')} now.")
    elif wanted in ("disable", "enable"):
        service.set_disabled(engine, name, wanted == "disable", user().name)
        flash(f"{name} {'is locked out and signed out everywhere' if wanted == 'disable' else 'may sign in again'}.")
    return redirect(url_for("admin.users"))


def _address(token: str) -> str:
    return public_url() + url_for("admin.link", token=token)


def _shown(errors: dict[str, str], link: str, typed: dict[str, str]) -> str:
    listed = service.list_users(process().engine)
    return render_template(
        "users.html", section="users", users=listed, roles=ROLES, errors=errors, new_link=link, typed=typed
    )
