"""Webhooks and deliveries: what administrators' tools call."""

from flask import Response

from app.accounts.api.auth import caller, needs
from app.design.api.experiments import KeyPath, Page
from app.foundation.api.respond import as_json, next_page
from app.foundation.serving import process
from app.messaging.api.answers import (
    Deleted,
    DeliveriesQuery,
    DeliveryAnswer,
    DeliveryListAnswer,
    DeliveryPath,
    WebhookAnswer,
    WebhookListAnswer,
    WebhookSecretAnswer,
)
from app.messaging.api.triggers import blueprint
from app.messaging.delivery import log as deliveries
from app.messaging.delivery import webhooks
from app.messaging.delivery.webhooks import WebhookPatch, WebhookSpec
from app.people.people import check_unbound

__all__ = ["blueprint"]  # of triggers; these routes are added to its own


@blueprint.post("/webhooks", responses={201: WebhookSecretAnswer})
@needs("manage")
def create_webhook(body: WebhookSpec) -> Response:
    """Store an address. The secret that signatures are made with is in this answer only."""
    check_unbound(caller())
    made, secret = webhooks.create(process().engine, process().settings, body, caller().key_id)
    return as_json(webhooks.as_json(made) | {"secret": secret}, 201)


@blueprint.get("/webhooks", responses={200: WebhookListAnswer})
@needs("read")
def newest_webhooks(query: Page) -> Response:
    """Webhooks, newest first."""
    check_unbound(caller())
    found = webhooks.newest(process().engine, after_id=query.after, limit=query.limit)
    return as_json({"webhooks": [webhooks.as_json(one) for one in found], "next": next_page(found, query.limit)})


@blueprint.get("/webhooks/<key>", responses={200: WebhookAnswer})
@needs("read")
def get_webhook(path: KeyPath) -> Response:
    """One webhook."""
    check_unbound(caller())
    return as_json(webhooks.as_json(webhooks.get(process().engine, path.key)))


@blueprint.patch("/webhooks/<key>", responses={200: WebhookAnswer})
@needs("manage")
def change_webhook(path: KeyPath, body: WebhookPatch) -> Response:
    """Another address, or pause it, or let it run again."""
    check_unbound(caller())
    changed = webhooks.change(process().engine, process().settings, path.key, body, caller().key_id)
    return as_json(webhooks.as_json(changed))


@blueprint.delete("/webhooks/<key>", responses={200: Deleted})
@needs("manage")
def delete_webhook(path: KeyPath) -> Response:
    """Forget a webhook that no trigger delivers to; its deliveries that wait fail."""
    check_unbound(caller())
    webhooks.delete(process().engine, path.key, caller().key_id)
    return as_json({"key": path.key, "deleted": True})


@blueprint.post("/webhooks/<key>/rotate", responses={200: WebhookSecretAnswer})
@needs("manage")
def rotate(path: KeyPath) -> Response:
    """A new secret, in this answer only; everything from now on is signed with it."""
    check_unbound(caller())
    made, secret = webhooks.rotate(process().engine, process().settings, path.key, caller().key_id)
    return as_json(webhooks.as_json(made) | {"secret": secret})


@blueprint.get("/deliveries", responses={200: DeliveryListAnswer})
@needs("read")
def newest_deliveries(query: DeliveriesQuery) -> Response:
    """Deliveries with every attempt, newest first."""
    check_unbound(caller())
    found = deliveries.newest(
        process().engine, webhook=query.webhook, status=query.status, after_id=query.after_id, limit=query.limit
    )
    following = str(found[-1]["id"]) if len(found) == query.limit else None
    return as_json({"deliveries": found, "next": following})


@blueprint.post("/deliveries/<int:delivery_id>/replay", responses={200: DeliveryAnswer})
@needs("manage")
def replay(path: DeliveryPath) -> Response:
    """Send a delivery again, as if it were new."""
    check_unbound(caller())
    return as_json(deliveries.replay(process().engine, path.delivery_id, caller().key_id))
