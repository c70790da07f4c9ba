"""The report of positions and parts: what each position of a list earned, and what each part of a composed message is worth.

The worker computes it from the newest settled decisions and stores the newest (``latest``); the page and the API serve it
with its age.
"""

import time

from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.foundation.isolation import each_due
from app.foundation.settings import Settings
from app.foundation.store import latest
from app.foundation.store.engine import transaction
from app.off_policy.predictions import predict
from app.registry.lookup import stored_experiment
from app.registry.newest import age_of, or_computed
from app.registry.store.experiments import StoredExperiment
from app.reporting.documents.slots import SlotsReport, SlotsWindow, SlotValues, StoredSlots
from app.reporting.slots import parts, positions
from app.reporting.slots.words import findings
from app.reporting.store import slots as store
from app.reporting.store import whom as sizes
from app.reporting.whom import window as windows
from experiments.off_policy.by_value import MIN_REWARDED, MIN_UNITS
from experiments.off_policy.unit_sums import MIN_REWARDED as MIN_REWARDED_OF_POSITIONS
from experiments.validation import DataError

KIND = "slots"
FACTOR = 100.0  # computing takes at most 1 / FACTOR of a worker's time
SAMPLE = 200  # newest decisions that tell whether the app asks for lists
NEWEST = 50_000  # decisions at most, of lists each position
TRAIN_SHARE = 0.1  # the oldest part of the decisions: only predictions learn from it
OF_POSITIONS = (
    f"Figures of positions are means of the newest {NEWEST:,} settled decisions at most, as each arm filled its lists. Units got "
    "their arms at random, so arms can be compared at a position. Actions cannot: an arm that learns puts them where they earn.",
    "A position without a report counts as the reward's default once its window has closed.",
    "Intervals hold at every look, asymptotically in units; the decisions of a unit count as one observation. There is none "
    f"with fewer than {MIN_REWARDED_OF_POSITIONS:.0f} effective units with a reward (or with less than the best reward).",
    "What another way of choosing every position would earn is on the tab Off-policy.",
)
OF_PARTS = (
    f"Values of parts are of the newest {windows.NEWEST:,} settled decisions at most, and of fewer where there are many "
    "combinations. The oldest tenth only teaches the predictions.",
    "A part's value is the mean reward per decision, had its slot always had it, and the other slots what they had together with "
    "it: doubly robust scores on the logged probabilities, with predictions from models that had not learned the decision. It "
    "assumes nothing about how slots work together. Plain means of a learning arm would mislead.",
    "The difference is against what is chosen in the slot now. Its interval and p-value hold at every look. Marked differences "
    "are corrected by Benjamini-Hochberg over all parts: of those that are marked, at most 5% are expected to be false.",
    f"Values have 95% intervals for one look. With fewer than {MIN_UNITS:.0f} effective units that had the part there is no "
    f"value, and with fewer than {MIN_REWARDED:.0f} with a reward (or with less than the best reward) there is no interval.",
)


def get(engine: Engine, settings: Settings, key: str) -> SlotsReport:
    """The newest report with its age. Without a report, computes one now if the log is small.

    :returns: a report without figures (``computed_at`` null) while the worker has not computed a long log yet.
    :raises NotFound: no such experiment.
    """
    return or_computed(engine, key, lambda: stored(engine, key), lambda: compute(engine, settings, key), sizes.is_small)


def stored(engine: Engine, key: str) -> SlotsReport:
    """The newest stored report. Computes nothing.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        newest = latest.get(connection, experiment.id, KIND)
    report = (
        StoredSlots.model_validate(newest.body)
        if newest
        else _empty(ExperimentConfig.model_validate(experiment.config))
    )
    return SlotsReport(**report.given(), experiment=key, **age_of(newest))


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
        config = ExperimentConfig.model_validate(experiment.config)
        report = _computed(connection, settings, experiment, config)
        latest.put(connection, experiment.id, KIND, {}, report.as_json(), time.monotonic() - began)


def _computed(
    connection: Connection, settings: Settings, experiment: StoredExperiment, config: ExperimentConfig
) -> StoredSlots:
    empty = _empty(config)
    if config.composition is not None:
        return _of_parts(connection, settings, experiment, config, empty)
    until = sizes.complete_until(connection, experiment.id, [arm.key for arm in config.arms])
    sample = [] if config.lists else store.positions(connection, experiment.id, SAMPLE, until)
    if config.lists is None and all(row.position == 1 for row in sample):
        return empty  # single decisions
    rows = store.positions(connection, experiment.id, NEWEST, until)
    whole = config.lists is not None and config.lists.reward == "list"  # then each position has its list's reward
    bounds = config.reward.min, config.reward.max
    earned = positions.earned(rows, bounds)
    decisions, units = sum(row.shown for row in rows), len({row.unit_id for row in rows})
    return empty.model_copy(
        update={
            "window": SlotsWindow(decisions=decisions, units=units, limit=NEWEST),
            "positions": earned,
            "lists": [] if whole else positions.lists(rows, bounds),
            "findings": findings(earned, []),
        }
    )


def _of_parts(
    connection: Connection,
    settings: Settings,
    experiment: StoredExperiment,
    config: ExperimentConfig,
    empty: StoredSlots,
) -> StoredSlots:
    """The report of a composed message; its reason says why the log cannot tell of its parts."""
    try:
        window = windows.read(connection, settings, experiment, config)
        if window is None:
            return empty
        early, late = window.table.split(TRAIN_SHARE)
        bounds = config.reward.min, config.reward.max
        values: list[SlotValues] = parts.valued(late, predict(early, late, bounds), bounds)
    except DataError as error:
        return empty.model_copy(update={"reason": str(error)})
    units = len(set(late.unit.tolist()))
    return empty.model_copy(
        update={
            "window": SlotsWindow(decisions=len(late), units=units, limit=window.limit),
            "reason": "",
            "slots": values,
            "findings": findings([], values),
        }
    )


def _empty(config: ExperimentConfig) -> StoredSlots:
    composed = config.composition is not None
    return StoredSlots(
        window=SlotsWindow(decisions=0, units=0, limit=windows.NEWEST if composed else NEWEST),
        reason=f"the log has fewer than {windows.MIN_ROWS} settled decisions" if composed else "",
        positions=[],
        lists=[],
        slots=[],
        findings=[],
        assumptions=list(OF_PARTS if composed else OF_POSITIONS),
    )
