"""Export logs whole: each decision with what its arm did, and with what the platform as a whole did.

A unit's arm is drawn, too. So the propensity that other tools need is the platform's: the chance of the action over all
arms. The arm's own stands beside it.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.files.log_files import Record, format_of, write
from app.files.store import transfer
from app.foundation.fields import JsonObject
from app.foundation.settings import Settings
from app.foundation.store.engine import transaction
from app.learning.examples import Configs
from app.off_policy.mixture import FloatArray, arm_probabilities, encoded, mixed, shares
from app.off_policy.policies import Policies
from app.off_policy.store.evaluations import LoggedRow
from app.registry.lookup import stored_experiment
from bandits.model import Predictor
from experiments.validation import DataError

SLICE = 20_000  # decisions whose distributions are computed at once
FEW = 100  # decisions that are given up together when a model is gone
Load = Callable[[str, int], Predictor | None]
Chances = tuple[FloatArray, dict[str, FloatArray]]


def export_log(engine: Engine, settings: Settings, experiment_key: str, path: Path, *, kind: str | None = None) -> int:
    """Write the settled decisions of an experiment to a file, and return their number.

    :raises NotFound: the experiment does not exist.
    :raises FileRefused: the file cannot be written.
    """
    format_ = format_of(path, kind)
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, experiment_key)
        config = ExperimentConfig.model_validate(experiment.config)
        load = Policies(connection, settings, experiment, config).version
        return write(path, format_, _records(connection, experiment.id, load))


def _records(
    connection: Connection, experiment_id: int, load: Callable[[str, int], Predictor | None]
) -> Iterator[Record]:
    configs, versions = Configs(connection, experiment_id), dict[str, int]()
    described: dict[int, JsonObject] = {}
    stored = transfer.settled(connection, experiment_id)
    while rows := [LoggedRow(*row) for row in islice(stored, SLICE)]:
        known = [row for row in rows if None not in row.distribution]
        chances = iter(_chances_or_none(known, configs, load, versions))
        for row in rows:
            config = configs.get(row.config_version)
            if row.config_version not in described:
                described[row.config_version] = _experiment(config)
            yield _record(
                row, config, described[row.config_version], None if None in row.distribution else next(chances)
            )


def _chances_or_none(
    rows: list[LoggedRow], configs: Configs, load: Load, versions: dict[str, int]
) -> list[Chances | None]:
    """Return what ``_chances`` yields; None for rows whose models are gone, and for a few around them."""
    before = dict(versions)
    try:
        return list(_chances(rows, configs, load, versions)) if rows else []
    except DataError:
        versions.clear()
        versions.update(before)
    if len(rows) <= FEW:
        versions.update({row.arm: row.policy_version for row in rows})
        return [None] * len(rows)
    middle = len(rows) // 2
    early = _chances_or_none(rows[:middle], configs, load, versions)
    return early + _chances_or_none(rows[middle:], configs, load, versions)


def _chances(rows: list[LoggedRow], configs: Configs, load: Load, versions: dict[str, int]) -> Iterator[Chances]:
    """Yield the platform's distribution of each row, shape (K,), and each arm's."""
    arms = arm_probabilities(rows, encoded(rows, configs), configs, load, versions)
    logged = mixed(arms, shares(rows, configs, list(arms)))
    for index, row in enumerate(rows):
        size = len(row.eligible)
        own = {arm: table[index, :size] for arm, table in arms.items() if table[index].any()}
        yield logged[index, :size], own


def _experiment(config: ExperimentConfig) -> JsonObject:
    """What an import needs of the definition: who got which share, of what, and which rewards were possible."""
    return {
        "arms": [{"key": arm.key, "share": arm.share, "policy": arm.policy} for arm in config.arms],
        "control_arm": config.control.key,
        "reward": config.reward.model_dump(mode="json"),
    }


def _record(
    row: LoggedRow,
    config: ExperimentConfig,
    experiment: JsonObject,
    chances: Chances | None,
) -> Record:
    own: JsonObject = {action.id: action.features for action in config.all_actions()}
    if row.actions is not None:
        own = {str(action["id"]): action.get("features") or {} for action in row.actions}
    arm_share = next((arm.share for arm in config.arms if arm.key == row.arm), None)
    record: Record = {
        "decision_id": row.id,
        "decided_at": row.decided_at.isoformat(),
        "unit_id": row.unit_id,
        "arm": row.arm,
        "arm_probability": arm_share,
        "policy_version": row.policy_version,
        "context": row.context,
        "actions": [{"id": name, "features": own.get(name, {})} for name in row.eligible],
        "distribution": None,
        "action": row.eligible[row.chosen],
        "propensity": row.propensity,
        "arm_propensity": row.propensity,
        "arm_distributions": None,
        "experiment": experiment,
        "reward": row.reward,
        "stands_for": row.stands_for,
    }
    if chances is None or not chances[0].any():
        # With several arms, the arm's propensity is not the platform's: a model that decided is gone, so that is unknown.
        return record | {"propensity": row.propensity if len(config.arms) == 1 else None}
    logged, arms = chances
    return record | {
        "distribution": logged.tolist(),
        "propensity": float(logged[row.chosen]),
        "arm_distributions": {arm: table.tolist() for arm, table in arms.items()},
    }
