"""Values an arm in shadow: it has a share of 0, so it decides nothing, and the log says what it would have done.

The worker reads the newest settled decisions since the arm stands in shadow, and asks the arm's model, which has learned none of
them, for its distribution on each. Propensities are the platform's over all arms, as in every evaluation, so the value needs no
assumption beyond theirs (``app.off_policy.evaluation_table``).
"""

from datetime import datetime
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection

from app.design.experiment_config import ExperimentConfig
from app.foundation.settings import Settings
from app.learning.examples import Configs
from app.off_policy.documents import PolicyLine
from app.off_policy.log_table import build
from app.off_policy.policies import Policies, Target
from app.off_policy.predictions import predict
from app.off_policy.store import evaluations as store
from app.off_policy.valued import Sample, value
from app.registry.store.experiments import StoredExperiment
from bandits.policy import parse_policy

MOST = 20_000  # newest settled decisions that are scored
ALPHA = 0.05


class Shadow(NamedTuple):
    """What an arm in shadow would have done and earned."""

    decisions: int  # that it was scored on
    agreement: float | None  # mean probability that it gives the action that was shown
    same: float | None  # share of decisions whose action is the one that it likes best
    earned: float | None  # mean reward of what was shown
    line: PolicyLine | None  # its value, by IPS and DR; null: no decision


def shadow_of(
    connection: Connection,
    settings: Settings,
    experiment: StoredExperiment,
    arm: str,
    since: datetime,
    until: datetime | None = None,
) -> Shadow:
    """Score an arm on the newest settled decisions of a time in which it stood in the configuration without a share.

    It is scored with the version with which it decided last before, or began.
    """
    config = ExperimentConfig.model_validate(experiment.config)
    policies = Policies(connection, settings, experiment, config)
    rows = list(store.log_rows(connection, experiment.id, MOST, since, until))
    if not rows:
        return Shadow(0, None, None, None, None)
    last = store.last_version(connection, experiment.id, arm, since)
    table = build(
        rows,
        Configs(connection, experiment.id),
        lambda name, number: policies.version(name, number or last if name == arm else number),
    )
    (spec,) = (spec for spec in config.arms if spec.key == arm)
    early, late = table.split(0.0)
    bounds = config.reward.min, config.reward.max
    sample = Sample(late, predict(early, late, bounds), bounds, ALPHA)
    target = Target(arm, f"arm {arm} in shadow", "as_it_ran", parse_policy(spec.policy), arm=arm)
    scored = target.may_score(late)
    chances = late.arms[arm]
    shown = chances[np.arange(len(late)), late.chosen]
    best = chances.max(axis=1)
    count = int(scored.sum())
    if not count:
        return Shadow(0, None, None, None, None)
    return Shadow(
        count,
        float(shown[scored].mean()),
        float((shown[scored] >= best[scored]).mean()),
        float(late.reward[scored].mean()),
        value(sample, target, lambda _: None).line,
    )
