"""The page by which an arm that has learned nothing begins with what another log teaches."""

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts.pages.access import page, user
from app.design.pages.experiment import experiment_page
from app.foundation.errors import LoopwiseError
from app.foundation.fields import read
from app.foundation.pages.typed import whole_number
from app.foundation.serving import process
from app.off_policy.life import warm_start
from app.off_policy.life.warm_start import WarmStart, WarmStartRequest
from app.registry.lookup import every_key

MOST_VERSIONS = 2**31 - 1  # the database's largest version number
NAMES = ("experiment", "of_arm", "version")


@page("/experiments/<key>/policy/warm-start", "editor", ("GET", "POST"))
def warm_start_page(key: str) -> ResponseReturnValue:
    """Show what arms began with; say what agrees with another log; begin with it."""
    arm, typed = request.values.get("arm", ""), {name: request.form.get(name, "") for name in NAMES}
    errors: dict[str, str] = {}
    shown: WarmStart | None = None
    if request.method == "POST":
        sure = "begin" in request.form
        try:
            shown = warm_start.ask(process().engine, key, _asked(arm, typed, dry_run=not sure), user().name)
            if sure:
                flash(f"Arm {arm} begins with what that log teaches, as soon as the worker has learned it.")
                return redirect(url_for("admin.warm_start_page", key=key))
        except LoopwiseError as error:
            if not error.fields:
                raise
            errors = {_name(field.path): field.on_page() for field in reversed(error.fields)}
    known = warm_start.of_experiment(process().engine, key)
    body = experiment_page(
        "warm_start.html", key, "policy", arm=arm, typed=typed, errors=errors, shown=shown, known=known,
        free=choices(warm_start.free_arms(process().engine, key)), logs=choices(every_key(process().engine)),
    )  # fmt: skip
    return body, 422 if errors else 200


def _asked(arm: str, typed: dict[str, str], *, dry_run: bool) -> WarmStartRequest:
    source: dict[str, object] = {"experiment": typed["experiment"]}
    if typed["of_arm"]:
        source["arm"] = typed["of_arm"]
    if typed["version"]:
        number = whole_number(typed["version"], MOST_VERSIONS)
        source["version"] = typed["version"] if number is None else number
    return read(WarmStartRequest, {"arm": arm, "source": source, "dry_run": dry_run})


def _name(path: str) -> str:
    """The field of the form that an error belongs to."""
    return "of_arm" if path == "/source/arm" else path.rpartition("/")[2]


def choices(names: list[str]) -> list[tuple[str, str]]:
    """Names as the choices of a list."""
    return [(name, name) for name in names]
