"""Gives reports with differential privacy to a wider audience: whether a unit took part changes a report very little.

Neighbouring data sets differ in one unit, with all of its decisions. Each unit is in one arm (that of its first decision)
and adds 1 to the arm's units and its mean reward, in whole points of the reward's range, to the arm's points. Both are
released with discrete Laplace noise (OpenDP's mechanism, Canonne, Kamath and Steinke 2020, which has no floating-point leak);
arms are disjoint, so a report costs what one arm costs: half of epsilon for the units, half for the points.
Arms whose released number of units is small are suppressed. This costs nothing more.
"""

import importlib.util
import math
from collections.abc import Callable

from sqlalchemy import Engine

from app.design.experiment_config import ExperimentConfig
from app.foundation.errors import Conflict
from app.foundation.settings import Settings
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.registry.lookup import stored_experiment
from app.reporting.documents.private import (
    GivenReport,
    PrivateArm,
    PrivateReport,
    PrivateReports,
    StoredPrivateReport,
)
from app.reporting.store import privacy as store
from app.reporting.store.privacy import ArmTotal, Spent

POINTS = 1000  # whole steps of the reward's range
LEAST_EPSILON, MOST_EPSILON = 0.001, 100.0
SMALL = 20  # units, below which an arm is suppressed
SHARE_IN_NOISE = 0.95

Noise = Callable[[int, float], int]  # (value, scale) -> value with discrete Laplace noise of that scale


def give(engine: Engine, settings: Settings, key: str, epsilon: float, actor: str) -> PrivateReport:
    """Make a report and spend its epsilon.

    :param epsilon: positive; smaller is more private and noisier.
    :raises NotFound: no such experiment.
    :raises Conflict: the budget does not suffice, or the mechanism is not installed.
    """
    noise = _mechanism()
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        config = ExperimentConfig.model_validate(experiment.config)
        store.lock(connection, experiment.id)
        left = settings.privacy_budget - math.fsum(report.epsilon for report in store.spent(connection, experiment.id))
        if epsilon > left + 1e-12:
            of = f"Of a budget of {settings.privacy_budget:g} there is {max(left, 0):g} left"
            raise Conflict("privacy_budget_spent", f"{of}; this report asks for {epsilon:g}.")
        totals = {
            total.arm: total
            for total in store.totals(connection, experiment.id, config.reward.min, config.reward.max, POINTS)
        }
        arms = [totals.get(arm.key, ArmTotal(arm.key, 0, 0)) for arm in config.arms]
        report = _report(config, arms, epsilon, noise)
        store.add(connection, experiment.id, epsilon, report.as_json(), actor)
    return PrivateReport(**report.given(), epsilon=epsilon, budget_left=left - epsilon)


def given(engine: Engine, settings: Settings, key: str) -> PrivateReports:
    """The reports of an experiment so far, newest first, and what is left of its budget."""
    with transaction(engine) as connection:
        reports = store.spent(connection, stored_experiment(connection, key).id)
    left = settings.privacy_budget - math.fsum(report.epsilon for report in reports)
    return PrivateReports(
        budget=settings.privacy_budget, budget_left=max(left, 0.0), reports=[_given(report) for report in reports]
    )


def installed() -> bool:
    """True when OpenDP, the mechanism, is installed."""
    return importlib.util.find_spec("opendp") is not None


def half_width(scale: float, share: float = SHARE_IN_NOISE) -> float:
    """The bound on the noise in a ``share`` of reports: P(|X| > x) <= exp(-x / scale) for the Laplace distribution."""
    return -scale * math.log(1 - share)


def _report(config: ExperimentConfig, arms: list[ArmTotal], epsilon: float, noise: Noise) -> StoredPrivateReport:
    return StoredPrivateReport(
        arms=[_arm(config, arm, epsilon, noise) for arm in arms],
        noise_of_units=half_width(2.0 / epsilon),
        estimand="mean over units of the unit's mean reward, per arm of the unit's first decision",
        privacy=f"pure differential privacy of a whole unit, epsilon {epsilon:g}",
        notes=[
            f"The noise is within the given bounds in {SHARE_IN_NOISE:.0%} of reports; it comes on top of the sampling error.",
            f"Arms with fewer than {SMALL} units are suppressed.",
        ],
    )


def _arm(config: ExperimentConfig, arm: ArmTotal, epsilon: float, noise: Noise) -> PrivateArm:
    """Release one arm: half of epsilon is spent on the units, half on the points."""
    units_scale, points_scale = 2.0 / epsilon, 2.0 * POINTS / epsilon
    low, span = config.reward.min, config.reward.max - config.reward.min
    units, points = noise(arm.units, units_scale), noise(arm.points, points_scale)
    if units < SMALL:
        return PrivateArm(arm=arm.arm, suppressed=True)
    mean = min(max(points / units / POINTS, 0.0), 1.0)
    return PrivateArm(
        arm=arm.arm,
        suppressed=False,
        units=units,
        mean_reward=low + span * mean,
        noise_of_mean=span * min(1.0, _noise_of_mean(units, mean, units_scale, points_scale)),
    )


def _noise_of_mean(units: int, mean: float, units_scale: float, points_scale: float) -> float:
    """How far noise alone may move points / units, to first order, as a share of the reward's range."""
    both = half_width(points_scale, 0.975) / POINTS + mean * half_width(units_scale, 0.975)
    return both / units


def _mechanism() -> Noise:
    try:
        import opendp.prelude as dp  # noqa: PLC0415 - an extra that need not be installed
    except ImportError:
        message = "Install Loopwise with its extra `privacy` (OpenDP), then ask again."
        raise Conflict("privacy_not_installed", message) from None
    dp.enable_features("contrib")

    def noise(value: int, scale: float) -> int:
        space = dp.atom_domain(T=int), dp.absolute_distance(T=int)
        return int(dp.m.make_laplace(*space, scale=scale)(value))

    return noise


def _given(spent: Spent) -> GivenReport:
    report = StoredPrivateReport.model_validate(spent.report)
    return GivenReport(**report.given(), epsilon=spent.epsilon, actor=spent.actor, at=iso(spent.at))
