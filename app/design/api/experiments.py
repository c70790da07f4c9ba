"""Experiments and their models: what product managers' tools and administrators call."""

from flask import Response, request
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from app.accounts.api.auth import caller, needs
from app.content.composition_config import CompositionSpec
from app.content.message_config import VariableSpec
from app.design import experiments
from app.design.api import answers
from app.design.context.schema import SchemaField
from app.design.experiment_config import ArmSpec, ExperimentConfig, ListSpec, RewardFormula, RewardSpec, VariantSpec
from app.design.feedback_config import FeedbackSpec
from app.design.life import approvals, archiving, labels
from app.design.metric_config import DecisionRule, MetricSpec
from app.design.people_config import ConsentSpec, ContextField, FatigueSpec, ProfileSpec, RepeatsSpec
from app.design.safety_config import SafetySpec
from app.foundation.api.problem_schema import PROBLEMS
from app.foundation.api.respond import as_json
from app.foundation.errors import Forbidden
from app.foundation.fields import Model, read
from app.foundation.serving import process
from app.registry import versions as models
from app.registry.store.experiments import StoredExperiment

blueprint = APIBlueprint(
    "experiments",
    __name__,
    url_prefix="/v1/experiments",
    abp_security=[{"key": []}],
    abp_tags=[Tag(name="experiments", description="Definitions.")],
    abp_responses=PROBLEMS,
)


class KeyPath(BaseModel):
    key: str


class Page(BaseModel):
    limit: int = Field(default=100, ge=1, le=1000)
    after: int | None = Field(default=None, ge=0, lt=2**63, description="The `next` of the previous page.")


class Patch(Model):
    """The top-level fields to replace; fields that are left out stay as they are."""

    key: str | None = None
    name: str | None = None
    hypothesis: str | None = None
    actions: list[VariantSpec] | None = None
    variables: list[VariableSpec] | None = None
    composition: CompositionSpec | None = None
    lists: ListSpec | None = None
    arms: list[ArmSpec] | None = None
    control_arm: str | None = None
    reward: RewardSpec | None = None
    reward_formula: RewardFormula | None = None
    metrics: list[MetricSpec] | None = None
    segments: list[str] | None = None
    decision_rule: DecisionRule | None = None
    feedback: FeedbackSpec | None = None
    fatigue: FatigueSpec | None = None
    consent: ConsentSpec | None = None
    profile: ProfileSpec | None = None
    context_schema: list[SchemaField] | None = None
    context_fields: list[ContextField] | None = None
    retention_s: float | None = None
    version: int | None = Field(
        default=None, ge=0, lt=2**31, description="The `config_version` that this change began from; or send If-Match."
    )
    safety: SafetySpec | None = None
    repeats: RepeatsSpec | None = None


class Pause(Model):
    reason: str | None = Field(default=None, max_length=10_000, description="It is kept in the history.")


class Rollback(Model):
    arm: str
    version: int = Field(ge=0, lt=2**31)
    reason: str = Field(max_length=10_000)


def bound_key(key: str) -> str:
    """A key that is bound to one experiment sees only that experiment, and does not learn which others there are."""
    bound = caller().experiment_id
    if bound is not None and experiments.key_of(process().engine, bound) != key:
        caller().check_bound(None)
    return key


@blueprint.post("", responses={201: answers.ExperimentAnswer})
@needs("manage")
def create(body: ExperimentConfig) -> Response:
    """Define an experiment; it is a draft until it is started."""
    if caller().experiment_id is not None:
        raise Forbidden("wrong_experiment", "This API key is bound to one experiment and cannot create another.")
    made = experiments.create(process().engine, process().settings, body.model_dump(mode="json"), caller().key_id)
    process().refresh()
    return _answered(made, 201)


@blueprint.get("", responses={200: answers.ExperimentListAnswer})
@needs("read")
def newest(query: Page) -> Response:
    """Experiments, newest first."""
    page = experiments.newest(process().engine, after_id=query.after, limit=query.limit)
    bound = caller().experiment_id
    shown = [item for item in page if bound in (None, item.id)]
    following = str(page[-1].id) if len(page) == query.limit else None
    return as_json({"experiments": [experiments.as_json(item) for item in shown], "next": following})


@blueprint.get("/<key>", responses={200: answers.ExperimentAnswer})
@needs("read")
def get(path: KeyPath) -> Response:
    """One experiment."""
    return _answered(experiments.get(process().engine, bound_key(path.key)))


@blueprint.patch("/<key>", responses={200: answers.ExperimentAnswer})
@needs("manage")
def change(path: KeyPath, body: Patch) -> Response:
    """Replace top-level fields. Once the experiment has run, reward, control and the policies of arms are fixed.

    With `version`, or with `If-Match` and the ETag of an answer, nothing is changed if somebody else was faster (409).
    """
    patch = body.model_dump(mode="json", exclude_unset=True, exclude={"version"})
    key, began_from = bound_key(path.key), _began_from(body.version)
    if experiments.get(process().engine, key).started_at is not None:
        approvals.refuse_alone(process().settings)
    changed = experiments.change(
        process().engine, process().settings, key, patch, caller().key_id, expected_version=began_from
    )
    process().refresh()
    return _answered(changed)


def _began_from(version: int | None) -> int | None:
    """The version of the body, or else of the header; null: the caller does not mind."""
    sent = request.if_match
    if version is not None or sent.star_tag or not sent:
        return version
    tags = sent.as_set()
    tag = tags.pop() if len(tags) == 1 else ""
    return int(tag) if tag.isascii() and tag.isdecimal() and len(tag) < 10 else -1


def _answered(experiment: StoredExperiment, status: int = 200) -> Response:
    response = as_json(experiments.as_json(experiment), status)
    response.set_etag(str(experiment.config_version))
    return response


@blueprint.post("/<key>/start", responses={200: answers.ExperimentAnswer})
@needs("manage")
def start(path: KeyPath) -> Response:
    """Start the experiment: it decides from now on."""
    return _moved(path.key, "start")


@blueprint.post("/<key>/pause", responses={200: answers.ExperimentAnswer})
@needs("manage")
def pause(path: KeyPath) -> Response:
    """Stop deciding for now; rewards of earlier decisions are still taken. The body is optional, and says why."""
    given = read(Pause, request.get_json()) if request.get_data() else Pause()
    return _moved(path.key, "pause", given.reason)


@blueprint.post("/<key>/archive", responses={200: answers.ExperimentAnswer})
@needs("manage")
def archive(path: KeyPath) -> Response:
    """Let the lists of the pages leave the experiment out. Starting it shows it again. A running one is refused (409)."""
    return _answered(archiving.archive(process().engine, bound_key(path.key), caller().key_id))


@blueprint.post("/<key>/restore", responses={200: answers.ExperimentAnswer})
@needs("manage")
def restore(path: KeyPath) -> Response:
    """Take the experiment out of the archive."""
    return _answered(archiving.restore(process().engine, bound_key(path.key), caller().key_id))


@blueprint.put("/<key>/labels", responses={200: answers.ExperimentAnswer})
@needs("manage")
def label(path: KeyPath, body: labels.Labels) -> Response:
    """Replace the tags or the owner. They change no decision, so this works in every status."""
    return _answered(labels.label(process().engine, bound_key(path.key), body, caller().key_id))


@blueprint.delete("/<key>", responses={200: answers.DeletedAnswer})
@needs("manage")
def delete(path: KeyPath) -> Response:
    """Delete a draft that was never started; its key is free again. Any other experiment is refused (409)."""
    archiving.delete_draft(process().engine, bound_key(path.key), caller().key_id)
    process().refresh()
    return as_json({"key": path.key, "deleted": True})


def _moved(key: str, verb: str, reason: str | None = None) -> Response:
    if verb == "start":
        bound_key(key)  # a key of another experiment gets its own answer
        approvals.refuse_alone(process().settings)
    moved = experiments.move(process().engine, bound_key(key), verb, caller().key_id, reason)
    process().refresh()
    return _answered(moved)


@blueprint.get("/<key>/policy", responses={200: answers.PolicyAnswer})
@needs("read")
def policy(path: KeyPath) -> Response:
    """The model versions of each learning arm, with parents, counts and hashes, and which serves."""
    return as_json(models.describe(process().engine, bound_key(path.key)))


@blueprint.post("/<key>/policy/rollback", responses={200: answers.RollbackAnswer})
@needs("manage")
def rollback(path: KeyPath, body: Rollback) -> Response:
    """Put an earlier model version into service; learning goes on from it."""
    key = bound_key(path.key)
    done = models.rollback(process().engine, key, body.arm, body.version, body.reason, caller().key_id)
    process().refresh()
    return as_json(done)
