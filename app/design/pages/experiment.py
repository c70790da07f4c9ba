"""What all pages of one experiment share: head, tabs, moves; and its log with notes and the conclusion."""

import re

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts.pages.access import page, user
from app.design import experiments as service
from app.design import history as trail
from app.design.experiment_config import ExperimentConfig
from app.design.life import approvals, archiving, labels
from app.design.life.beginning import first_window
from app.foundation.errors import FieldError, LoopwiseError
from app.foundation.fields import JsonObject, invalid, read
from app.foundation.pages.format import plural
from app.foundation.pages.forms import mistakes
from app.foundation.pages.typed import whole_number
from app.foundation.serving import process
from app.registry.store.experiments import StoredExperiment

TABS = (
    ("overview", "Overview"),
    ("results", "Results"),
    ("slots", "Positions and parts"),
    ("whom", "What works for whom"),
    ("fairness", "Fairness"),
    ("feedback", "Feedback"),
    ("off_policy", "Off-policy"),
    ("policy", "Policy"),
    ("guardian", "Health"),
    ("promotion", "Ship"),
    ("decisions", "Decisions"),
    ("log", "Log"),
    ("integration", "Integration"),
)


def experiment_page(
    template: str, key: str, tab: str, *, experiment: StoredExperiment | None = None, **values: object
) -> str:
    """Render a page of one experiment inside its head and tabs.

    :param tab: the endpoint's name, as in ``TABS``.
    :param experiment: as it is stored, where the caller has read it already.
    :raises NotFound: no such experiment.
    """
    stored = service.get(process().engine, key) if experiment is None else experiment
    config = ExperimentConfig.model_validate(stored.config)
    promoted = "shipped" if config.shipped else "ramping" if config.ramp else "running"
    frame = {
        "section": "experiments",
        "experiment": stored,
        "config": config,
        "key": key,
        "tab": tab,
        "tabs": _tabs(config),
        "state": promoted if stored.status == "running" else stored.status,
        "first_window": first_window(process().engine, stored),
        "starred": key in labels.starred(process().engine, user().id),
        "approvals": approvals.waiting(process().engine, key),
        "myself": user().name,
        "paused": trail.last_pause(process().engine, stored) if stored.status == "paused" else None,
    }
    return render_template(template, **frame, **values)


def _tabs(config: ExperimentConfig) -> list[tuple[str, str]]:
    """The tabs of an experiment; positions and parts have one only where there are some."""
    words = "Parts" if config.composition else "Positions" if config.lists else ""
    return [(name, words if name == "slots" else title) for name, title in TABS if name != "slots" or words]


def asked(key: str, action: approvals.Action, document: JsonObject) -> ResponseReturnValue:
    """Ask a second person for a step, and say so."""
    approvals.ask(process().engine, key, action, document, user().name)
    flash("You have asked for it. It happens once a second person approves it on this page.")
    return redirect(url_for("admin.overview", key=key))


@page("/experiments/<key>/move", "editor", ("POST",))
def move(key: str) -> ResponseReturnValue:
    """Start or pause."""
    verb = request.form.get("do", "")
    if verb not in ("start", "pause"):
        raise invalid((FieldError("/do", "not_start_or_pause"),))
    reason = request.form.get("reason", "").strip()
    if len(reason) > trail.MAX_NOTE or "\0" in reason:
        raise invalid((FieldError("/reason", "wrong_length", {"low": 0, "high": trail.MAX_NOTE}),))
    if verb == "start" and process().settings.approvals:
        return asked(key, "start", {"reason": reason} if reason else {})
    moved = service.move(process().engine, key, verb, user().name, reason or None)
    process().refresh()
    flash(f"The experiment is {moved.status} now.")
    return redirect(url_for("admin.overview", key=key))


@page("/experiments/<key>/shelve", "editor", ("POST",))
def shelve_experiment(key: str) -> ResponseReturnValue:
    """Archive an experiment, take it out of the archive, or delete a draft."""
    engine, do = process().engine, request.form.get("do", "")
    if do == "delete":
        archiving.delete_draft(engine, key, user().name)
        process().refresh()
        flash(f"The draft {key} is deleted.")
        return redirect(url_for("admin.home"))
    if do not in ("archive", "restore"):
        raise invalid((FieldError("/do", "not_a_choice", {"expected": ["archive", "restore", "delete"]}),))
    change = archiving.archive if do == "archive" else archiving.restore
    change(engine, key, user().name)
    flash(
        "The experiment is archived. Find it with the status archived."
        if do == "archive"
        else "It is in the list again."
    )
    return redirect(url_for("admin.overview", key=key))


@page("/experiments/<key>/star", "viewer", ("POST",))
def star(key: str) -> ResponseReturnValue:
    """Star an experiment for oneself, or take the star away."""
    labels.star(process().engine, user().id, key, request.form.get("do") == "star")
    return redirect(url_for("admin.overview", key=key))


@page("/experiments/<key>/labels", "editor", ("POST",))
def label(key: str) -> ResponseReturnValue:
    """Replace the tags and the owner."""
    tags = re.split(r"[\s,]+", request.form.get("tags", "").strip())
    document = {"tags": [tag for tag in tags if tag], "owner": request.form.get("owner", "").strip() or None}
    labels.label(process().engine, key, read(labels.Labels, document), user().name)
    flash("Tags and owner are saved.")
    return redirect(url_for("admin.overview", key=key))


@page("/experiments/archive", "editor", ("POST",))
def archive_several() -> ResponseReturnValue:
    """Archive the experiments that were ticked in the list, or none of them."""
    done = archiving.archive_all(process().engine, request.form.getlist("key"), user().name)
    flash(f"{plural(done, 'experiment')} archived." if done else "Tick the experiments that you want to archive.")
    return redirect(url_for("admin.home"))


@page("/experiments/<key>/log", "viewer")
def log(key: str) -> str:
    """Every change, the notes, and the conclusion."""
    return _log(key, {}, {})


@page("/experiments/<key>/notes", "editor", ("POST",))
def add_note(key: str) -> ResponseReturnValue:
    """A note."""
    text = request.form.get("note", "")
    try:
        trail.add_note(process().engine, key, text, user().name)
    except LoopwiseError as error:
        return _log(key, {"note": text}, mistakes(error)), error.status
    flash("The note is written.")
    return redirect(url_for("admin.log", key=key))


def _log(key: str, typed: dict[str, str], errors: dict[str, str]) -> str:
    before_id = whole_number(request.args.get("before", ""))
    changes = trail.newest(process().engine, experiment_key=key, before_id=before_id)
    return experiment_page("log.html", key, "log", lines=changes.lines, older=changes.older, typed=typed, errors=errors)
