"""Learns the first models of arms that wait for a warm start: what the worker does. See ``app.off_policy.life.warm_start``."""

from typing import Final

from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.foundation.fields import JsonObject
from app.foundation.settings import Settings
from app.foundation.store.engine import transaction
from app.learning import warm
from app.learning.examples import Configs
from app.learning.store import rebuilds, training
from app.learning.store import warm as store
from app.learning.store.warm import Lesson
from app.learning.training import canaries, learnable, learner_part
from app.off_policy.life.arms import begin_lineage
from app.off_policy.life.waiting import tried
from app.off_policy.life.warm_start import Source, Target, target_of, version_of
from app.off_policy.log_table import build
from app.off_policy.policies import Policies
from app.off_policy.store import evaluations as log_store
from app.registry import signed_bytes as model_bytes
from app.registry.lookup import stored_experiment
from app.registry.store import experiments
from app.registry.store.experiments import StoredExperiment
from app.registry.store.models import NewVersion
from bandits.encoding import ENCODING_VERSION
from bandits.learner.state import MOST_ROWS
from bandits.policy import policy_to_json
from bandits.safety import check_model
from experiments.validation import DataError

KIND: Final = "warm_start"


def run_waiting(engine: Engine, settings: Settings) -> list[str]:
    """Learn the model of every arm that waits for its warm start; returns their keys."""
    with transaction(engine) as connection:
        rows = store.waiting(connection)
    return [row.arm for row in rows if _tried(engine, settings, row)]


def _tried(engine: Engine, settings: Settings, row: store.Waiting) -> bool:
    def note(problem: str) -> None:
        with transaction(engine) as connection:
            asked = store.asked(connection, row.experiment_id, row.arm)
            if asked is not None:
                store.ask(connection, row.experiment_id, row.arm, asked | {"problem": problem})

    whose = {"experiment_id": row.experiment_id, "arm": row.arm}
    return tried(lambda: _begin(engine, settings, row), note, "warm_start_failed", **whose)


def _begin(engine: Engine, settings: Settings, row: store.Waiting) -> bool:
    """Learn the model and let it serve. Both experiments are held, so that an erasure comes before or after."""
    with transaction(engine) as connection:
        if not training.lock_lineage(connection, row.experiment_id, row.arm):
            return False
        asked = store.asked(connection, row.experiment_id, row.arm)
        if asked is None or asked.get("problem"):
            return False
        wanted = Source.model_validate(asked["source"])
        source = stored_experiment(connection, wanted.experiment)
        if source.id != row.experiment_id and not training.lock_lineage(connection, source.id, f"for {row}"):
            return False
        experiment = experiments.by_id(connection, row.experiment_id)
        target = target_of(connection, experiment, row.arm)
        lessons = _lessons(connection, settings, source, wanted)
        if not lessons:
            raise DataError(f"{source.key!r} has no decision that may be learned", fix="choose another log")
        if target.policy.slates and any(sum(lesson.mixture) < 1 / 2 for lesson in lessons):
            raise DataError("composed messages learn from whole distributions", fix="choose a log that holds them")
        store.add(connection, row.experiment_id, row.arm, source.id, lessons)
        _serve(connection, settings, target, asked)
        store.ask(connection, row.experiment_id, row.arm, None)
        return True


def _serve(connection: Connection, settings: Settings, target: Target, asked: JsonObject) -> None:
    root, policy = target.serving, target.policy
    _, untrained = model_bytes.load(connection, root.id, settings.secret_key)
    examples = warm.examples_of_arm(connection, target.experiment.id, target.arm, policy)
    plain = warm.learned(untrained, policy, examples)
    shown = canaries(examples)
    report = check_model(plain, policy, shown)
    if not report.ok:
        raise DataError("; ".join(report.problems), fix="choose another log or another policy")
    manifest: JsonObject = {
        "kind": warm.KIND,
        warm.KIND: len(examples),
        "source": asked["source"],
        "agreement": asked["agreement"],
        "parent_number": root.number,
        "parent_sha256": root.sha256,
        "order": "position of the ledger of warm starts",
        "passes": 1,
        "decisions": len(examples),
        "generation": training.current_generation(connection, target.experiment.id, target.arm).number,
        "encoding_version": ENCODING_VERSION,
        "policy": policy_to_json(policy),
    }
    manifest |= learner_part(plain, policy)
    checks = report._asdict() | {"canaries": len(shown)}
    begin_lineage(connection, settings, NewVersion(
        target.experiment.id, target.arm, 1, root.id, warm.KIND, len(examples), manifest, checks
    ), plain)  # fmt: skip


def _lessons(connection: Connection, settings: Settings, source: StoredExperiment, wanted: Source) -> list[Lesson]:
    """What is learned, oldest first: at most the newest 200,000 decisions that may be learned."""
    if wanted.arm is not None:
        return _of_version(connection, source, wanted)
    rows = log_store.log_rows(connection, source.id, MOST_ROWS)
    policies = Policies(connection, settings, source, ExperimentConfig.model_validate(source.config))
    table = build(rows, Configs(connection, source.id), policies.version)
    return [
        Lesson(row.id, row.reward, chances[: len(row.eligible)].tolist())
        for row, chances in zip(table.rows, table.logged, strict=True)
        if row.learns
    ]


def _of_version(connection: Connection, source: StoredExperiment, wanted: Source) -> list[Lesson]:
    """What a version and its ancestors learned of their own experiment."""
    version = version_of(connection, source, wanted)
    assert version is not None, "asking has checked it"
    configs, lessons = Configs(connection, source.id), list[Lesson]()
    for round_ in rebuilds.rounds(connection, version.id):
        own = [(due, reward) for reward, due in round_ if due.source_id is None and learnable(due)]
        chances = configs.distributions([due.id for due, _ in own if due.mixture is None])
        lessons += [
            Lesson(due.id, reward, chances[due.id].tolist() if due.mixture is None else due.mixture)
            for due, reward in own
        ]
    return lessons[-MOST_ROWS:]
