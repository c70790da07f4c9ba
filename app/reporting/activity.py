"""Computes what an experiment does now: decisions and reward rates by arm over time, the choices of each learning arm
now and at first, and whether it is learning. The worker computes this every few seconds and stores it; pages show its age.

Each point estimates the mean reward per decision of an arm's units in that stretch of time, over decisions whose reward
window closed. Its interval holds for one look and is clustered by unit.
"""

import math
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import accumulate
from typing import Literal, NamedTuple

import numpy as np
from scipy.stats import norm
from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.foundation.isolation import each_due
from app.foundation.store import latest
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.registry.lookup import stored_experiment
from app.registry.store.experiments import StoredExperiment
from app.reporting.documents.activity import (
    Activity,
    ArmActivity,
    ArmChoices,
    Chosen,
    Learning,
    Provisional,
    Rate,
    StoredActivity,
    Volume,
    Waiting,
)
from app.reporting.store import activity as store
from app.reporting.store.activity import Joining, OpenArm, Span, Stretch
from bandits.policy import BanditPolicy, parse_policy
from experiments.arms.comparison import ArmEstimate, arm_estimate
from experiments.sums import Moments

KIND = "activity"
EVERY_S = 4.0  # the least time between two computations
FACTOR = 20.0  # computing takes at most 1 / FACTOR of a worker's time
STRETCHES = 40  # equally long for counts of decisions; at most so many for reward rates
FEWEST_PARTS = 8  # with equally many decisions, for reward rates
CHOICES = 500  # decisions in each of the two runs that are compared
MOST_OPEN = 50_000  # decisions of an arm that are read, whose window is open
MIN_UNITS = 30  # in each of the two thirds, before we say whether an arm learns
MIN_SETTLED = 100  # decisions, before missing rewards are reported
LEVEL = 0.05


def span(engine: Engine, key: str) -> Span | None:
    """When the first and the last decision were made; null: none was. Raises NotFound for an unknown experiment."""
    with transaction(engine) as connection:
        return store.span(connection, stored_experiment(connection, key).id)


def get(engine: Engine, key: str) -> Activity | None:
    """The newest figures with their age; null when nothing was computed yet.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        latest_figures = latest.get(connection, stored_experiment(connection, key).id, KIND)
    if latest_figures is None:
        return None
    stored = StoredActivity.model_validate(latest_figures.body)
    return Activity(**stored.given(), computed_at=latest_figures.computed_at, age_s=latest_figures.age_s)


def compute_due(engine: Engine) -> list[str]:
    """Compute the activity of every experiment that is due; returns their keys."""
    return each_due(engine, KIND, lambda key: compute(engine, key), every_s=EVERY_S, factor=FACTOR, rewards=True)


def compute(engine: Engine, key: str) -> None:
    """Compute and store the figures of an experiment."""
    began = time.monotonic()
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        figures = _figures(connection, experiment)
        seconds = time.monotonic() - began
        latest.put(connection, experiment.id, KIND, figures.summary().as_json(), figures.as_json(), seconds)


class _Times(NamedTuple):
    """An experiment's decisions, counted in stretches of three kinds."""

    span: Span
    stretch_s: float  # length of each of the equally long stretches
    equal: list[Stretch]  # of equally long stretches
    parts: list[Stretch]  # of equally many settled decisions
    borders: list[datetime]  # of the parts, from the first decision to the last
    thirds: list[Stretch]  # of the settled decisions


def _times(connection: Connection, experiment_id: int, window_s: float) -> _Times | None:
    span = store.span(connection, experiment_id)
    if span is None:
        return None
    width_s = max((span.last - span.first).total_seconds() / STRETCHES, 1.0)
    edges = [span.first + timedelta(seconds=width_s * number) for number in range(1, STRETCHES)]
    thirds = store.parts(connection, experiment_id, [1 / 3, 2 / 3])
    equal, in_thirds = (
        store.stretches(connection, experiment_id, edges=borders, window_s=window_s) for borders in (edges, thirds)
    )
    count = parts_that_tell_apart(in_thirds)
    cuts = sorted(set(store.parts(connection, experiment_id, [n / count for n in range(1, count)])))
    parts = store.stretches(connection, experiment_id, edges=cuts, window_s=window_s)
    return _Times(span, width_s, equal, parts, [span.first, *cuts, span.last], in_thirds)


def parts_that_tell_apart(thirds: Sequence[Stretch]) -> int:
    """How many parts of equally many decisions a chart of reward rates has: as many as keep the arms' intervals apart.

    An interval of one of n parts is about sqrt(n / 3) times as wide as that of a third of the settled decisions. So we take the
    largest n at which two intervals are no wider than the distance of the best arm from the next.
    """
    rates: dict[str, list[ArmEstimate]] = {}
    for row in thirds:
        estimate = _estimate(row)
        if estimate is not None:
            rates.setdefault(row.arm, []).append(estimate)
    means = sorted(sum(estimate.value for estimate in given) / len(given) for given in rates.values())
    variances = [estimate.variance for given in rates.values() for estimate in given]
    if len(means) < 2 or not any(variances):
        return FEWEST_PARTS
    halves = 2 * float(norm.isf(LEVEL / 2))
    apart = 3 * (means[-1] - means[-2]) ** 2 / (halves**2 * sum(variances) / len(variances))
    return int(min(STRETCHES, max(FEWEST_PARTS, apart)))


def _figures(connection: Connection, experiment: StoredExperiment) -> StoredActivity:
    config = ExperimentConfig.model_validate(experiment.config)
    today = store.today(connection, experiment.id)
    times = _times(connection, experiment.id, config.reward.window_s)
    rows = times.equal if times else []
    learning = [arm.key for arm in config.arms if isinstance(parse_policy(arm.policy), BanditPolicy)]
    return StoredActivity(
        day=today.day,
        decisions_today=today.decisions,
        rewards_today=today.rewards,
        decisions=sum(row.decisions for row in rows),
        settled=sum(row.settled for row in rows),
        rewarded=sum(row.rewarded for row in rows),
        first=times.span.first.isoformat() if times else None,
        last=times.span.last.isoformat() if times else None,
        stretch_s=times.stretch_s if times else 0.0,
        arms=[_arm(arm.key, times, arm.key in learning) for arm in config.arms],
        choices=[_choices(connection, experiment.id, arm) for arm in learning],
        learning=[_learning(arm, config.control.key, times.thirds if times else []) for arm in learning],
        missing_rewards=_missing(rows),
        waiting=_waiting(connection, experiment.id, config),
    )


def _waiting(connection: Connection, experiment_id: int, config: ExperimentConfig) -> Waiting:
    """What the decisions with an open window have earned so far: as if every window closed now.

    It rises as rewards come in, and younger decisions had less time. So pages show it as provisional, and nothing tests it.
    """
    given, keys = config.reward, [arm.key for arm in config.arms]
    joining = Joining(given.aggregation, given.default, given.min, given.max)
    rows = {row.arm: row for row in store.open_arms(connection, experiment_id, keys, joining, most=MOST_OPEN)}
    first = [row.first_closes for row in rows.values() if row.first_closes]
    last = [row.last_closes for row in rows.values() if row.last_closes]
    return Waiting(
        arms=[_provisional(key, rows.get(key)) for key in keys],
        first_closes=iso(min(first)) if first else None,
        last_closes=iso(max(last)) if last else None,
    )


def _provisional(arm: str, row: OpenArm | None) -> Provisional:
    if row is None:
        return Provisional(arm=arm, open=0, units=0, rewarded=0, rate=None, limited=False)
    counts = {"open": row.open, "units": row.units, "rewarded": row.rewarded}
    return Provisional(arm=arm, **counts, rate=row.rate, limited=row.read >= MOST_OPEN)


def _arm(arm: str, times: _Times | None, learns: bool) -> ArmActivity:
    rows = [row for row in times.equal if row.arm == arm] if times else []
    return ArmActivity(
        arm=arm,
        decisions=sum(row.decisions for row in rows),
        settled=sum(row.settled for row in rows),
        reward=sum(row.mean_num * row.units for row in rows),
        points=[_volume(row, times) for row in rows] if times else [],
        rates=_rates(arm, times.parts, times.borders) if times else [],
        learns=learns,
    )


def _volume(row: Stretch, times: _Times) -> Volume:
    start = times.span.first.timestamp() + row.stretch * times.stretch_s
    return Volume(start=start, end=start + times.stretch_s, decisions=row.decisions, settled=row.settled)


def _rates(arm: str, parts: Sequence[Stretch], borders: Sequence[datetime]) -> list[Rate]:
    """Reward rates in stretches of equally many settled decisions: equally precise by day and night, and gaps take no room."""
    sizes = [0] * len(borders)
    for row in parts:
        sizes[row.stretch] += row.settled
    before = [0, *accumulate(sizes)]
    rates = []
    for row in (row for row in parts if row.arm == arm and row.settled):
        estimate = _estimate(row)
        half = float(norm.isf(LEVEL / 2)) * math.sqrt(estimate.variance) if estimate else 0.0
        rates.append(
            Rate(
                start=borders[row.stretch].timestamp(),
                end=borders[row.stretch + 1].timestamp(),
                so_far=before[row.stretch] + sizes[row.stretch] / 2,
                settled=row.settled,
                units=row.units,
                rate=estimate and estimate.value,
                low=estimate and estimate.value - half,
                high=estimate and estimate.value + half,
            )
        )
    return rates


def _estimate(row: Stretch) -> ArmEstimate | None:
    """Reward per settled decision with its squared standard error over units; null with fewer than two units."""
    if row.units < 2 or row.mean_den <= 0:
        return None
    second = np.array([[row.var_num, row.cov], [row.cov, row.var_den]]) * row.units
    return arm_estimate(Moments(row.units, np.array([row.mean_num, row.mean_den]), second))


def _choices(connection: Connection, experiment_id: int, arm: str) -> ArmChoices:
    """Compare what the arm chooses now with what it chose at first; the two runs of decisions do not overlap."""
    now = store.choices(connection, experiment_id, arm, newest=True, most=CHOICES)
    before = store.choices(connection, experiment_id, arm, newest=False, most=CHOICES)
    return ArmChoices(
        arm=arm,
        now=Chosen(**now._asdict()),
        before=Chosen(**before._asdict()) if now.decisions >= CHOICES else None,
    )


def _learning(arm: str, control: str, thirds: Sequence[Stretch]) -> Learning:
    """Is the arm better in the last third of the decisions than in the first, beyond the change of the control?

    We take thirds of the decisions, not of the time: an arm learns from decisions, and a night without any changes
    nothing. The control separates learning from better times: we report the change of the difference to the control, with
    a normal interval over units. Units in both thirds make the interval a little too wide or too narrow; it is a first
    look, not a verdict.
    """
    estimates = {(row.arm, row.stretch): _estimate(row) for row in thirds}
    first, last = estimates.get((arm, 0)), estimates.get((arm, 2))
    if first is None or last is None or min(first.n, last.n) < MIN_UNITS:
        return Learning(arm=arm, control=control, answer="too_early", first=None, last=None, change=None, interval=None)
    change, variance = last.value - first.value, first.variance + last.variance
    control_estimates = estimates.get((control, 0)), estimates.get((control, 2))
    described = partial(Learning, arm=arm, control=control, first=first.value, last=last.value)
    if control != arm and control_estimates[0] is not None and control_estimates[1] is not None:
        control_change = control_estimates[1].value - control_estimates[0].value
        change -= control_change
        variance += control_estimates[0].variance + control_estimates[1].variance
        described = partial(described, control_change=control_change)
    half = float(norm.isf(LEVEL / 2)) * math.sqrt(variance)
    answer: Literal["yes", "worse", "not_shown"]
    answer = "yes" if change - half > 0 else "worse" if change + half < 0 else "not_shown"
    return described(answer=answer, change=change, interval=(change - half, change + half))


def _missing(rows: list[Stretch]) -> str | None:
    """Say in words that rewards do not arrive, ever or for the newest settled decisions; null when they arrive."""
    settled, rewarded = sum(row.settled for row in rows), sum(row.rewarded for row in rows)
    if settled < MIN_SETTLED:
        return None
    if rewarded == 0:
        return f"none of {settled:,} settled decisions had a reward in time"
    newest = _newest(rows, MIN_SETTLED)
    count, with_reward = sum(row.settled for row in newest), sum(row.rewarded for row in newest)
    # If nothing had changed, this would happen less than once in a thousand times: (1 - share)^count.
    share = (rewarded - with_reward) / max(settled - count, 1)
    if with_reward == 0 and share > 0 and count * math.log1p(-min(share, 0.999)) < math.log(0.001):
        return f"none of the newest {count:,} settled decisions had a reward, {share:.0%} of the earlier ones had"
    return None


def _newest(rows: list[Stretch], least: int) -> list[Stretch]:
    """The newest stretches that hold at least ``least`` settled decisions together."""
    newest: list[Stretch] = []
    for stretch in sorted({row.stretch for row in rows if row.settled}, reverse=True):
        if sum(row.settled for row in newest) >= least:
            break
        newest += [row for row in rows if row.stretch == stretch]
    return newest
