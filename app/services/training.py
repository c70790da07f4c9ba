"""Learning: a loop over the database, not a queue of events. Waking it twice, or killing it, changes nothing.

One round of one lineage is one transaction under the lineage's lock: decisions whose reward window closed and that were
not learned from, in order, with their joined rewards; the parent's bytes; the child model with its manifest; the ledger.
Waiting for the window keeps training unbiased: learning early rewards first and silence later does not.
"""

from typing import Any, NamedTuple

import structlog
from sqlalchemy import Connection, Engine

from app.services import model_bytes
from app.services.examples import Configs, example_of, joined_reward
from app.services.model_bytes import ModelRefused
from app.settings import Settings
from app.store import models, platform, rewards, training
from app.store.engine import transaction
from app.store.models import VersionInfo
from app.store.training import Due, Learned
from bandits.encoding import ENCODING_VERSION
from bandits.model import Example, TrainingDataError, learn
from bandits.model_file import ModelError
from bandits.policy import BanditPolicy, parse_policy
from bandits.safety import ModelReport, check_model

CANARIES = 20

log = structlog.get_logger()


class Round(NamedTuple):
    """What one training round did."""

    experiment_id: int
    arm: str
    number: int  # of the new version
    decisions: int
    promoted: bool
    problems: tuple[str, ...]


def due_lineages(engine: Engine) -> list[tuple[int, str]]:
    """(experiment id, arm) of every lineage that has something to learn."""
    with transaction(engine) as connection:
        return training.lineages_with_due_decisions(connection)


def train_round(engine: Engine, settings: Settings, experiment_id: int, arm: str) -> Round | None:
    """Learn everything that is due in one lineage, up to the round's limit; null when there is nothing, or when
    somebody else is at it.
    """
    with transaction(engine) as connection:
        until = rewards.pass_gate(connection)
    with transaction(engine) as connection:
        if not training.lock_lineage(connection, experiment_id, arm):
            return None
        rows = training.due(connection, experiment_id, arm, until, settings.round_decisions)
        if not rows:
            return None
        return _learn(connection, settings, experiment_id, arm, rows)


def _learn(connection: Connection, settings: Settings, experiment_id: int, arm: str, rows: list[Due]) -> Round | None:
    configs = Configs(connection, experiment_id)
    policy = _policy(configs, rows[-1].config_version, arm)
    (serving,) = (row for row in models.serving(connection, experiment_id=experiment_id) if row.arm == arm)
    try:
        parent, parent_bytes = model_bytes.load(connection, serving.version_id, settings.secret_key)
        learned = [Learned(row.id, joined_reward(row, configs.get(row.config_version).reward)) for row in rows]
        examples = [example_of(row, line.reward, configs) for row, line in zip(rows, learned, strict=True)]
        child = learn(parent_bytes, policy, examples)
    except (ModelRefused, ModelError, TrainingDataError) as error:
        models.report_problem(connection, experiment_id, arm, str(error))
        log.error("training_failed", experiment_id=experiment_id, arm=arm, error=str(error))
        return None
    report = check_model(child, policy, canaries(examples))
    revision = platform.next_revision(connection)
    number = models.next_number(connection, experiment_id, arm)
    version_id, _ = model_bytes.store(
        connection,
        child,
        settings.secret_key,
        experiment_id=experiment_id,
        arm=arm,
        number=number,
        parent_id=parent.id,
        kind="incremental",
        examples=parent.examples + len(rows),
        manifest=_manifest(parent, configs, rows, arm),
        checks=report._asdict() | {"canaries": len(canaries(examples))},
    )
    training.write_ledger(connection, experiment_id, arm, version_id, learned)
    _promote(connection, experiment_id, arm, version_id, revision, report)
    return Round(experiment_id, arm, number, len(rows), report.ok, report.problems)


def canaries(examples: list[Example]) -> list[tuple[str, list[str]]]:
    """A few contexts, spread over the round, on which a model must answer sensibly before it serves."""
    step = max(1, len(examples) // CANARIES)
    return [(example.shared_line, list(example.action_lines)) for example in examples[::step][:CANARIES]]


def _policy(configs: Configs, config_version: int, arm: str) -> BanditPolicy:
    (policy,) = (parse_policy(spec.policy) for spec in configs.get(config_version).arms if spec.key == arm)
    assert isinstance(policy, BanditPolicy), "only learning arms have a lineage"
    return policy


def _manifest(parent: VersionInfo, configs: Configs, rows: list[Due], arm: str) -> dict[str, Any]:
    """What gives the same bytes again: the parent, the order, the passes, and the ledger's rows of this version."""
    (policy,) = (spec.policy for spec in configs.get(rows[-1].config_version).arms if spec.key == arm)
    return {
        "kind": "incremental",
        "parent_number": parent.number,
        "parent_sha256": parent.sha256,
        "order": "decided_at, id",
        "passes": 1,
        "decisions": len(rows),
        "first": rows[0].id,
        "last": rows[-1].id,
        "encoding_version": ENCODING_VERSION,
        "policy": policy,
    }


def _promote(
    connection: Connection, experiment_id: int, arm: str, version_id: int, revision: int, report: ModelReport
) -> None:
    """Put the new version into service, or say why the old one stays."""
    if report.ok:
        models.serve(connection, experiment_id, arm, version_id, revision)
    else:
        models.report_problem(connection, experiment_id, arm, "; ".join(report.problems))
        log.error("model_not_promoted", experiment_id=experiment_id, arm=arm, problems=report.problems)
