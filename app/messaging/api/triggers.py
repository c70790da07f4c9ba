"""The routes of triggers and their firings, for the tools of product managers."""

from flask import Response
from flask_openapi import APIBlueprint, Tag

from app.accounts.api.auth import caller, needs
from app.accounts.keys import check_unbound
from app.design.api.experiments import KeyPath, Page
from app.foundation.api.problem_schema import PROBLEMS
from app.foundation.api.respond import as_json, next_page, request_document
from app.foundation.serving import process
from app.messaging.api.answers import (
    Deleted,
    DryRunAnswer,
    FiringListAnswer,
    TriggerAnswer,
    TriggerListAnswer,
    TriggerPatch,
)
from app.messaging.triggers import dry_run
from app.messaging.triggers import lifecycle as triggers
from app.messaging.triggers.definition import TriggerConfig

blueprint = APIBlueprint(
    "triggers",
    __name__,
    url_prefix="/v1",
    abp_security=[{"key": []}],
    abp_tags=[Tag(name="triggers", description="When messages are sent, and where to.")],
    abp_responses=PROBLEMS,
)


@blueprint.post("/triggers", responses={201: TriggerAnswer})
@needs("manage")
def create(body: TriggerConfig) -> Response:  # noqa: ARG001 - the library checks it; the service gets the document as sent
    """Define a trigger. It is paused until you start it."""
    check_unbound(caller())
    trigger = triggers.create(process().engine, request_document(), caller().key_id)
    return as_json(triggers.as_json(trigger), 201)


@blueprint.get("/triggers", responses={200: TriggerListAnswer})
@needs("read")
def newest(query: Page) -> Response:
    """List triggers, newest first."""
    check_unbound(caller())
    rows = triggers.newest(process().engine, after_id=query.after, limit=query.limit)
    return as_json({"triggers": [triggers.as_json(row) for row in rows], "next": next_page(rows, query.limit)})


@blueprint.post("/triggers/dry-run", responses={200: DryRunAnswer})
@needs("read")
def dry_run_of_definition(body: TriggerConfig) -> Response:  # noqa: ARG001 - as above
    """Show which units this definition would have reached in the last seven days. Nothing is stored."""
    check_unbound(caller())
    return as_json(dry_run.dry_run(process().engine, request_document()))


@blueprint.get("/triggers/<key>", responses={200: TriggerAnswer})
@needs("read")
def get(path: KeyPath) -> Response:
    """Show a trigger."""
    check_unbound(caller())
    return as_json(triggers.as_json(triggers.get(process().engine, path.key)))


@blueprint.patch("/triggers/<key>", responses={200: TriggerAnswer})
@needs("manage")
def change(path: KeyPath, body: TriggerPatch) -> Response:
    """Replace top-level fields. Firings that wait keep the request that they were created with."""
    check_unbound(caller())
    patch = {name: value for name, value in request_document().items() if name != "version"}
    return as_json(triggers.as_json(triggers.change(process().engine, path.key, patch, caller().key_id, body.version)))


@blueprint.delete("/triggers/<key>", responses={200: Deleted})
@needs("manage")
def delete(path: KeyPath) -> Response:
    """Delete a trigger. Its waiting firings are skipped."""
    check_unbound(caller())
    triggers.delete(process().engine, path.key, caller().key_id)
    return as_json({"key": path.key, "deleted": True})


@blueprint.post("/triggers/<key>/start", responses={200: TriggerAnswer})
@needs("manage")
def start(path: KeyPath) -> Response:
    """Start a trigger. It fires for events that are matched from now on."""
    return _moved(path.key, "start")


@blueprint.post("/triggers/<key>/pause", responses={200: TriggerAnswer})
@needs("manage")
def pause(path: KeyPath) -> Response:
    """Pause a trigger. Firings that become due while it is paused are skipped."""
    return _moved(path.key, "pause")


@blueprint.post("/triggers/<key>/dry-run", responses={200: DryRunAnswer})
@needs("read")
def dry_run_of_trigger(path: KeyPath) -> Response:
    """Show which units the stored trigger would have reached in the last seven days."""
    check_unbound(caller())
    trigger = triggers.get(process().engine, path.key)
    return as_json(dry_run.dry_run(process().engine, trigger.definition))


@blueprint.get("/triggers/<key>/firings", responses={200: FiringListAnswer})
@needs("read")
def firings(path: KeyPath, query: Page) -> Response:
    """List the firings of a trigger with their decisions, newest first."""
    check_unbound(caller())
    rows = triggers.firings(process().engine, path.key, after_id=query.after, limit=query.limit)
    return as_json({"firings": [triggers.firing_as_json(row) for row in rows], "next": next_page(rows, query.limit)})


def _moved(key: str, verb: str) -> Response:
    check_unbound(caller())
    return as_json(triggers.as_json(triggers.move(process().engine, key, verb, caller().key_id)))
