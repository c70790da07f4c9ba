"""Messages on their way: the log of deliveries with every attempt, and the webhooks that they go to."""

from collections.abc import Callable
from typing import TypeVar

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import ValidationError

from app.accounts.pages.access import page, user
from app.deciding.serving import runtime
from app.foundation.errors import FieldError, LoopwiseError, NotFound
from app.foundation.fields import Model, invalid, pydantic_fields
from app.foundation.pages.forms import mistakes
from app.foundation.pages.typed import posted_version, whole_number
from app.foundation.words import as_sentence
from app.messaging.delivery import log as service
from app.messaging.delivery import webhooks as hooks
from app.messaging.delivery.webhooks import WebhookPatch, WebhookSpec
from app.messaging.store.webhooks import StoredWebhook

PAGE = 25
STATES = {"waiting": ("waiting", "info"), "delivered": ("delivered", "ok"), "failed": ("failed", "bad")}
DONE = {"pause": "paused", "start": "running"}


Spec = TypeVar("Spec", bound=Model)


@page("/deliveries", "viewer")
def deliveries() -> ResponseReturnValue:
    """Deliveries, newest first, of one webhook or in one state."""
    given = {name: request.args.get(name, "").strip() for name in ("webhook", "status")}
    text, wanted = request.args.get("after", ""), {name: value or None for name, value in given.items()}
    found = service.newest(runtime().engine, **wanted, after_id=whole_number(text), limit=PAGE + 1)
    return render_template(
        "deliveries.html",
        section="deliveries",
        lines=found[:PAGE],
        older=found[PAGE - 1]["id"] if len(found) > PAGE else None,
        first_page=whole_number(text) is None,
        given=given,
        webhooks=[one.key for one in hooks.newest(runtime().engine)],
        statuses=service.STATUSES,
        states=STATES,
    )


@page("/deliveries/<number>/replay", "editor", ("POST",))
def replay_delivery(number: str) -> ResponseReturnValue:
    """Send one again."""
    delivery_id = whole_number(number)
    if delivery_id is None:
        raise NotFound("unknown_delivery", f"There is no delivery {number}.")
    service.replay(runtime().engine, delivery_id, user().name)
    flash(f"Delivery {delivery_id} is on its way again, under its old id.")
    webhook, status = (request.form.get(name) or None for name in ("webhook", "status"))
    return redirect(url_for("admin.deliveries", webhook=webhook, status=status))


@page("/webhooks", "admin", ("GET", "POST"))
def webhooks() -> ResponseReturnValue:
    """The webhooks, and a form for a new one."""
    at, form = runtime(), request.form
    errors: dict[str, str] = {}
    made, secret, status = None, "", 200
    if request.method == "POST":
        try:
            spec = _checked(WebhookSpec, key=form.get("key", "").strip(), url=form.get("url", "").strip())
            made, secret = hooks.create(at.engine, at.settings, spec, user().name)
        except LoopwiseError as error:
            errors, status = _mistakes(error), error.status
    found = hooks.newest(at.engine)
    shown = render_template(
        "webhooks.html", section="deliveries", webhooks=found, made=made, secret=secret, typed={} if made else form, errors=errors
    )  # fmt: skip
    return shown, status


@page("/webhooks/<key>", "admin", ("GET", "POST"))
def webhook(key: str) -> ResponseReturnValue:
    """One webhook: another address, a pause, a new secret, the end."""
    stored = hooks.get(runtime().engine, key)
    if request.method == "GET":
        return _one(stored)
    does: dict[str, Callable[[StoredWebhook], ResponseReturnValue]] = {
        "url": _move,
        "rotate": _rotate,
        "delete": _delete,
    }
    verb = request.form.get("do", "")
    try:
        if verb in DONE:
            return _changed(key, f"The webhook {key} is {DONE[verb]} now.", status=DONE[verb])
        if verb not in does:
            raise invalid((FieldError("/do", "not_a_webhook_step"),))
        return does[verb](stored)
    except LoopwiseError as error:
        if error.status not in (409, 422) or verb not in ("url", "rotate", "delete"):
            raise
        if error.code == "webhook_changed":  # what is stored now is shown beside what was typed
            return _one(stored, changed=verb), error.status
        return _one(stored, errors=_mistakes(error, verb)), error.status


def _move(stored: StoredWebhook) -> ResponseReturnValue:
    url = request.form.get("url", "").strip()
    told = f"The webhook {stored.key} has another address now."
    return _changed(stored.key, told, url=url, version=posted_version())


def _rotate(stored: StoredWebhook) -> ResponseReturnValue:
    at = runtime()
    found, secret = hooks.rotate(at.engine, at.settings, stored.key, user().name, posted_version())
    return _one(found, secret=secret)


def _delete(stored: StoredWebhook) -> ResponseReturnValue:
    if request.form.get("confirm", "").strip() != stored.key:
        raise invalid((FieldError("/confirm", "not_confirmed", {"key": stored.key}),))
    hooks.delete(runtime().engine, stored.key, user().name)
    flash(f"The webhook {stored.key} is deleted; its deliveries stay in the log.")
    return redirect(url_for("admin.webhooks"))


def _changed(key: str, told: str, version: int | None = None, **given: str) -> ResponseReturnValue:
    at = runtime()
    patch = _checked(WebhookPatch, **given).model_copy(update={"version": version})
    hooks.change(at.engine, at.settings, key, patch, user().name)
    flash(told)
    return redirect(url_for("admin.webhook", key=key))


def _one(stored: StoredWebhook, *, errors: dict[str, str] | None = None, **values: str) -> str:
    return render_template(
        "webhook.html", section="deliveries", webhook=stored, typed=request.form, errors=errors or {}, **values
    )


def _checked(model: type[Spec], **given: str) -> Spec:
    try:
        return model.model_validate({name: value.replace("\0", "") for name, value in given.items()})
    except ValidationError as error:
        raise invalid(pydantic_fields(error)) from None


def _mistakes(error: LoopwiseError, verb: str = "key") -> dict[str, str]:
    return mistakes(error) or {"confirm" if verb == "delete" else verb: as_sentence(error.detail)}
