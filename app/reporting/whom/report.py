"""The report "What works for whom": by context field, what is chosen and what it earns; features; segments that differ.

The worker computes it from the newest settled decisions and stores the newest (``latest``); pages and the API serve it with
its age. Values of actions are doubly robust on the platform's own mixture (``app.off_policy.mixture``), with predictions
from models that had not learned the row; ``experiments.off_policy.by_value`` defines them.
"""

import time

from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.foundation.isolation import each_due
from app.foundation.settings import Settings
from app.foundation.store import latest
from app.foundation.store.engine import transaction
from app.off_policy.log_table import LogTable
from app.registry.lookup import stored_experiment
from app.registry.newest import age_of, or_computed
from app.registry.store.experiments import StoredExperiment
from app.reporting.documents.whom import StoredWhom, WhomReport, WhomWindow
from app.reporting.store import whom as store
from app.reporting.whom import features, segments
from app.reporting.whom import window as windows
from app.reporting.whom.cells import Cells
from app.reporting.whom.words import findings
from bandits.policy import BanditPolicy, parse_policy
from experiments.off_policy.by_value import MIN_REWARDED, MIN_UNITS
from experiments.validation import DataError

KIND = "whom"
FACTOR = 100.0  # computing takes at most 1 / FACTOR of a worker's time
TRAIN_SHARE = 0.1  # the oldest part of the decisions: only predictions learn from it
ASSUMPTIONS = (
    f"Figures of actions and features are of the newest {windows.NEWEST:,} settled decisions at most, and of fewer where a "
    "decision has many actions. The oldest tenth only teaches the predictions. Of lists the first position counts.",
    "An action's value is the mean reward per decision, had it always been chosen where the field has that value: doubly "
    "robust scores on the logged probabilities, with predictions from models that had not learned the decision. "
    "Stretches of time with small probabilities weigh less. Plain means within a learning arm would mislead.",
    "The difference is against what the control's way of choosing earns on the same decisions. Its interval and p-value hold "
    "at every look, asymptotically in units. Marked differences are corrected by Benjamini-Hochberg over all actions, values "
    "and fields: of those that are marked, at most 5% are expected to be false.",
    "Values and shares have 95% intervals for one look. Units are the independent observations everywhere. With fewer than "
    f"{MIN_UNITS:.0f} effective units that had the action there is no value, and with fewer than "
    f"{MIN_REWARDED:.0f} with a reward (and with less than the best reward) there is no interval.",
    "A feature's importance is the rise of the squared error of predictions when its values are permuted among decisions. It "
    "describes the predictions. Features that say the same thing share their importance.",
    "Segments compare arms, which units got at random: in each, the newest always-valid p-value of the results, corrected by "
    "Holm over all segments, fields and arms. A unit belongs to the value at its first decision. The shrunk difference is pulled "
    "towards that of the field's other segments, because the largest of many is partly luck.",
)


def get(engine: Engine, settings: Settings, key: str) -> WhomReport:
    """The newest report with its age. Without a report, computes one now if the log is small.

    :returns: a report without figures (``computed_at`` null) while the worker has not computed a long log yet.
    :raises NotFound: no such experiment.
    """
    return or_computed(engine, key, lambda: stored(engine, key), lambda: compute(engine, settings, key), store.is_small)


def stored(engine: Engine, key: str) -> WhomReport:
    """The newest stored report. Computes nothing.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        newest = latest.get(connection, experiment.id, KIND)
    report = (
        StoredWhom.model_validate(newest.body) if newest else _empty(ExperimentConfig.model_validate(experiment.config))
    )
    return WhomReport(**report.given(), experiment=key, **age_of(newest))


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
        report = _of_log(connection, settings, experiment, config)
    compared = segments.compared(engine, key, config, report.arms)
    report = report.model_copy(
        update={"metric": compared.metric, "metric_name": compared.name, "segments": compared.lines}
    )
    report = report.model_copy(update={"findings": findings(report)})
    with transaction(engine) as connection:
        latest.put(connection, experiment.id, KIND, {}, report.as_json(), time.monotonic() - began)


def _of_log(
    connection: Connection, settings: Settings, experiment: StoredExperiment, config: ExperimentConfig
) -> StoredWhom:
    """The report without segments; its reason says why the log cannot tell of actions and features."""
    empty = _empty(config)
    try:
        window = windows.read(connection, settings, experiment, config)
        if window is None:
            return empty
        return empty.model_copy(update=_figures(window, config, empty.arms))
    except DataError as error:
        return empty.model_copy(update={"reason": str(error)})


def _figures(window: windows.Window, config: ExperimentConfig, learning: list[str]) -> dict[str, object]:
    early, late = window.table.split(TRAIN_SHARE)
    bounds = config.reward.min, config.reward.max
    predicted = features.predict(early, late, bounds, window.configs)
    cells = Cells(late, predicted.table, bounds)
    importance = features.described(late, predicted)
    order = {line.feature: position for position, line in enumerate(importance) if line.side == "context"}
    fields = cells.fields(windows.cuts(late, config.segments), config.control.key, learning)
    return {
        "window": _window(late, window.limit),
        "reason": "",
        "fields": sorted(fields, key=lambda field: order.get(field.field, len(order))),
        "other_actions": cells.count_actions() - len(cells.actions(learning)),
        "explained": features.explained_share(late, predicted),
        "importance": importance,
    }


def _window(late: LogTable, limit: int) -> WhomWindow:
    return WhomWindow(
        decisions=len(late),
        units=len(set(late.unit.tolist())),
        first=late.rows[0].decided_at.isoformat(),
        last=late.rows[-1].decided_at.isoformat(),
        limit=limit,
    )


def _empty(config: ExperimentConfig) -> StoredWhom:
    learning = [arm.key for arm in config.arms if isinstance(parse_policy(arm.policy), BanditPolicy)]
    others = [arm.key for arm in config.arms if arm.key != config.control.key]
    return StoredWhom(
        control=config.control.key,
        arms=learning or others or [config.control.key],
        window=WhomWindow(decisions=0, units=0, first=None, last=None, limit=windows.NEWEST),
        reason=f"the log has fewer than {windows.MIN_ROWS} settled decisions since a model version was last forgotten, or at all",
        fields=[],
        other_actions=0,
        explained=None,
        importance=[],
        metric=None,
        metric_name="",
        segments=[],
        findings=[],
        assumptions=list(ASSUMPTIONS),
    )
