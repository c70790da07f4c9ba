"""The routes of webhooks and deliveries, for the tools of administrators."""

from flask import Response

from app.accounts.api.auth import caller, needs
from app.accounts.keys import check_unbound
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

__all__ = ["blueprint"]  # the blueprint of triggers; this module adds its routes to it


@blueprint.post("/webhooks", responses={201: WebhookSecretAnswer})
@needs("manage")
def create_webhook(body: WebhookSpec) -> Response:
    """Store an address. Only this answer shows the secret that signs deliveries."""
    check_unbound(caller())
    webhook, secret = webhooks.create(process().engine, process().settings, body, caller().key_id)
    return as_json(webhooks.as_json(webhook) | {"secret": secret}, 201)


@blueprint.get("/webhooks", responses={200: WebhookListAnswer})
@needs("read")
def newest_webhooks(query: Page) -> Response:
    """List webhooks, newest first."""
    check_unbound(caller())
    rows = webhooks.newest(process().engine, after_id=query.after, limit=query.limit)
    return as_json({"webhooks": [webhooks.as_json(row) for row in rows], "next": next_page(rows, query.limit)})


@blueprint.get("/webhooks/<key>", responses={200: WebhookAnswer})
@needs("read")
def get_webhook(path: KeyPath) -> Response:
    """Show a webhook."""
    check_unbound(caller())
    return as_json(webhooks.as_json(webhooks.get(process().engine, path.key)))


@blueprint.patch("/webhooks/<key>", responses={200: WebhookAnswer})
@needs("manage")
def change_webhook(path: KeyPath, body: WebhookPatch) -> Response:
    """Change the address, pause the webhook, or let it run again."""
    check_unbound(caller())
    changed = webhooks.change(process().engine, process().settings, path.key, body, caller().key_id)
    return as_json(webhooks.as_json(changed))


@blueprint.delete("/webhooks/<key>", responses={200: Deleted})
@needs("manage")
def delete_webhook(path: KeyPath) -> Response:
    """Delete a webhook that no trigger delivers to. Its waiting deliveries fail."""
    check_unbound(caller())
    webhooks.delete(process().engine, path.key, caller().key_id)
    return as_json({"key": path.key, "deleted": True})


@blueprint.post("/webhooks/<key>/rotate", responses={200: WebhookSecretAnswer})
@needs("manage")
def rotate(path: KeyPath) -> Response:
    """Replace the secret, which signs every delivery from now on. Only this answer shows it."""
    check_unbound(caller())
    webhook, secret = webhooks.rotate(process().engine, process().settings, path.key, caller().key_id)
    return as_json(webhooks.as_json(webhook) | {"secret": secret})


@blueprint.get("/deliveries", responses={200: DeliveryListAnswer})
@needs("read")
def newest_deliveries(query: DeliveriesQuery) -> Response:
    """List deliveries with every attempt, newest first."""
    check_unbound(caller())
    documents = deliveries.newest(
        process().engine, webhook=query.webhook, status=query.status, after_id=query.after_id, limit=query.limit
    )
    following = str(documents[-1]["id"]) if len(documents) == query.limit else None
    return as_json({"deliveries": documents, "next": following})


@blueprint.post("/deliveries/<int:delivery_id>/replay", responses={200: DeliveryAnswer})
@needs("manage")
def replay(path: DeliveryPath) -> Response:
    """Send a delivery again, as if it were new."""
    check_unbound(caller())
    return as_json(deliveries.replay(process().engine, path.delivery_id, caller().key_id))
