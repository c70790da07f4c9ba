"""Triggers: which events make the platform speak, and how often they did."""

from datetime import date, timedelta
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts.pages.access import page, user
from app.deciding.serving import runtime
from app.design import history as trail
from app.design.pages.channel_words import CHANNELS
from app.foundation.errors import Conflict, FieldError, LoopwiseError
from app.foundation.fields import JsonObject, invalid
from app.foundation.pages import charts
from app.foundation.pages.charts import Figure
from app.foundation.pages.fields.kinds import Findings, Typed
from app.foundation.pages.fields.trees import texts_of
from app.foundation.pages.format import duration, plural
from app.foundation.pages.typed import UNITS, posted_version, whole_number
from app.messaging.delivery import webhooks
from app.messaging.pages import trigger_form, trigger_words
from app.messaging.pages.trigger_form import FORM
from app.messaging.triggers import dry_run as dry_runs
from app.messaging.triggers import lifecycle as service
from app.messaging.triggers import references
from app.messaging.triggers.definition import Cadence, TriggerConfig, parse_trigger

PAGE = 25
SAMPLE = 20  # units of a dry run that are shown
DONE = {"start": "runs", "pause": "is paused"}


@page("/triggers", "viewer")
def triggers() -> str:
    """Every trigger, newest first."""
    after = whole_number(request.args.get("after", ""))
    rows = service.listed(runtime().engine, after_id=after, limit=PAGE + 1)
    older = rows[PAGE - 1].trigger.id if len(rows) > PAGE else None
    return _rendered("triggers.html", lines=rows[:PAGE], older=older, first_page=after is None, most=service.MOST_FIRED)


@page("/triggers/new", "editor", ("GET", "POST"))
def new_trigger() -> ResponseReturnValue:
    """The form of a new trigger."""
    if request.method == "GET":
        return _form(FORM.tree())
    typed = trigger_form.posted(request.form)
    return _answered(typed, lambda document: service.create(runtime().engine, document, user().name))


@page("/triggers/<key>/change", "editor", ("GET", "POST"))
def change_trigger(key: str) -> ResponseReturnValue:
    """The form of a stored trigger."""
    stored = service.get(runtime().engine, key)
    if request.method == "GET":
        return _form(trigger_form.shown(parse_trigger(stored.definition)), key, version=stored.version)
    typed = trigger_form.posted(request.form) | {"key": key}
    version = posted_version()
    try:
        return _answered(
            typed, lambda document: service.change(runtime().engine, key, document, user().name, version), key
        )
    except Conflict:  # somebody else changed it: both versions are shown, and the person decides
        theirs = trigger_form.shown(parse_trigger(stored.definition))
        clash = trail.differences(theirs, typed)
        return _form(typed, key, clash=clash, stored=stored, version=stored.version), 409


@page("/triggers/<key>", "viewer")
def trigger(key: str) -> str:
    """One trigger and its newest firings."""
    return _shown(key)


@page("/triggers/<key>/dry-run", "viewer")
def dry_run(key: str) -> ResponseReturnValue:
    """Who it would have reached in the last seven days."""
    stored = service.get(runtime().engine, key)
    try:
        return _shown(key, **_dry_run(stored.definition))
    except LoopwiseError as error:
        return _shown(key, refused=error.detail), error.status


@page("/triggers/<key>/move", "editor", ("POST",))
def move_trigger(key: str) -> ResponseReturnValue:
    """Start or pause."""
    verb = request.form.get("do", "")
    if verb not in DONE:
        raise invalid((FieldError("/do", "not_start_or_pause"),))
    service.move(runtime().engine, key, verb, user().name)
    flash(f"The trigger {key} {DONE[verb]} now.")
    return redirect(url_for("admin.trigger", key=key))


@page("/triggers/<key>/delete", "editor", ("GET", "POST"))
def delete_trigger(key: str) -> ResponseReturnValue:
    """Say what deleting means; then do it."""
    if request.method == "POST":
        service.delete(runtime().engine, key, user().name)
        flash(f"The trigger {key} is deleted; what it said stays in the log.")
        return redirect(url_for("admin.triggers"))
    return _rendered("trigger_delete.html", trigger=service.get(runtime().engine, key))


def _answered(typed: Typed, save: Any, key: str = "") -> ResponseReturnValue:
    """What a button of the form does: add or drop a row, try, or save."""
    verb = request.form.get("do", "save")
    if verb not in ("save", "try"):
        return _form(typed, key)
    findings = Findings()
    document = trigger_form.document(typed, findings)
    try:
        if findings.problems:
            parse_trigger(document)  # so that all errors are shown at once
            return _form(typed, key, trigger_form.messages(findings, typed)), 422
        if verb == "try":
            return _form(typed, key, **_dry_run(document))
        stored = save(document)
    except LoopwiseError as error:
        if error.status not in (409, 422) or error.code == "trigger_changed":
            raise
        return _form(typed, key, trigger_form.messages(findings, typed, error)), error.status
    flash(f"The trigger {stored.key} is stored{'' if stored.status == 'running' else ', and paused: start it below'}.")
    return redirect(url_for("admin.trigger", key=stored.key))


def _form(typed: Typed, key: str = "", errors: dict[str, str] | None = None, **values: object) -> str:
    at = runtime()
    experiments = at.snapshots.current.experiments
    keys = [webhook.key for webhook in webhooks.newest(at.engine)]
    chosen = typed["delivery"].partition(" ")[2]
    keys += [chosen] if chosen and chosen not in keys else []
    return _rendered(
        "trigger_form.html",
        key=key,
        typed=typed,
        texts=dict(texts_of(typed)),
        version=values.pop("version", posted_version()),
        errors=errors or {},
        kinds=trigger_form.KINDS,
        units=[(name, name) for name in UNITS],
        relations=list(trigger_words.RELATIONS.items()),
        channels=[("", "any"), *CHANNELS.items()],
        deliveries=[
            ("unit", "held for the unit's app, which listens or asks"),
            *((f"webhook {key}", f"to the webhook {key}") for key in keys),
        ],
        speaking=sorted(name for name, experiment in experiments.items() if experiment.channels),
        waiting=sorted(name for name, experiment in experiments.items() if _waits(experiment.config)),
        **values,
    )


def _waits(config: Any) -> bool:
    """True when an experiment's actions are waiting times."""
    return bool(config.actions) and all(
        isinstance(action.payload, dict) and "wait_s" in action.payload for action in config.actions
    )


def _shown(key: str, **values: object) -> str:
    after = whole_number(request.args.get("after", ""))
    stored = service.get(runtime().engine, key)
    rows = service.firings(runtime().engine, key, after_id=after, limit=PAGE + 1)
    config = parse_trigger(stored.definition)
    return _rendered(
        "trigger.html",
        trigger=stored,
        config=config,
        firings=rows[:PAGE],
        older=rows[PAGE - 1].id if len(rows) > PAGE else None,
        first_page=after is None,
        reasons=trigger_words.REASONS,
        warnings=[
            f"This trigger can fire every {duration(tight.every_s)} for one unit, but {config.experiment} allows at most "
            f"{plural(tight.limit, 'message')} within {duration(tight.window_s)}. Firings beyond that send nothing."
            for tight in references.tighter_limits(runtime().engine, config)
        ],
        cadence=config.delay_s.experiment if isinstance(config.delay_s, Cadence) else None,
        **values,
    )


def _dry_run(definition: Any) -> JsonObject:
    report = dry_runs.dry_run(runtime().engine, definition)
    config: TriggerConfig = parse_trigger(definition)
    return {"reached": report, "days": _days(report), "sample": report["sample"][:SAMPLE], "tried": config}


def _days(report: JsonObject) -> Figure:
    """Chart the firings per day, including days without firings."""
    first, last = (date.fromisoformat(report[name][:10]) for name in ("since", "until"))
    by_date = {day["date"]: day for day in report["days"]}
    days = [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]
    counts = [by_date.get(day, {"firings": 0, "units": 0}) for day in days]
    title = "Firings of each of the last days"
    chart = charts.histogram(
        [day[5:] for day in days],
        [count["firings"] for count in counts],
        title=title,
        unit="firings",
        x_unit="day, UTC",
    )
    rows = [[day, count["firings"], count["units"]] for day, count in zip(days, counts, strict=True)]
    note = "The first and the last day are not whole."
    return Figure("dry-run", title, chart, ["Day", "Firings", "Units"], rows, note)


def _rendered(template: str, **values: object) -> str:
    return render_template(template, section="triggers", words=trigger_words, **values)
