"""Turn logged decisions into training examples. Training and the audit share this module, so that a replay does the same."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection

from app.deciding.snapshot import Candidates, compile_actions, compile_candidates
from app.deciding.store import decisions
from app.design.experiment_config import ActionSpec, ExperimentConfig, RewardSpec
from app.design.safety_config import SafetySpec
from app.design.store import feedback_schemas
from app.foundation.fields import JsonObject
from app.learning.store.training import Due, Outcome
from app.registry.store import experiments
from bandits.cost import cost_of
from bandits.distribution import FloatArray
from bandits.encoding import encode_context
from bandits.examples import Example, of_thinned
from bandits.feedback import Answer, reward_events
from bandits.formula import REWARD, clipped
from bandits.formula import parse as parse_formula
from bandits.imitation import imitated
from bandits.policy import BanditPolicy
from bandits.rewards import RewardEvent, join

SLICE = 500  # distributions read at once


class Configs:
    """The configurations of one experiment by version. Each is read and compiled once."""

    def __init__(self, connection: Connection, experiment_id: int) -> None:
        self._connection = connection
        self._experiment_id = experiment_id
        self._entries: dict[int, tuple[ExperimentConfig, Candidates, dict[str, str]]] = {}
        self._schemas: dict[int, JsonObject] = {feedback_schemas.NO_SCHEMA: {}}
        self._others: dict[int, Configs] = {}

    def of(self, due: Due) -> "Configs":
        """Return the configurations of a decision's own experiment, which for a warm start is another."""
        if due.source_id in (None, self._experiment_id):
            return self
        assert due.source_id is not None
        return self._others.setdefault(due.source_id, Configs(self._connection, due.source_id))

    def get(self, version: int) -> ExperimentConfig:
        """Return the configuration of this version."""
        return self._entry(version)[0]

    def feedback(self, version: int) -> JsonObject:
        """Return the feedback schema of this version. Under that of ``NO_SCHEMA``, no answer has a value."""
        if version not in self._schemas:
            self._schemas[version] = feedback_schemas.schema_of(self._connection, self._experiment_id, version)
        return self._schemas[version]

    def lines(self, version: int, actions: Any, eligible: list[str]) -> list[str]:
        """Return the encoded lines of a decision's eligible actions, in the order of ``eligible``."""
        if actions is None:
            _, candidates, by_id = self._entry(version)
            if eligible == candidates.ids:
                return candidates.lines
        else:
            compiled = compile_actions([ActionSpec.model_validate(action) for action in actions])
            by_id = dict(zip(compiled.ids, compiled.lines, strict=True))
        return [by_id[name] for name in eligible]

    def distributions(self, ids: list[str]) -> dict[str, FloatArray]:
        """Return the logged distributions by decision id. They are arrays to save memory: a round holds thousands."""
        distributions: dict[str, FloatArray] = {}
        for first in range(0, len(ids), SLICE):
            rows = decisions.distributions(self._connection, self._experiment_id, ids[first : first + SLICE])
            distributions |= {name: np.array(chances) for name, chances in rows.items()}
        return distributions

    def _entry(self, version: int) -> tuple[ExperimentConfig, Candidates, dict[str, str]]:
        if version not in self._entries:
            stored = experiments.config_of(self._connection, self._experiment_id, version)
            config = ExperimentConfig.model_validate(stored)
            candidates = compile_candidates(config)
            by_id = dict(zip(candidates.ids, candidates.lines, strict=True))
            self._entries[version] = (config, candidates, by_id)
        return self._entries[version]


def bounds_of(connection: Connection, experiment_id: int) -> SafetySpec:
    """Return what the newest configuration of an experiment does about data that cannot be trusted."""
    return ExperimentConfig.model_validate(experiments.by_id(connection, experiment_id).config).bounds


def outcome_of(due: Due, spec: RewardSpec, schema: Mapping[str, Any]) -> Outcome:
    """Join a decision's rewards, and its answers under a schema, into one reward; by the schema's formula if it has one."""
    events = implicit_events(due) + reward_events(schema, answers(due), spec.default)
    reward = join(events, spec.aggregation, spec.default, spec.min, spec.max)
    if "formula" not in schema:
        return Outcome(due, reward, len(events))
    formula = parse_formula(schema["formula"]["text"])
    sums = metric_sums(due, formula.names)
    value = formula.value({name: math.fsum(values) for name, values in sums.items()} | {REWARD: reward})
    reported = len(events) + sum(map(len, sums.values()))
    return Outcome(due, clipped(value, spec.default, spec.min, spec.max), reported)


def metric_sums(due: Due, names: Sequence[str]) -> dict[str, list[float]]:
    """Return what was reported in time of each of these metrics, without the reward itself."""
    wanted: dict[str, list[float]] = {name: [] for name in names if name != REWARD}
    for value, _, _, metric in due.rewards:
        if metric in wanted:
            wanted[metric].append(value)
    return wanted


def joined_reward(due: Due, configs: Configs, feedback_version: int) -> float:
    """Return the joined reward of a decision under the feedback schema of this version."""
    spec = configs.get(due.config_version).reward
    return outcome_of(due, spec, configs.feedback(feedback_version)).reward


def implicit_events(due: Due) -> list[RewardEvent]:
    """Return the rewards that the app reported in time."""
    return [
        RewardEvent(value, datetime.fromisoformat(at), reward_id)
        for value, at, reward_id, metric in due.rewards
        if metric == REWARD
    ]


def answers(due: Due) -> list[Answer]:
    """Return the answers that people gave in time."""
    return [Answer(kind, value, datetime.fromisoformat(at), name) for kind, value, at, name in due.feedback]


def examples_of(policy: BanditPolicy, learned: Sequence[tuple[Due, float]], configs: Configs) -> list[Example]:
    """Build training examples from decisions and their rewards. Slates learn from the whole logged distribution."""
    own = [due.id for due, _ in learned if due.mixture is None]
    chances = configs.distributions(own) if policy.slates else {}
    return [example_of(due, reward, configs, chances.get(due.id)) for due, reward in learned]


def example_of(due: Due, reward: float, configs: Configs, chances: FloatArray | None = None) -> Example:
    """Build one training example, with the distribution of the decision's own arm, or with that of all arms if it has one.

    Of a decision that its arm made as an apprentice, the example teaches the arm to do the same.

    :param chances: the whole logged distribution; only slates need it.
    """
    configs = configs.of(due)
    spec = configs.get(due.config_version).reward
    lines = configs.lines(due.config_version, due.actions, due.eligible)
    cost = cost_of(reward, spec.min, spec.max)
    shared = encode_context(due.context)
    if due.mixture is not None:
        chance = of_thinned(due.mixture[due.chosen], due.stands_for)
        return Example(shared, lines, due.chosen, chance, cost, np.array(due.mixture))
    example = Example(shared, lines, due.chosen, due.propensity, cost, chances)
    apprentice = any(arm.key == due.arm and arm.apprentice for arm in configs.get(due.config_version).arms)
    return imitated(example, due.id) if apprentice else example
