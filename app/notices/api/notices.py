"""The routes of notices and their receivers."""

from flask import Response
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from app.accounts.api.auth import caller, needs
from app.accounts.keys import check_unbound
from app.design.api.experiments import KeyPath
from app.foundation.api.problem_schema import PROBLEMS
from app.foundation.api.respond import as_json
from app.foundation.serving import process
from app.notices import log, receivers
from app.notices.receivers import ReceiverPatch, ReceiverSpec

blueprint = APIBlueprint(
    "notices",
    __name__,
    url_prefix="/v1/notices",
    abp_security=[{"key": []}],
    abp_tags=[Tag(name="notices", description="What people should know, and who wants to know it.")],
    abp_responses=PROBLEMS,
)


class NoticesQuery(BaseModel):
    experiment: str | None = None
    topic: str | None = None
    after_id: int | None = Field(default=None, ge=0, lt=2**63, description="The `next` of the page before.")
    limit: int = Field(default=50, ge=1, le=200)


class NoticeMessage(BaseModel):
    receiver: str | None = Field(description="Its key; null: it was deleted.")
    state: str = Field(description="opened, recovered or test.")
    status: str = Field(description="waiting, delivered or failed.")
    attempts: int
    error: str | None = Field(description="Of the last attempt.")
    created_at: str
    finished_at: str | None


class NoticeAnswer(BaseModel):
    id: int
    experiment: str | None = Field(description="Its key; null: of the whole platform.")
    topic: str
    text: str
    began_at: str
    ended_at: str | None
    messages: list[NoticeMessage]


class NoticeListAnswer(BaseModel):
    notices: list[NoticeAnswer]
    next: str | None


class ReceiverAnswer(ReceiverSpec):
    created_by: str
    created_at: str


class ReceiverListAnswer(BaseModel):
    receivers: list[ReceiverAnswer]


class DeletedReceiver(BaseModel):
    key: str
    deleted: bool


class TestAnswer(BaseModel):
    key: str
    notice_id: int = Field(description="`GET /v1/notices?topic=test` shows what became of it.")


@blueprint.get("", responses={200: NoticeListAnswer})
@needs("read")
def newest(query: NoticesQuery) -> Response:
    """List notices with their messages, newest first."""
    check_unbound(caller())
    entries = log.newest(process().engine, **query.model_dump())
    following = str(entries[-1].notice.id) if len(entries) == query.limit else None
    return as_json({"notices": [log.as_json(entry) for entry in entries], "next": following})


@blueprint.get("/receivers", responses={200: ReceiverListAnswer})
@needs("read")
def every_receiver() -> Response:
    """List the receivers of notices by key."""
    check_unbound(caller())
    return as_json({"receivers": [receivers.as_json(row) for row in receivers.every(process().engine)]})


@blueprint.post("/receivers", responses={201: ReceiverAnswer})
@needs("manage")
def create_receiver(body: ReceiverSpec) -> Response:
    """Let somebody get notices, over a webhook or by e-mail."""
    check_unbound(caller())
    made = receivers.create(process().engine, process().settings, body, caller().key_id)
    return as_json(receivers.as_json(made), 201)


@blueprint.get("/receivers/<key>", responses={200: ReceiverAnswer})
@needs("read")
def get_receiver(path: KeyPath) -> Response:
    """Show a receiver."""
    check_unbound(caller())
    return as_json(receivers.as_json(receivers.get(process().engine, path.key)))


@blueprint.patch("/receivers/<key>", responses={200: ReceiverAnswer})
@needs("manage")
def change_receiver(path: KeyPath, body: ReceiverPatch) -> Response:
    """Change a receiver; fields that are left out stay as they are."""
    check_unbound(caller())
    changed = receivers.change(process().engine, process().settings, path.key, body, caller().key_id)
    return as_json(receivers.as_json(changed))


@blueprint.delete("/receivers/<key>", responses={200: DeletedReceiver})
@needs("manage")
def delete_receiver(path: KeyPath) -> Response:
    """Delete a receiver; what waits for it has failed."""
    check_unbound(caller())
    receivers.delete(process().engine, path.key, caller().key_id)
    return as_json({"key": path.key, "deleted": True})


@blueprint.post("/receivers/<key>/test", responses={200: TestAnswer})
@needs("manage")
def test_receiver(path: KeyPath) -> Response:
    """Send a test, also in quiet hours."""
    check_unbound(caller())
    return as_json({"key": path.key, "notice_id": receivers.test(process().engine, path.key, caller().key_id)})
