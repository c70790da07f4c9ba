"""Messages on their way: the log of deliveries with every attempt, and the webhooks that they go to."""

from collections.abc import Callable
from typing import TypeVar

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts.pages.access import page, user
from app.deciding.serving import runtime
from app.foundation.errors import FieldError, LoopwiseError, NotFound
from app.foundation.fields import Model, invalid, read
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
    rows = service.newest(runtime().engine, **wanted, after_id=whole_number(text), limit=PAGE + 1)
    return render_template(
        "deliveries.html",
        section="deliveries",
        lines=rows[:PAGE],
        older=rows[PAGE - 1]["id"] if len(rows) > PAGE else None,
        first_page=whole_number(text) is None,
        given=given,
        webhooks=[webhook.key for webhook in hooks.newest(runtime().engine)],
        statuses=service.STATUSES,
        states=STATES,
    )


@page("/deliveries/<number>/replay", "editor", ("POST",))
def replay_delivery(number: str) -> ResponseReturnValue:
    """Send a delivery again."""
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
    created, secret, status = None, "", 200
    if request.method == "POST":
        try:
            spec = _checked(WebhookSpec, key=form.get("key", "").strip(), url=form.get("url", "").strip())
            created, secret = hooks.create(at.engine, at.settings, spec, user().name)
        except LoopwiseError as error:
            errors, status = _errors(error), error.status
    rows = hooks.newest(at.engine)
    typed = {} if created else form
    values = {"webhooks": rows, "made": created, "secret": secret, "typed": typed, "errors": errors}
    return render_template("webhooks.html", section="deliveries", **values), status


@page("/webhooks/<key>", "admin", ("GET", "POST"))
def webhook(key: str) -> ResponseReturnValue:
    """Show a webhook; change its address, pause it, replace its secret or delete it."""
    stored = hooks.get(runtime().engine, key)
    if request.method == "GET":
        return _page(stored)
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
        if error.code == "webhook_changed":  # the page shows the stored values beside the typed ones
            return _page(stored, changed=verb), error.status
        return _page(stored, errors=_errors(error, verb)), error.status


def _move(stored: StoredWebhook) -> ResponseReturnValue:
    url = request.form.get("url", "").strip()
    notice = f"The webhook {stored.key} has another address now."
    return _changed(stored.key, notice, url=url, version=posted_version())


def _rotate(stored: StoredWebhook) -> ResponseReturnValue:
    at = runtime()
    rotated, secret = hooks.rotate(at.engine, at.settings, stored.key, user().name, posted_version())
    return _page(rotated, secret=secret)


def _delete(stored: StoredWebhook) -> ResponseReturnValue:
    if request.form.get("confirm", "").strip() != stored.key:
        raise invalid((FieldError("/confirm", "not_confirmed", {"key": stored.key}),))
    hooks.delete(runtime().engine, stored.key, user().name)
    flash(f"The webhook {stored.key} is deleted; its deliveries stay in the log.")
    return redirect(url_for("admin.webhooks"))


def _changed(key: str, notice: str, version: int | None = None, **given: str) -> ResponseReturnValue:
    at = runtime()
    patch = _checked(WebhookPatch, **given).model_copy(update={"version": version})
    hooks.change(at.engine, at.settings, key, patch, user().name)
    flash(notice)
    return redirect(url_for("admin.webhook", key=key))


def _page(stored: StoredWebhook, *, errors: dict[str, str] | None = None, **values: str) -> str:
    return render_template(
        "webhook.html", section="deliveries", webhook=stored, typed=request.form, errors=errors or {}, **values
    )


def _checked(model: type[Spec], **given: str) -> Spec:
    return read(model, {name: value.replace("\0", "") for name, value in given.items()})


def _errors(error: LoopwiseError, verb: str = "key") -> dict[str, str]:
    return mistakes(error) or {"confirm" if verb == "delete" else verb: as_sentence(error.detail)}
