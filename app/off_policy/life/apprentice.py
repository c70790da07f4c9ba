"""Follows an apprentice: an arm whose callers are shown their own first action while its model learns to imitate it.

The worker asks the model that served at each decision, which had not learned from it, for its distribution: how likely was it to
show what was shown, and what does a model of the rewards of earlier decisions expect of the rest? The first action had a
probability of 1, so the arm's own log says nothing of other actions. What it does say is within which bounds the value
lies: what agrees earned what it earned, and anything between the least and the largest reward is possible for the rest (Manski
1990). Where other arms try other actions, their decisions give a value as in every evaluation.
"""

import time
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine

from app.design import interventions
from app.design.experiment_config import ExperimentConfig
from app.foundation.formats.intervals import IntervalDocument, document_of
from app.foundation.isolation import each_due
from app.foundation.settings import Settings
from app.foundation.store import latest
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.learning.examples import Configs
from app.off_policy.life.apprentice_documents import AgreementPoint, Apprentice, Apprentices, SwitchRequest, Valued
from app.off_policy.log_table import LogTable, build
from app.off_policy.policies import Policies, Target
from app.off_policy.predictions import predict
from app.off_policy.store import evaluations as log_store
from app.off_policy.store.apprentices import Stretch, newest_stretches
from app.off_policy.valued import Sample, value_of
from app.registry.lookup import stored_experiment
from app.registry.store.experiments import StoredExperiment
from bandits.model import distribution
from bandits.policy import parse_policy
from experiments.off_policy import unit_sums
from experiments.validation import DataError

KIND: Final = "apprentice"
MOST: Final = 10_000  # newest settled decisions of all arms that are scored
NEWEST: Final = 1_000  # of them that the agreement is about
LEAST: Final = 100  # of the arm, before anything is advised
READY: Final = 0.7  # agreement above which the arm may be switched on, on the safe side
POINTS: Final = 20
ALPHA: Final = 0.05
FACTOR: Final = 20.0  # at most one part in so many of a worker's time goes into one experiment's apprentices
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def get(engine: Engine, key: str) -> Apprentices:
    """Every apprentice as it stands now, with the newest numbers.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        stretches = newest_stretches(connection, experiment.id)
        kept = latest.get(connection, experiment.id, KIND)
    known = _known(kept)
    return Apprentices(
        apprentices=[_now(stretch, known.get((stretch.arm, iso(stretch.since)))) for stretch in stretches],
        computed_at=iso(kept.computed_at) if kept else None,
    )


def switch(engine: Engine, key: str, request: SwitchRequest, actor: str) -> StoredExperiment:
    """Let what an apprentice learned decide from now on, or make an arm an apprentice again.

    :raises NotFound: no such experiment or arm.
    :raises Unprocessable: the arm does not learn.
    :raises Conflict: nothing would change, or the experiment is concluded.
    """
    with transaction(engine) as connection:
        return interventions.set_apprentice(
            connection, key, request.arm, request.apprentice, actor=actor, reason=request.reason
        )


def compute_due(engine: Engine, settings: Settings, every_s: float) -> list[str]:
    """Compute and store the numbers that are due; returns the experiments' keys."""
    return each_due(engine, KIND, lambda key: compute(engine, settings, key), every_s=every_s, factor=FACTOR)


def compute(engine: Engine, settings: Settings, key: str) -> None:
    """Compute and store how the apprentices of an experiment do."""
    began = time.monotonic()
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        before = latest.get(connection, experiment.id, KIND)
        known, shown = _known(before), []
        for stretch in newest_stretches(connection, experiment.id):
            old = known.get((stretch.arm, iso(stretch.since)))
            final = old is not None and before is not None and _is_final(experiment, stretch, before.computed_at)
            shown.append(old if final and old is not None else scored(connection, settings, experiment, stretch))
        document = Apprentices(apprentices=shown, computed_at=None)
        summary = {"active": sum(one.active for one in shown)}
        latest.put(connection, experiment.id, KIND, summary, document.as_json(), time.monotonic() - began)


def _known(kept: latest.Latest | None) -> dict[tuple[str, str], Apprentice]:
    document = Apprentices.model_validate(kept.body) if kept else Apprentices(apprentices=[], computed_at=None)
    return {(one.arm, one.since): one for one in document.apprentices}


def _is_final(experiment: StoredExperiment, stretch: Stretch, computed_at: datetime) -> bool:
    """Whether every decision of a stretch was settled when its numbers were computed."""
    window_s = ExperimentConfig.model_validate(experiment.config).reward.window_s
    return stretch.until is not None and (computed_at - stretch.until).total_seconds() > 2 * window_s + 3600


def _now(stretch: Stretch, known: Apprentice | None) -> Apprentice:
    """The stored numbers of a stretch, with what is true by now."""
    shown = known or _without_numbers(stretch)
    until = iso(stretch.until) if stretch.until else None
    advice = "switched_on" if until else "wait" if shown.advice == "switched_on" else shown.advice
    return shown.model_copy(update={"active": until is None, "until": until, "advice": advice})


def _without_numbers(stretch: Stretch) -> Apprentice:
    return Apprentice(
        arm=stretch.arm,
        active=stretch.until is None,
        since=iso(stretch.since),
        until=iso(stretch.until) if stretch.until else None,
        decisions=0,
        agreement=None,
        interval=None,
        same=None,
        course=[],
        earned=None,
        earned_interval=None,
        value=None,
        advice="wait",
    )


class _Scored(NamedTuple):
    """The decisions of a stretch, of all arms, with what the apprentice would have done."""

    table: LogTable
    chances: FloatArray  # (n, K)
    own: IntArray  # indexes of the rows that the apprentice made

    @property
    def agreement(self) -> FloatArray:
        """Of its own rows, the probability of what was shown."""
        return np.asarray(self.chances[self.own, self.table.chosen[self.own]])

    def unit_sums(self, values: FloatArray, rows: IntArray) -> unit_sums.UnitSums:
        """Sums of values over the units of some of the rows."""
        return unit_sums.mean_sums(values, self.table.unit[rows])


def scored(connection: Connection, settings: Settings, experiment: StoredExperiment, stretch: Stretch) -> Apprentice:
    """Score an apprentice on the newest settled decisions of its stretch."""
    found, config = (
        _scored(connection, settings, experiment, stretch),
        ExperimentConfig.model_validate(experiment.config),
    )
    plain = _without_numbers(stretch)
    if found is None or not len(found.own):
        return plain
    bounds, own, agreement = (config.reward.min, config.reward.max), found.own, found.agreement
    reward, best = found.table.reward[own], found.chances[own].max(axis=1)
    newest = slice(max(0, len(own) - NEWEST), None)
    interval = _interval(found, agreement[newest], own[newest], (0.0, 1.0))
    advice = "wait" if len(own) < LEAST else "switch_on" if (interval.low or 0.0) >= READY else "go_on"
    return plain.model_copy(
        update={
            "decisions": len(own),
            "agreement": float(agreement[newest].mean()),
            "interval": interval,
            "same": float((agreement >= best)[newest].mean()),
            "course": _course(found, agreement),
            "earned": float(reward.mean()),
            "earned_interval": _interval(found, reward, own, bounds),
            "value": _valued(found, stretch.arm, bounds),
            "advice": "switched_on" if stretch.until else advice,
        }
    )


def _interval(found: _Scored, values: FloatArray, rows: IntArray, bounds: tuple[float, float]) -> IntervalDocument:
    return document_of(unit_sums.always_valid(found.unit_sums(values, rows), bounds, ALPHA))


def _course(found: _Scored, agreement: FloatArray) -> list[AgreementPoint]:
    points = []
    for part in np.array_split(np.arange(len(agreement)), min(POINTS, max(1, len(agreement) // LEAST))):
        rows = found.own[part]
        interval = unit_sums.one_look(found.unit_sums(agreement[part], rows), (0.0, 1.0), ALPHA)
        points.append(
            AgreementPoint(
                at=iso(found.table.rows[rows[-1]].decided_at),
                decisions=len(part),
                agreement=float(agreement[part].mean()),
                interval=document_of(interval),
            )
        )
    return points


def _valued(found: _Scored, arm: str, bounds: tuple[float, float]) -> Valued:
    early, late = found.table.split(0.0)
    predictions = predict(early, late, bounds)
    expected = (predictions * found.chances).sum(axis=1)[found.own]
    agreement, reward = found.agreement, found.table.reward[found.own]
    known, rest = float((agreement * reward).mean()), float((1.0 - agreement).mean())
    target = Target(arm, f"arm {arm} as an apprentice", "as_it_ran", parse_policy({"type": "uniform"}), arm=arm)
    line = value_of(Sample(late, predictions, bounds, ALPHA), target, lambda _, rows: found.chances[rows]).line
    return Valued(
        expected=float(expected.mean()),
        at_least=known + rest * bounds[0],
        at_most=known + rest * bounds[1],
        estimate=line.value,
        interval=line.interval,
        reasons=line.reasons,
    )


def _scored(
    connection: Connection, settings: Settings, experiment: StoredExperiment, stretch: Stretch
) -> _Scored | None:
    """Ask the version that served at each decision what it would have done; decisions of forgotten versions are left out."""
    policies = Policies(connection, settings, experiment, ExperimentConfig.model_validate(experiment.config))
    logged = list(log_store.log_rows(connection, experiment.id, MOST, stretch.since, stretch.until))
    logged = [row for row in logged if row.config_version in stretch.versions]
    if not logged:
        return None
    table = build(logged, Configs(connection, experiment.id), policies.version)
    policy = policies.policy(stretch.arm)
    chances, number = np.zeros_like(table.logged), next((r.policy_version for r in logged if r.arm == stretch.arm), 0)
    by_version: dict[int, list[int]] = {}
    for index, row in enumerate(logged):
        number = row.policy_version if row.arm == stretch.arm else number
        by_version.setdefault(number, []).append(index)
    for version, indexes in by_version.items():
        try:
            predictor = policies.version(stretch.arm, version)
        except DataError:  # forgotten with a unit that it had learned from
            continue
        for index in indexes:
            row, lines = logged[index], (table.shared[index], table.lines[index])
            found = distribution(policy, predictor, *lines, row.eligible, table.above[index])
            chances[index, : len(found)] = found
        if predictor is not None:
            predictor.close()
    kept = np.flatnonzero(chances.sum(axis=1) > 0)
    own = np.array([at for at, index in enumerate(kept) if logged[index].arm == stretch.arm], dtype=np.int64)
    return _Scored(table.take(kept), chances[kept], own)
