"""The routes about all experiments together: the global holdout, and what shipped experiments did against it."""

from flask import Response
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from app.accounts.api.auth import caller, needs
from app.accounts.keys import check_unbound
from app.foundation.api.problem_schema import PROBLEMS
from app.foundation.api.respond import as_json
from app.foundation.serving import process
from app.impact import holdout, kpis, learnings
from app.impact.documents import HoldoutEffect, HoldoutStanding
from app.impact.holdout import Measured
from app.impact.kpis import Kpis
from app.impact.learnings import Learnings
from app.registry import holdout as setting
from app.registry.holdout import HoldoutRequest

blueprint = APIBlueprint(
    "impact",
    __name__,
    url_prefix="/v1",
    abp_security=[{"key": []}],
    abp_tags=[Tag(name="impact", description="All experiments together.")],
    abp_responses=PROBLEMS,
)


@blueprint.get("/holdout", responses={200: HoldoutStanding})
@needs("read")
def read_holdout() -> Response:
    """The share of units that no experiment touches, and its history."""
    check_unbound(caller())
    return as_json(holdout.answer(setting.standing(process().engine)))


@blueprint.put("/holdout", responses={200: HoldoutStanding})
@needs("manage")
def change_holdout(body: HoldoutRequest) -> Response:
    """Set that share. The same units stay in it when it grows; every decision that is stored afterwards obeys it."""
    check_unbound(caller())
    return as_json(holdout.answer(setting.change(process().engine, process().settings, body, caller().key_id)))


@blueprint.get("/holdout/effect", responses={200: HoldoutEffect})
@needs("read")
def read_effect(query: Measured) -> Response:
    """What all shipped experiments did together, against the units of the holdout, with intervals."""
    check_unbound(caller())
    return as_json(holdout.effect(process().engine, query))


class LearningsQuery(BaseModel):
    search: str = Field(default="", max_length=500, description="Words; each has to occur.")
    experiment: str | None = Field(default=None, max_length=100, description="Key of one experiment.")


@blueprint.get("/learnings", responses={200: Learnings})
@needs("read")
def read_learnings(query: LearningsQuery) -> Response:
    """What was decided about experiments, why, by whom, newest first."""
    check_unbound(caller())
    return as_json(learnings.find(process().engine, query.search, query.experiment))


@blueprint.get("/kpis", responses={200: Kpis})
@needs("read")
def read_kpis() -> Response:
    """Figures of all experiments together by day, week and cohort, as the worker computed them last."""
    check_unbound(caller())
    return as_json(kpis.stored(process().engine))
