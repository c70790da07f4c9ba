"""The report *Fairness and diversity*: exposure, gaps between groups of people, predictions by group, filter bubbles.

The worker computes it and stores the newest (``latest``); the page and the API serve it with its age.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.fairness import bubbles, people_groups, spreading, targets
from app.fairness.action_groups import Groups, groupings
from app.fairness.documents import FairnessReport, GroupGap, PathArm, StoredFairness
from app.fairness.store import fairness as store
from app.fairness.words import findings
from app.foundation.isolation import each_due
from app.foundation.settings import Settings
from app.foundation.store import latest
from app.foundation.store.engine import transaction
from app.off_policy.policies import learning_arms
from app.registry.lookup import stored_experiment
from app.registry.newest import age_of, or_computed
from app.registry.store.experiments import StoredExperiment
from app.reporting.store import results
from app.reporting.store import whom as sizes
from bandits.exposure import ACTION
from bandits.policy import UniformPolicy, parse_policy
from experiments.fairness.paths import STAGE
from experiments.multiplicity import adjust

KIND = "fairness"
FACTOR = 100.0  # computing takes at most 1 / FACTOR of a worker's time
NEWEST = 100_000  # decisions whose exposure is summed, at most
PAIRS = 2_000_000  # pairs of a decision and an action in them, at most
ASSUMPTIONS = (
    f"Exposure is the mean of the logged probabilities of the newest {NEWEST:,} settled decisions at most: it is exact, and "
    "not an estimate. Drawn is how often chance took it. An action's group is that of its newest features.",
    "The popularity slope compares relative exposure with relative value: 1 is exposure in proportion to value, more runs "
    "ahead of it. Values are self-normalised and weighted by the logged probabilities. Noise in them pulls the slope "
    "towards 0.",
    "A gap is the reward per decision of a group minus that of everybody else. A world has gaps of its own, so only the excess "
    "over the reference arm's gap is said to be the arm's. Users are the independent observations, over the whole log. A user "
    "belongs to the value at the first decision. Users who were seen in two arms are left out.",
    f"The filter-bubble curve follows each user through stages of {STAGE} decisions. In each it takes the mean of the logged "
    "probabilities, and its entropy: 1 when everything was equally likely, 0 when one was certain. The users are drawn at "
    f"random until {bubbles.DECISIONS:,} decisions are read; of each the first {bubbles.LONGEST} count.",
    "Intervals hold at every look, asymptotically in users. What a sentence says is corrected by Holm over all groups, arms and "
    "curves: in a world without gaps at most 5% of reports say one.",
    "Predictions by group come from models of the reward that had not learned the decision. They describe; no sentence rests "
    "on them.",
)


def get(engine: Engine, settings: Settings, key: str) -> FairnessReport:
    """The newest report with its age. Without a report, computes one now if the log is small.

    :raises NotFound: no such experiment.
    """
    return or_computed(engine, key, lambda: stored(engine, key), lambda: compute(engine, settings, key), sizes.is_small)


def stored(engine: Engine, key: str) -> FairnessReport:
    """The newest stored report. Computes nothing.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        config = ExperimentConfig.model_validate(experiment.config)
        newest = latest.get(connection, experiment.id, KIND)
        reached = targets.reports(connection, experiment.id, config)
    report = StoredFairness.model_validate(newest.body) if newest else _empty(config)
    return FairnessReport(**report.given(), experiment=key, targets=reached, **age_of(newest))


class Choices(NamedTuple):
    """What a question about bounds may name."""

    arms: list[str]  # that learn
    by: list[str]  # text features of the actions, then "action"


def choices(engine: Engine, key: str) -> Choices:
    """The arms and features that a question about bounds may name.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        config = ExperimentConfig.model_validate(experiment.config)
        return Choices(learning_arms(config), [*groupings(connection, experiment.id, config), ACTION])


def compute_due(engine: Engine, settings: Settings) -> list[str]:
    """Compute the reports that are due; returns the experiments' keys."""
    return each_due(
        engine, KIND, lambda key: compute(engine, settings, key), every_s=settings.report_interval_s, factor=FACTOR
    )


def compute(engine: Engine, settings: Settings, key: str) -> None:
    """Compute and store the report of one experiment."""
    began = time.monotonic()
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        results.give_memory(connection)
        report = _of_log(connection, settings, experiment)
    with transaction(engine) as connection:
        latest.put(connection, experiment.id, KIND, {}, report.as_json(), time.monotonic() - began)


def reference_arm(config: ExperimentConfig) -> str:
    """The arm that shows the world's own gaps: a uniform one if there is one, else the control."""
    uniform = [arm.key for arm in config.arms if isinstance(parse_policy(arm.policy), UniformPolicy)]
    return uniform[0] if uniform else config.control.key


def _of_log(connection: Connection, settings: Settings, experiment: StoredExperiment) -> StoredFairness:
    config = ExperimentConfig.model_validate(experiment.config)
    empty, alpha = _empty(config), config.decision_rule.alpha
    widest = store.widest(connection, experiment.id)
    if not widest:
        return empty
    groups = groupings(connection, experiment.id, config)
    most = max(100, min(NEWEST, PAIRS // widest))
    rows = store.exposure(connection, experiment.id, most)
    people = store.people(connection, experiment.id, config.segments) if config.segments else []
    gaps, curves = _corrected(
        people_groups.gaps(people, empty.reference, alpha),
        _curves(connection, experiment.id, groups, empty.reference, alpha),
        alpha,
    )
    report = empty.model_copy(
        update={
            "exposure": spreading.exposure(rows, groups, [action.id for action in config.all_actions()]),
            "popularity": spreading.popular(rows, store.units(connection, experiment.id, most), learning_arms(config)),
            "gaps": gaps,
            "calibration": people_groups.calibration(connection, settings, experiment, config),
            "paths": curves,
        }
    )
    return report.model_copy(update={"findings": findings(report)})


def _curves(
    connection: Connection, experiment_id: int, groups: dict[str, Groups], reference: str, alpha: float
) -> list[PathArm]:
    paths = store.paths(connection, experiment_id, bubbles.LEAST, bubbles.LONGEST, bubbles.DECISIONS)
    return bubbles.curves(paths, groups, reference, alpha)


def _corrected(
    gaps: Sequence[GroupGap], curves: Sequence[PathArm], alpha: float
) -> tuple[list[GroupGap], list[PathArm]]:
    """The lines with p-values corrected over all of them by Holm, the largest gaps first."""
    adjusted = adjust([*(gap.p_value for gap in gaps), *(curve.adjusted_p_value for curve in curves)])
    marked = [
        gap.model_copy(update={"adjusted_p_value": p, "differs": p is not None and p <= alpha})
        for gap, p in zip(gaps, adjusted, strict=False)
    ]
    narrowed = [
        curve.model_copy(
            update={"adjusted_p_value": p, "narrows": p is not None and p <= alpha and (curve.excess or 0.0) < 0}
        )
        for curve, p in zip(curves, adjusted[len(gaps) :], strict=True)
    ]
    return sorted(marked, key=lambda gap: (not gap.differs, gap.p_value is None, -abs(gap.excess))), narrowed


def _empty(config: ExperimentConfig) -> StoredFairness:
    return StoredFairness(
        reference=reference_arm(config),
        stage=STAGE,
        fields=list(config.segments),
        exposure=[],
        popularity=[],
        gaps=[],
        calibration=[],
        paths=[],
        findings=[],
        assumptions=list(ASSUMPTIONS),
    )
