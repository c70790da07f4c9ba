"""The long-term view: do people come back, do they go on earning, and does the early reward tell it?

Steps are weeks once the experiment is old enough, else days, else hours. The worker computes it now and then.
"""

import time
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Engine
from statsmodels.stats.proportion import proportion_confint

from app.foundation.formats.intervals import IntervalDocument, document_of
from app.foundation.isolation import each_due
from app.foundation.store import latest
from app.foundation.store.engine import transaction
from app.registry.lookup import stored_experiment
from app.registry.store.experiments import StoredExperiment
from app.reporting.documents.long_term import (
    LongTerm,
    LongTermArm,
    LongTermStep,
    StoredLongTerm,
    SurrogateArm,
    SurrogateCheck,
)
from app.reporting.store import long_term as store
from app.reporting.store import results
from app.reporting.store.long_term import Step
from experiments.logs.surrogate import PairSums, surrogate

KIND = "long_term"
EVERY_S = 900.0
FACTOR = 100.0  # computing takes at most 1 / FACTOR of a worker's time
STEPS_S = (7 * 86_400.0, 86_400.0, 3_600.0)
MIN_STEPS = 3  # of an experiment's age, for a step to be long enough to use
MOST_STEPS = 26
ASSUMPTIONS = (
    "A unit counts in a step once it was followed through all of it, so that later steps rest on older units.",
    "A unit that was seen in two arms is in no curve. Curves describe; the verdict comes from the metrics that decide.",
    "The correlation is over units within arms. That early and late values go together does not prove that an arm which moves "
    "the one moves the other: compare the arms' late values.",
)


def get(engine: Engine, key: str) -> LongTerm:
    """Compute the long-term view of an experiment.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        results.give_memory(connection)
        return _computed(connection, experiment, results.clock(connection))


def stored(engine: Engine, key: str) -> StoredLongTerm | None:
    """The newest view that the worker stored; null when it stored none yet.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        newest = latest.get(connection, stored_experiment(connection, key).id, KIND)
    if newest is None:
        return None
    return StoredLongTerm(**LongTerm.model_validate(newest.body).given(), computed_at=newest.computed_at)


def compute_due(engine: Engine) -> list[str]:
    """Compute and store the views that are due; returns the experiments' keys."""
    return each_due(engine, KIND, lambda key: compute(engine, key), every_s=EVERY_S, factor=FACTOR)


def compute(engine: Engine, key: str) -> None:
    """Compute and store the view of an experiment."""
    began = time.monotonic()
    view = get(engine, key)
    with transaction(engine) as connection:
        experiment_id = stored_experiment(connection, key).id
        latest.put(connection, experiment_id, KIND, {}, view.as_json(), time.monotonic() - began)


def _computed(connection: Connection, experiment: StoredExperiment, as_of: datetime) -> LongTerm:
    began = results.overview(connection, experiment.id).window.first
    age_s = 0.0 if began is None else (as_of - began).total_seconds()
    step_s = next((step for step in STEPS_S if age_s >= MIN_STEPS * step), STEPS_S[-1])
    last = min(int(age_s / step_s), MOST_STEPS) - 1
    rows = store.steps(connection, experiment.id, step_s, last, as_of) if last >= 0 else []
    return LongTerm(
        experiment=experiment.key,
        step_s=step_s,
        arms=[
            LongTermArm(arm=arm, steps=[_step(row) for row in rows if row.arm == arm])
            for arm in dict.fromkeys(row.arm for row in rows)
        ],
        surrogate=_surrogate(connection, experiment.id, step_s, rows, as_of),
        assumptions=list(ASSUMPTIONS),
    )


def _step(row: Step) -> LongTermStep:
    low, high = proportion_confint(row.seen, row.followed, method="wilson")
    return LongTermStep(
        step=row.step,
        followed=row.followed,
        seen=row.seen,
        share=row.seen / row.followed,
        share_interval=IntervalDocument(low=float(low), high=float(high)),
        reward=row.mean_reward,
        reward_error=(row.var_reward / max(row.followed - 1, 1)) ** 0.5,
    )


def _surrogate(
    connection: Connection, experiment_id: int, step_s: float, rows: Sequence[Step], as_of: datetime
) -> SurrogateCheck | None:
    """The check over as many steps as at least half of the units were followed."""
    first = sum(row.followed for row in rows if row.step == 0)
    followed: dict[int, int] = {}
    for row in rows:
        followed[row.step] = followed.get(row.step, 0) + row.followed
    last = max((step for step, units in followed.items() if 2 * units >= first), default=0)
    if last < MIN_STEPS - 1:
        return None
    arms = store.early_and_late(connection, experiment_id, step_s, last, as_of)
    checked = surrogate([PairSums(arm.units, arm.var_early, arm.var_late, arm.covariance) for arm in arms])
    return SurrogateCheck(
        last=last,
        units=checked.units,
        correlation=checked.correlation,
        interval=document_of(checked.interval),
        arms=[SurrogateArm(arm=arm.arm, units=arm.units, early=arm.mean_early, late=arm.mean_late) for arm in arms],
    )
