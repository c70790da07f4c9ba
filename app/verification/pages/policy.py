"""The models of the learning arms: where each came from, what it learned, which serves; comparing and going back."""

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts.pages.access import page, user
from app.design.pages.experiment import experiment_page
from app.foundation.errors import LoopwiseError
from app.foundation.pages.charts import Row, Version
from app.foundation.pages.format import signed
from app.foundation.pages.forms import mistakes
from app.foundation.pages.typed import whole_number
from app.foundation.serving import process
from app.registry import versions as models
from app.verification import version_history as model_history

SHOWN_ACTIONS = 20
MOST_VERSIONS = 2**31 - 1  # the database's largest version number


@page("/experiments/<key>/policy", "viewer")
def policy(key: str) -> str:
    """The lineage of one arm, newest first."""
    arm, number = request.args.get("arm", ""), _number("version")
    before = _number("before") if number is None else number + 1
    history = model_history.history(process().engine, key, arm, before)
    dots = [Version(line.version.number, line.parent, line.serves, not line.passed) for line in history.lines]
    return experiment_page(
        "policy.html", key, "policy", history=history, dots=dots, wanted=number, paged=before is not None
    )


@page("/experiments/<key>/policy/compare", "viewer")
def compare_versions(key: str) -> str:
    """Two versions side by side."""
    at, arm = process(), request.args.get("arm", "")
    first, second = _number("first") or 0, _number("second") or 0
    comparison = model_history.compare(at.engine, at.settings, key, arm, first, second)
    shown = comparison.actions[:SHOWN_ACTIONS]
    return experiment_page(
        "policy_compare.html", key, "policy", arm=arm, comparison=comparison, shown=shown, signed=signed,
        changes=[Row(mean.action, mean.second - mean.first, strong=mean.second > mean.first) for mean in shown],
    )  # fmt: skip


@page("/experiments/<key>/policy/rollback", "editor", ("GET", "POST"))
def rollback(key: str) -> ResponseReturnValue:
    """Explain what a rollback does; then roll back."""
    arm, number = request.values.get("arm", ""), _number("version") or 0
    errors: dict[str, str] = {}
    status, reason = 200, request.form.get("reason", "")
    if request.method == "POST":
        try:
            done = models.rollback(process().engine, key, arm, number, reason, user().name)
            process().refresh()
            flash(f"Version {done['serving']} of arm {arm} serves now; before it was version {done['before']}.")
            return redirect(url_for("admin.policy", key=key, arm=arm))
        except LoopwiseError as error:
            errors, status = mistakes(error), error.status
            if not errors:
                raise
    line = model_history.version(process().engine, key, arm, number)
    models.check_can_serve(line.version)
    serving = model_history.history(process().engine, key, arm).serving
    shown = experiment_page(
        "policy_rollback.html", key, "policy", arm=arm, line=line, serving=serving, reason=reason, errors=errors
    )
    return shown, status


def _number(name: str) -> int | None:
    return whole_number(request.values.get(name, ""), MOST_VERSIONS)
