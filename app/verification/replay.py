"""Replay: everything about one decision, and whether it can be recomputed to the same values.

If it cannot be recomputed (an imported decision, a missing model), the reason is shown; the rest stays visible.
"""

from typing import NamedTuple

from sqlalchemy import Connection, Engine

from app.accounts.store import keys
from app.content.composition import SlotAnswer, slots_of
from app.deciding.store import decisions
from app.deciding.store.decisions import StoredDecision
from app.deciding.windows.targets import counts_of
from app.design.experiment_config import ActionSpec, ExperimentConfig
from app.design.store import feedback_schemas
from app.foundation.errors import NotFound
from app.foundation.settings import Settings
from app.foundation.store.engine import transaction
from app.learning.examples import Configs, joined_reward
from app.learning.store import feedback
from app.learning.store.feedback import StoredFeedback
from app.learning.store.rewards import StoredReward
from app.learning.store.training import Due
from app.registry.lookup import stored_experiment
from app.registry.store import holdouts, models
from app.registry.store.experiments import StoredExperiment
from app.registry.store.models import VersionInfo
from app.verification.recompute import (
    FAILURES,
    Check,
    check_choice,
    check_drawn,
    check_holdout,
    check_identity,
    check_seal,
    load_model,
    needs_model,
    offered,
    policy_of,
)
from app.verification.store import browse as store
from app.verification.store.browse import Learned, Settled
from bandits.contributions import MOST, Choice, Contribution, contributions, names_of
from bandits.model import Predictor
from bandits.policy import BanditPolicy, Policy

EVENTS = 200  # reward events shown


class Recomputed(NamedTuple):
    """The recomputed decision."""

    checks: list[Check]
    problem: str  # why the choice cannot be recomputed; empty: it was
    contributions: list[Contribution]
    fields: int  # features that the chosen action and the context have; the first MOST are looked at
    learns: bool  # the arm's policy learns, and had a trained model
    forgotten: str = ""  # "person": everything that pointed to the unit was erased; "model": the model was

    @property
    def same(self) -> bool:
        """True when everything that is still known was recomputed and is equal."""
        return not self.problem and all(check.same for check in self.checks)


class Rewards(NamedTuple):
    """The rewards and the learning of the decision."""

    events: list[StoredReward]
    feedback: list[StoredFeedback]  # explicit answers of people
    settled: Settled | None
    so_far: (
        float | None
    )  # the reward that the timely events give by the experiment's rule; null: not all events are shown
    learned: Learned | None
    serving: int | None  # number of the version that serves its arm now
    serves_it: (
        bool | None
    )  # that version descends from the version that learned it; null: they are too far apart to know


class Replay(NamedTuple):
    """One decision."""

    row: StoredDecision
    config: ExperimentConfig  # as it was then
    config_is_current: bool
    action: ActionSpec | None  # the chosen one
    below: float  # the draw chose the action because it lies between this ...
    above: float  # ... and this value on the cumulative scale
    key_name: str | None
    version: VersionInfo | None
    rewards: Rewards
    recomputed: Recomputed | None  # null: imported, not made here
    slots: list[SlotAnswer]  # of a composed message: the choice of each slot; see ``composition.slots_of``


def replay(engine: Engine, settings: Settings, key: str, decision_id: str) -> Replay:
    """Everything about one decision.

    :raises NotFound: no such experiment, or it has no such decision.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        row = None if "\0" in decision_id else decisions.find(connection, (experiment.id, decision_id))
        if row is None:
            message = f"Experiment {key!r} has no decision {decision_id!r}, or it was erased with its unit."
            raise NotFound("unknown_decision", message)
        configs = Configs(connection, experiment.id)
        config = configs.get(row.config_version)
        version = None  # of an imported decision, and of one for which no model could be used
        if row.policy_sha256:
            version = models.find(connection, experiment.id, row.arm, row.policy_version)
        action = _action(row, config)
        recomputed = None
        if row.state != "imported":
            recomputed = _recomputed(
                connection, settings.secret_key, experiment, configs, row=row, version=version, action=action
            )
        key_row = keys.find(connection, row.key_id)
        chances = [chance or 0.0 for chance in row.distribution]  # an imported log may not hold them all
        return Replay(
            row=row,
            config=config,
            config_is_current=row.config_version == experiment.config_version,
            action=action,
            below=sum(chances[: row.chosen]),
            above=sum(chances[: row.chosen + 1]),
            key_name=None if key_row is None else key_row.name,
            version=version,
            rewards=_rewards(connection, experiment, row, configs),
            recomputed=recomputed,
            slots=slots_of(row.eligible, chances, row.chosen) if config.composition and row.state != "imported" else [],
        )


def _action(row: StoredDecision, config: ExperimentConfig) -> ActionSpec | None:
    """The chosen action with its features, from the call or from the configuration."""
    actions = (
        config.all_actions() if row.actions is None else [ActionSpec.model_validate(action) for action in row.actions]
    )
    name = row.eligible[row.chosen] if 0 <= row.chosen < len(row.eligible) else None
    return next((action for action in actions if action.id == name), None)


def _recomputed(
    connection: Connection,
    secret: str,
    experiment: StoredExperiment,
    configs: Configs,
    *,
    row: StoredDecision,
    version: VersionInfo | None,
    action: ActionSpec | None,
) -> Recomputed:
    config, salt = configs.get(row.config_version), bytes(experiment.salt)
    if row.erased_at is not None:
        return Recomputed([check_seal(secret, row), *check_drawn(row)], "", [], 0, False, "person")
    held = {version.version: version for version in holdouts.versions(connection)}
    checks = [*check_identity(secret, salt, config, row), check_holdout(secret, held, row)]
    if version is not None and version.erased_at is not None:
        return Recomputed([*checks, *check_drawn(row)], "", [], 0, True, "model")
    predictor: Predictor | None = None
    policy: Policy | None = None
    shares: list[Contribution] = []
    fields, problem = 0, ""
    try:
        policy = policy_of(config, row)
        predictor = _predictor(connection, secret, policy, version, row)
        actions = offered(configs, row)
        _, of_choice = check_choice(salt, policy, predictor, actions, row)
        checks += of_choice
        if predictor is not None and action is not None:
            features = {} if config.composition else action.features  # a part's features do not come without the part
            fields = len(names_of(row.context)) + len(names_of(features))
            counts = counts_of(row.counted, row.arm)
            choice = Choice(row.context, features, actions.lines, row.eligible, row.chosen, actions.above, counts)
            shares = contributions(policy, predictor, choice)
    except FAILURES as error:
        problem = str(error.args[0]) if error.args else str(error)
    finally:
        if predictor is not None:
            predictor.close()
    return Recomputed(checks, problem, shares, fields, predictor is not None)


def _predictor(
    connection: Connection, secret: str, policy: Policy, version: VersionInfo | None, row: StoredDecision
) -> Predictor | None:
    if not isinstance(policy, BanditPolicy) or not needs_model(policy, row):
        return None
    if version is None:
        raise LookupError(f"model version {row.policy_version} of arm {row.arm!r} is not stored any more")
    return load_model(connection, secret, policy, version, row)


def _rewards(connection: Connection, experiment: StoredExperiment, row: StoredDecision, configs: Configs) -> Rewards:
    events = store.events(connection, *row.key, EVENTS + 1)
    serving = {lineage.arm: lineage for lineage in models.serving(connection, experiment_id=experiment.id)}.get(row.arm)
    learned = store.learned(connection, experiment.id, row.arm, row.id)
    serves_it = None
    if learned is not None and serving is not None:
        serves_it = store.descends(connection, serving.version_id, learned.version_id)
    feedback_rows = feedback.of_decision(connection, row.key, EVENTS + 1)
    settled = store.settled(connection, experiment.id, row.id)
    so_far = None
    if len(events) <= EVENTS and len(feedback_rows) <= EVENTS:
        timely = [event for event in events if not event.late]
        schema = settled.feedback_version if settled else feedback_schemas.applied_version(connection, experiment.id)
        so_far = joined_reward(
            _due(row, timely, [answer for answer in feedback_rows if not answer.late]), configs, schema
        )
    number = None if serving is None else serving.number
    return Rewards(events[:EVENTS], feedback_rows[:EVENTS], settled, so_far, learned, number, serves_it)


def _due(row: StoredDecision, events: list[StoredReward], feedback_rows: list[StoredFeedback]) -> Due:
    rewards = [[event.value, event.occurred_at.isoformat(), event.reward_id, event.metric] for event in events]
    answers = [
        [answer.kind, answer.value, answer.occurred_at.isoformat(), answer.feedback_id] for answer in feedback_rows
    ]
    other = ("rewards", "feedback", "refused", "stands_for", "mixture", "source_id")
    own = {name: getattr(row, name) for name in Due._fields if name not in other}
    return Due(**own, rewards=rewards, feedback=answers, refused=list(row.withheld or []), stands_for=None)


__all__ = ["EVENTS", "MOST", "Recomputed", "Replay", "Rewards", "replay"]
