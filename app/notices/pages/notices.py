"""Notices: the log of what was told, and who gets them."""

from collections.abc import Callable
from typing import TypeVar

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import ValidationError

from app.accounts import users
from app.accounts.pages.access import page, user
from app.deciding.serving import runtime
from app.foundation.errors import FieldError, LoopwiseError
from app.foundation.fields import JsonObject, invalid, pydantic_fields
from app.foundation.pages.typed import whole_number
from app.foundation.words import as_sentence
from app.messaging.delivery import webhooks
from app.notices import log, receivers
from app.notices.receivers import ReceiverPatch, ReceiverSpec
from app.notices.store.receivers import StoredReceiver
from app.notices.topics import TOPICS
from app.registry import lookup

PAGE = 25
STATES = {"waiting": ("waiting", "info"), "delivered": ("delivered", "ok"), "failed": ("failed", "bad")}
FORMS = [("loopwise", "Loopwise's own JSON, signed"), ("slack", "Slack's (also Mattermost, Rocket.Chat)")]
VERBS = {"pause": "paused", "start": "running"}
Spec = TypeVar("Spec", bound=ReceiverPatch)


@page("/notices", "viewer")
def notices() -> str:
    """Notices, newest first, of one topic or one experiment."""
    given = {name: request.args.get(name, "").strip() for name in ("experiment", "topic")}
    text, wanted = request.args.get("after", ""), {name: value or None for name, value in given.items()}
    entries = log.newest(runtime().engine, **wanted, after_id=whole_number(text), limit=PAGE + 1)
    return render_template(
        "notices.html",
        section="notices",
        entries=entries[:PAGE],
        older=entries[PAGE - 1].notice.id if len(entries) > PAGE else None,
        first_page=whole_number(text) is None,
        given=given,
        topics=[*TOPICS, "test"],
        states=STATES,
    )


@page("/notices/receivers", "editor", ("GET", "POST"))
def notice_receivers() -> ResponseReturnValue:
    """Who gets notices, and a form for one more."""
    at, errors = runtime(), {}
    typed, status = _form_of(None), 200
    if request.method == "POST":
        typed = _typed()
        try:
            values = {name: value for name, value in _document(typed).items() if value is not None}
            spec = _checked(ReceiverSpec, values | {"key": typed["key"]})
            made = receivers.create(at.engine, at.settings, spec, user().name)
            flash(f"The receiver {made.key} gets notices now. Send it a test.")
            return redirect(url_for("admin.notice_receiver", key=made.key))
        except LoopwiseError as error:
            if error.status not in (409, 422):
                raise
            errors, status = _errors(error), error.status
    rows = receivers.every(at.engine)
    return render_template("notice_receivers.html", receivers=rows, errors=errors, **_choices(typed)), status


@page("/notices/receivers/<key>", "editor", ("GET", "POST"))
def notice_receiver(key: str) -> ResponseReturnValue:
    """Show a receiver; change, pause, test or delete it."""
    stored = receivers.get(runtime().engine, key)
    if request.method == "GET":
        return _shown(stored, _form_of(stored))
    verb = request.form.get("do", "")
    does: dict[str, Callable[[StoredReceiver], ResponseReturnValue]] = {
        "change": _change,
        "test": _test,
        "delete": _delete,
        "pause": _turn,
        "start": _turn,
    }
    if verb not in does:
        raise invalid((FieldError("/do", "not_a_choice", {"expected": [*does]}),))
    return does[verb](stored)


def _change(stored: StoredReceiver) -> ResponseReturnValue:
    at, typed = runtime(), _typed()
    try:
        receivers.change(at.engine, at.settings, stored.key, _checked(ReceiverPatch, _document(typed)), user().name)
    except LoopwiseError as error:
        if error.status not in (409, 422):
            raise
        return _shown(stored, typed, _errors(error)), error.status
    flash(f"The receiver {stored.key} is changed.")
    return redirect(url_for("admin.notice_receiver", key=stored.key))


def _test(stored: StoredReceiver) -> ResponseReturnValue:
    receivers.test(runtime().engine, stored.key, user().name)
    flash(f"A test for {stored.key} is on its way. The newest line of this page says whether it arrived.")
    return redirect(url_for("admin.notices", topic="test"))


def _turn(stored: StoredReceiver) -> ResponseReturnValue:
    at, status = runtime(), VERBS[request.form["do"]]
    receivers.change(at.engine, at.settings, stored.key, _checked(ReceiverPatch, {"status": status}), user().name)
    flash(f"The receiver {stored.key} is {status} now.")
    return redirect(url_for("admin.notice_receiver", key=stored.key))


def _delete(stored: StoredReceiver) -> ResponseReturnValue:
    receivers.delete(runtime().engine, stored.key, user().name)
    flash(f"The receiver {stored.key} is deleted.")
    return redirect(url_for("admin.notice_receivers"))


def _typed() -> JsonObject:
    """The form as it was sent."""
    names = ("key", "webhook", "email", "form", "experiments", "person", "quiet_from", "quiet_until", "time_zone")
    typed: JsonObject = {name: "\n".join(request.form.getlist(name)).replace("\0", "").strip() for name in names}
    return typed | {"topics": request.form.getlist("topics")}


def _form_of(stored: StoredReceiver | None) -> JsonObject:
    """What the form of a receiver shows."""
    if stored is None:
        return {"topics": [*TOPICS], "form": "loopwise", "time_zone": "UTC"}
    return stored._asdict() | {"experiments": "\n".join(stored.experiments)}


def _document(typed: JsonObject) -> JsonObject:
    """The fields of a patch, from a form: what is empty is null."""
    document = {name: typed[name] or None for name in ("webhook", "email", "person", "quiet_from", "quiet_until")}
    experiments = typed["experiments"].replace(",", " ").split()
    form = {"form": typed["form"] or "loopwise", "time_zone": typed["time_zone"] or "UTC"}
    return document | form | {"topics": typed["topics"], "experiments": experiments}


def _choices(typed: JsonObject) -> JsonObject:
    engine = runtime().engine
    people = [person.name for person in users.list_users(engine) if person.disabled_at is None]
    return {
        "section": "notices",
        "typed": typed,
        "topics": TOPICS,
        "forms": FORMS,
        "webhooks": [("", "none"), *((webhook.key, webhook.key) for webhook in webhooks.newest(engine))],
        "people": [("", "nobody in particular"), *((name, name) for name in people)],
        "time_zones": receivers.time_zones(engine),
        "experiments": lookup.every_key(engine),
        "mails": bool(runtime().settings.smtp_url),
    }


def _shown(stored: StoredReceiver, typed: JsonObject, errors: dict[str, str] | None = None) -> str:
    return render_template("notice_receiver.html", receiver=stored, errors=errors or {}, **_choices(typed))


def _checked(model: type[Spec], values: JsonObject) -> Spec:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise invalid(pydantic_fields(error)) from None


def _errors(error: LoopwiseError) -> dict[str, str]:
    """By field of the form; what is wrong with one of several names stands beside their field."""
    wrong = {field.path.split("/")[1]: field.on_page() for field in reversed(error.fields) if "/" in field.path}
    return wrong or {"email": as_sentence(error.detail)}
