"""What a formula of the reward would have given, over the newest settled decisions of the log. Nothing is changed."""

import math
from typing import NamedTuple

import numpy as np
from pydantic import Field
from sqlalchemy import Engine

from app.design.store import feedback_schemas
from app.foundation.errors import FieldError
from app.foundation.fields import Document, Model, invalid
from app.foundation.store.engine import transaction
from app.learning.examples import Configs, metric_sums, outcome_of
from app.learning.store import rebuilds
from app.learning.store.training import Due
from app.registry.lookup import stored_experiment
from bandits.formula import REWARD, FormulaError, parse

MOST = 2000  # decisions, the newest
EDGES = (0.05, 0.5, 0.95)


class PreviewRequest(Model):
    """A formula that is not in force."""

    text: str = Field(max_length=500, description="As the text of reward_formula.")


class PreviewArm(Document):
    """The mean reward of an arm's decisions, as it is and as it would be."""

    arm: str
    decisions: int
    now: float
    then: float


class PreviewName(Document):
    """A metric of the formula."""

    name: str
    decisions: int  # of the previewed ones, for which it was reported in time
    mean: float  # sum per decision


class Preview(Document):
    """A formula over the newest settled decisions."""

    decisions: int
    arms: list[PreviewArm]
    names: list[PreviewName]
    changed: float | None  # share of decisions whose reward differs; null: there are none
    cut: float | None  # share whose value lies outside the reward's bounds, and is cut
    quantiles: list[float]  # of the reward by the formula: 5%, 50%, 95%; empty: there are none


class _Row(NamedTuple):
    arm: str
    now: float
    then: float
    cut: bool
    sums: dict[str, list[float]]


def preview(engine: Engine, key: str, text: str) -> Preview:
    """Join the newest settled decisions again under a formula.

    :raises NotFound: no such experiment.
    :raises Unprocessable: the text is no formula.
    """
    try:
        names = parse(text).names
    except FormulaError as error:
        raise invalid((FieldError("/text", error.code, {"position": error.position}),)) from None
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        configs = Configs(connection, experiment.id)
        standing = configs.feedback(feedback_schemas.applied_version(connection, experiment.id))
        schema = standing | {"formula": {"text": text}}
        newest = rebuilds.newest_outcomes(connection, experiment.id, MOST)
        rows = [_row(configs, schema, arm, reward, due, names) for arm, reward, due in newest]
    arms = list(dict.fromkeys(row.arm for row in rows))
    return Preview(
        decisions=len(rows),
        arms=[_arm(arm, [row for row in rows if row.arm == arm]) for arm in sorted(arms)],
        names=[_name(name, rows) for name in names if name != REWARD],
        changed=sum(row.now != row.then for row in rows) / len(rows) if rows else None,
        cut=sum(row.cut for row in rows) / len(rows) if rows else None,
        quantiles=[float(value) for value in np.quantile([row.then for row in rows], EDGES)] if rows else [],
    )


def _row(
    configs: Configs, schema: dict[str, object], arm: str, reward: float, due: Due, names: tuple[str, ...]
) -> _Row:
    spec = configs.get(due.config_version).reward
    wide = spec.model_copy(update={"min": -math.inf, "max": math.inf})
    whole = outcome_of(due, wide, schema).reward
    return _Row(
        arm,
        reward,
        outcome_of(due, spec, schema).reward,
        not spec.min <= whole <= spec.max,
        metric_sums(due, names),
    )


def _arm(arm: str, rows: list[_Row]) -> PreviewArm:
    now, then = (math.fsum(values) / len(rows) for values in ([row.now for row in rows], [row.then for row in rows]))
    return PreviewArm(arm=arm, decisions=len(rows), now=now, then=then)


def _name(name: str, rows: list[_Row]) -> PreviewName:
    reported = [row.sums[name] for row in rows if row.sums[name]]
    mean = math.fsum(math.fsum(values) for values in reported) / len(rows) if rows else 0.0
    return PreviewName(name=name, decisions=len(reported), mean=mean)
