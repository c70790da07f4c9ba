"""What an experiment does now: decisions and reward rates by arm over time, what a learning arm chooses now and chose
first, and whether it is learning. Computed by the worker every few seconds, kept, shown with its age.

The estimand of each point is the mean reward per decision of an arm's units in that stretch of time, of decisions whose
reward window closed. Its interval is a one-look interval, clustered by unit.
"""

import math
import time
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from scipy.stats import norm
from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.foundation.store import latest
from app.foundation.store.engine import transaction
from app.registry.lookup import stored_experiment
from app.registry.store.experiments import StoredExperiment
from app.reporting.result_lines import control_of
from app.reporting.store import activity as store
from app.reporting.store.activity import Stretch
from bandits.policy import BanditPolicy, parse_policy
from experiments.comparison import ArmEstimate, arm_estimate
from experiments.sums import Moments

KIND = "activity"
EVERY_S = 4.0  # at the least, between two computations
FACTOR = 20.0  # at most one part in so many of a worker's time
STRETCHES = 40  # of equal length for what was decided, of equally many decisions for what was earned
CHOICES = 500
MIN_UNITS = 30  # on each side, before it is said whether an arm learns
MIN_SETTLED = 100  # before missing rewards are told
LEVEL = 0.05


def get(engine: Engine, key: str) -> dict[str, Any] | None:
    """The newest figures with ``computed_at`` and ``age_s``; null when nothing was decided yet.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        found = latest.get(connection, stored_experiment(connection, key).id, KIND)
    if found is None:
        return None
    age_s = time.time() - found.computed_at.timestamp()
    return {**(found.body or {}), "computed_at": found.computed_at, "age_s": max(0.0, age_s)}


def compute_due(engine: Engine) -> list[str]:
    """Compute what is due; returns the experiments' keys."""
    with transaction(engine) as connection:
        keys = latest.due(connection, KIND, every_s=EVERY_S, factor=FACTOR, statuses=latest.ANY_STATUS)
    for key in keys:
        compute(engine, key)
    return keys


def compute(engine: Engine, key: str) -> None:
    """Compute and keep the figures of an experiment."""
    began = time.monotonic()
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        body, summary = _figures(connection, experiment)
        latest.put(connection, experiment.id, KIND, summary, body, time.monotonic() - began)


def _figures(connection: Connection, experiment: StoredExperiment) -> tuple[dict[str, Any], dict[str, Any]]:
    config = ExperimentConfig.model_validate(experiment.config)
    first, last = store.span(connection, experiment.id)
    today = store.today(connection, experiment.id)
    width_s = 0.0 if first is None else max((last - first).total_seconds() / STRETCHES, 1.0)
    rows, thirds, parts = [], [], []
    cuts: list[datetime] = []
    if first is not None:
        edges = [first + timedelta(seconds=width_s * number) for number in range(1, STRETCHES)]
        cuts = sorted(set(store.parts(connection, experiment.id, [n / STRETCHES for n in range(1, STRETCHES)])))
        thirds_at = store.parts(connection, experiment.id, [1 / 3, 2 / 3])
        rows, parts, thirds = (
            store.stretches(connection, experiment.id, edges=one, window_s=config.reward.window_s)
            for one in (edges, cuts, thirds_at)
        )
    learning = [arm.key for arm in config.arms if isinstance(parse_policy(arm.policy), BanditPolicy)]
    body = {
        "day": today.day,
        "decisions_today": today.decisions,
        "rewards_today": today.rewards,
        "decisions": sum(row.decisions for row in rows),
        "settled": sum(row.settled for row in rows),
        "rewarded": sum(row.rewarded for row in rows),
        "first": None if first is None else first.isoformat(),
        "last": None if last is None else last.isoformat(),
        "stretch_s": width_s,
        "arms": [
            _arm(arm.key, rows, first, width_s)
            | {"rates": _rates(arm.key, parts, [first, *cuts, last]), "learns": arm.key in learning}
            for arm in config.arms
        ],
        "choices": [_choices(connection, experiment.id, arm) for arm in learning],
        "learning": [_learning(arm, control_of(config), thirds) for arm in learning],
        "missing_rewards": _missing(rows),
    }
    names = ("day", "decisions_today", "rewards_today", "decisions", "missing_rewards")
    return body, {name: body[name] for name in names}


def _arm(arm: str, rows: list[Stretch], first: Any, width_s: float) -> dict[str, Any]:
    """How much was decided in stretches of equal length; those without a decision are left out."""
    mine = [row for row in rows if row.arm == arm]
    points = []
    for row in mine:
        start = first.timestamp() + row.stretch * width_s
        points.append({"start": start, "end": start + width_s, "decisions": row.decisions, "settled": row.settled})
    totals = {name: sum(getattr(row, name) for row in mine) for name in ("decisions", "settled")}
    earned = sum(row.mean_num * row.units for row in mine)
    return {"arm": arm, **totals, "reward": earned, "points": points}


def _rates(arm: str, parts: list[Stretch], times: list[Any]) -> list[dict[str, Any]]:
    """Reward rates in stretches of equally many settled decisions: as precise at night as by day, and gaps take no room.

    ``so_far`` is the number of settled decisions of all arms up to the stretch's middle.
    """
    sizes = dict.fromkeys(range(len(times)), 0)
    for row in parts:
        sizes[row.stretch] += row.settled
    found = []
    for row in (row for row in parts if row.arm == arm and row.settled):
        start, end = times[row.stretch].timestamp(), times[row.stretch + 1].timestamp()
        before = sum(size for number, size in sizes.items() if number < row.stretch)
        point = {"start": start, "end": end, "so_far": before + sizes[row.stretch] / 2, "settled": row.settled}
        found.append(point | {"units": row.units} | _rate(row))
    return found


def _estimate(row: Stretch) -> ArmEstimate | None:
    """Reward per settled decision with its squared standard error over units; null with fewer than two units."""
    if row.units < 2 or row.mean_den <= 0:
        return None
    second = np.array([[row.var_num, row.cov], [row.cov, row.var_den]]) * row.units
    return arm_estimate(Moments(row.units, np.array([row.mean_num, row.mean_den]), second))


def _rate(row: Stretch) -> dict[str, Any]:
    found = _estimate(row)
    if found is None:
        return {"rate": None, "low": None, "high": None}
    half = float(norm.isf(LEVEL / 2)) * math.sqrt(found.variance)
    return {"rate": found.value, "low": found.value - half, "high": found.value + half}


def _choices(connection: Connection, experiment_id: int, arm: str) -> dict[str, Any]:
    """What the arm chooses now against what it chose at first; the two runs do not overlap."""
    now = store.choices(connection, experiment_id, arm, newest=True, most=CHOICES)
    before = store.choices(connection, experiment_id, arm, newest=False, most=CHOICES)
    return {"arm": arm, "now": now._asdict(), "before": before._asdict() if now.decisions >= CHOICES else None}


def _learning(arm: str, control: str, thirds: list[Stretch]) -> dict[str, Any]:
    """Is the arm better in the last third of the decisions than in the first, beyond what the control changed meanwhile?

    Thirds of the decisions, not of the time: an arm learns from decisions, and a night without any changes nothing.
    A learner is told apart from better times by the control: the change of the difference, with a normal interval over
    units. Units that were seen in both thirds make it a little too wide or too narrow; it is a first look, not a verdict.
    """
    found = {(row.arm, row.stretch): _estimate(row) for row in thirds}
    described: dict[str, Any] = {"arm": arm, "control": control, "change": None, "interval": None}
    ends = [found.get((arm, 0)), found.get((arm, 2))]
    described |= {"first": ends[0] and ends[0].value, "last": ends[1] and ends[1].value}
    if ends[0] is None or ends[1] is None or min(one.n for one in ends if one) < MIN_UNITS:
        return described | {"answer": "too_early", "first": None, "last": None}
    change, variance = ends[1].value - ends[0].value, ends[0].variance + ends[1].variance
    beside = [found.get((control, 0)), found.get((control, 2))]
    if control != arm and beside[0] is not None and beside[1] is not None:
        change -= beside[1].value - beside[0].value
        variance += beside[0].variance + beside[1].variance
        described["control_change"] = beside[1].value - beside[0].value
    half = float(norm.isf(LEVEL / 2)) * math.sqrt(variance)
    answer = "yes" if change - half > 0 else "worse" if change + half < 0 else "not_shown"
    return described | {"answer": answer, "change": change, "interval": [change - half, change + half]}


def _missing(rows: list[Stretch]) -> str | None:
    """In words, when rewards do not arrive: never, or not in the newest part of what is settled."""
    settled, rewarded = sum(row.settled for row in rows), sum(row.rewarded for row in rows)
    if settled < MIN_SETTLED:
        return None
    if rewarded == 0:
        return f"none of {settled:,} settled decisions had a reward in time"
    newest = _newest(rows, MIN_SETTLED)
    count, with_reward = sum(row.settled for row in newest), sum(row.rewarded for row in newest)
    # As rare as one in a thousand if nothing had changed: (1 - share)^count.
    share = (rewarded - with_reward) / max(settled - count, 1)
    if with_reward == 0 and share > 0 and count * math.log1p(-min(share, 0.999)) < math.log(0.001):
        return f"none of the newest {count:,} settled decisions had a reward, {share:.0%} of the earlier ones had"
    return None


def _newest(rows: list[Stretch], least: int) -> list[Stretch]:
    """The newest stretches that hold at least so many settled decisions."""
    found: list[Stretch] = []
    for stretch in sorted({row.stretch for row in rows if row.settled}, reverse=True):
        if sum(row.settled for row in found) >= least:
            break
        found += [row for row in rows if row.stretch == stretch]
    return found
