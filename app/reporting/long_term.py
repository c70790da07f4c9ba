"""The long-term view: do people come back, do they go on earning, and does the early reward tell it?

Steps are weeks once the experiment is old enough, else days, else hours. The worker computes it now and then.
"""

import time
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Engine
from statsmodels.stats.proportion import proportion_confint

from app.design.experiment_config import ExperimentConfig
from app.foundation.formats.intervals import IntervalDocument, document_of
from app.foundation.isolation import each_due
from app.foundation.store import latest
from app.foundation.store.engine import transaction
from app.registry.lookup import stored_experiment
from app.registry.store.experiments import StoredExperiment
from app.reporting.ageing import effects
from app.reporting.documents.long_term import (
    LongTerm,
    LongTermArm,
    LongTermStep,
    StoredLongTerm,
    SurrogateArm,
    SurrogateCheck,
)
from app.reporting.results import SMALL, prepared
from app.reporting.store import long_term as store
from app.reporting.store import results
from app.reporting.store.long_term import Step
from experiments.logs.surrogate import PairSums, correlation_of_arms, surrogate

KIND = "long_term"
EVERY_S = 900.0
FACTOR = 100.0  # computing takes at most 1 / FACTOR of a worker's time
STEPS_S = (7 * 86_400.0, 86_400.0, 3_600.0)
MIN_STEPS = 3  # of an experiment's age, for a step to be long enough to use
MOST_STEPS = 26
MOST_EFFECTS = 12  # steps of the curves against the control
ASSUMPTIONS = (
    "A unit counts in a step once it was followed through all of it, so that later steps rest on older units.",
    "A unit that was seen in two arms is in no curve. Curves describe; the verdict comes from the metrics that decide.",
    "Effects by step, cohort and window compare arms as results do: within stretches of constant shares, here also within "
    "cohorts, over units that were followed for the whole time. Intervals hold at every look together; those for one look stand "
    "in the tables.",
    "Novelty, wear-out and growth compare a unit with itself in later steps, so they cannot come from a shift between cohorts. "
    "The three changes of an arm are judged together. A trend of the calendar moves both alike and is called neither.",
    "A session is a run of a unit's events with gaps of at most half an hour, in the seven days from its first exposure; its "
    "length is the time from its first to its last event.",
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
        return _with_ageing(connection, experiment, _computed(connection, experiment, results.clock(connection)))


def served(engine: Engine, key: str) -> LongTerm:
    """The view of an experiment, computed now; of a long log the newest that the worker computed.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        small = results.settled(connection, stored_experiment(connection, key).id) <= SMALL
    view = None if small else stored(engine, key)
    return get(engine, key) if view is None else LongTerm.model_validate(view.model_dump(exclude={"computed_at"}))


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


def _with_ageing(connection: Connection, experiment: StoredExperiment, view: LongTerm) -> LongTerm:
    """Add each arm against the control by step, cohort and window, and what becomes of its effect."""
    config = ExperimentConfig.model_validate(experiment.config)
    computation = prepared(connection, experiment, config, None, keep=False)
    began = computation.seen.window.first
    if began is None or not view.arms or len(config.arms) < 2:
        return view
    last = max((step.step for arm in view.arms for step in arm.steps), default=0)
    steps = effects.Steps(view.step_s, min(last, MOST_EFFECTS), _followed(view), began)
    return view.model_copy(
        update={
            "curves": effects.curves(computation, steps),
            "changes": effects.changes(computation, steps),
            "began_at": began,
            "gap_s": effects.GAP_S,
        }
    )


def _followed(view: LongTerm) -> int:
    """The last step through which at least two thirds of the units were followed."""
    followed: dict[int, int] = {}
    for arm in view.arms:
        for step in arm.steps:
            followed[step.step] = followed.get(step.step, 0) + step.followed
    first = followed.get(0, 0)
    return max((step for step, units in followed.items() if 3 * units >= 2 * first), default=0)


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
    over_arms, over_arms_interval = correlation_of_arms(
        [arm.mean_early for arm in arms], [arm.mean_late for arm in arms]
    )
    checked = surrogate([PairSums(arm.units, arm.var_early, arm.var_late, arm.covariance) for arm in arms])
    return SurrogateCheck(
        last=last,
        units=checked.units,
        correlation=checked.correlation,
        interval=document_of(checked.interval),
        arms=[SurrogateArm(arm=arm.arm, units=arm.units, early=arm.mean_early, late=arm.mean_late) for arm in arms],
        over_arms=over_arms,
        over_arms_interval=document_of(over_arms_interval),
    )
