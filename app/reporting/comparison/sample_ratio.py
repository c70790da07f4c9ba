"""Compares units with shares, through every change of the shares: a unit counts under the shares when it was first seen.

A ramp moves units between arms. If we compared all units with today's shares, an intended ramp would raise an alert.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sqlalchemy import Connection

from app.design.experiment_config import ExperimentConfig, shares
from app.registry.store import experiments
from app.registry.store.experiments import StoredExperiment
from app.reporting.documents.results import SampleRatio
from app.reporting.store import results
from app.reporting.store.results import Assigned, Overview
from experiments.logs.health import ANYTIME_ALERT_BELOW, CONCENTRATIONS, average_bet, share_bets


class SeenUnits(NamedTuple):
    """Units that were first seen under the same shares."""

    shares: tuple[float, ...]
    units: NDArray[np.float64]


def check(
    connection: Connection,
    experiment: StoredExperiment,
    config: ExperimentConfig,
    seen: Overview,
    until: datetime | None = None,
) -> SampleRatio:
    """Check the sample ratio of an experiment; the answer is in words and numbers.

    :param until: only decisions before it (see ``app.reporting.store.results.horizon``).
    """
    arms = [arm.key for arm in config.arms]
    by_version = {}
    for version in range(1, experiment.config_version + 1):
        stored = experiments.config_of(connection, experiment.id, version)
        by_version[version] = _shares(ExperimentConfig.model_validate(stored), arms)
    if len(set(by_version.values())) == 1:  # a unit never changed its arm
        counted = [Assigned(1, arm, units) for arm, units in seen.units.items()]
    else:
        counted = results.assigned(connection, experiment.id, until)
    return judge(arms, _stretches(counted, arms, by_version))


def judge(arms: Sequence[str], stretches: Sequence[SeenUnits]) -> SampleRatio:
    """The sample ratio of all stretches together, watched with the sequential test.

    The p-value for one look is that of d' S^- d of the deviations, which is Pearson's when there is one stretch.
    """
    size = len(arms)
    observed, expected, covariance = np.zeros(size), np.zeros(size), np.zeros((size, size))
    stray, bets, random = np.zeros(size), np.zeros(len(CONCENTRATIONS)), False
    for stretch in stretches:
        share, total = np.array(stretch.shares), float(stretch.units.sum())
        observed += stretch.units
        expected += total * share
        covariance += total * (np.diag(share) - np.outer(share, share))
        stray += np.where(share == 0, stretch.units, 0.0)
        used = share > 0
        if used.sum() > 1 and stretch.units[used].sum() > 0:
            random = True
            bets += share_bets(stretch.units[used], share[used] / share[used].sum())
    answer = partial(
        SampleRatio,
        observed={arm: int(n) for arm, n in zip(arms, observed, strict=True)},
        expected={arm: float(n) for arm, n in zip(arms, expected, strict=True)},
    )
    if stray.any():
        arm = arms[int(np.argmax(stray))]
        text = f"arm {arm!r} holds {int(stray.max())} units that were first seen while its share was 0"
        return answer(p_value=0.0, anytime_p_value=0.0, alert=True, text=text)
    if not random:
        text = "needs settled decisions under shares for at least two arms"
        return answer(p_value=None, anytime_p_value=None, alert=False, text=text)
    p = _chi_square(observed - expected, covariance)
    anytime = min(1.0, math.exp(-max(float(average_bet(bets)), 0.0)))
    alert = anytime < ANYTIME_ALERT_BELOW
    text = "units do not match the shares: find the cause before reading results" if alert else "units match the shares"
    return answer(p_value=p, anytime_p_value=anytime, alert=alert, text=text)


def _chi_square(deviations: NDArray[np.float64], covariance: NDArray[np.float64]) -> float:
    """The p-value of d' S^- d, with as many degrees of freedom as the covariance has dimensions."""
    values, vectors = np.linalg.eigh(covariance)
    nonzero = values > 1e-9 * max(float(values[-1]), 1.0)
    along = vectors[:, nonzero].T @ deviations
    return float(stats.chi2.sf(float(np.sum(along**2 / values[nonzero])), int(nonzero.sum())))


def _shares(config: ExperimentConfig, arms: list[str]) -> tuple[float, ...]:
    given = shares(config)
    total = math.fsum(given.values())
    return tuple(given.get(name, 0.0) / total for name in arms)


def _stretches(counted: list[Assigned], arms: list[str], by_version: dict[int, tuple[float, ...]]) -> list[SeenUnits]:
    units_by_shares: dict[tuple[float, ...], NDArray[np.float64]] = {}
    for row in counted:
        units = units_by_shares.setdefault(by_version[row.config_version], np.zeros(len(arms)))
        units[arms.index(row.arm)] += row.units
    return [SeenUnits(share, units) for share, units in units_by_shares.items()]
