"""Makes the policies of an evaluation: the running policies, the standard comparisons, and candidates.

A model must never be scored on a row that it has learned: on pure noise it would look good there. So what runs is scored
as it ran, each row by the version that served then. A policy that learns and never ran is trained again before each part
of the evaluated rows, on the rows before it. A stored version is scored on the rows after the last one that it learned.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from app.design.experiment_config import ExperimentConfig
from app.foundation.settings import Settings
from app.learning.examples import Configs
from app.off_policy.evaluation_request import CandidateSpec, blinkered, policy_of
from app.off_policy.log_table import LogTable
from app.off_policy.store.learned import Place, last_learned
from app.registry import signed_bytes as model_bytes
from app.registry.signed_bytes import ModelRefused
from app.registry.store import models
from app.registry.store.experiments import StoredExperiment
from app.registry.store.models import VersionInfo
from bandits.model import Predictor, initial_model, learn_forward, learn_onwards
from bandits.policy import BanditPolicy, FirstActionPolicy, FixedPolicy, Policy, UniformPolicy, parse_policy
from experiments.validation import DataError

STAGES = 10  # parts of the evaluated rows before each of which a policy that learns is trained again
FloatArray = NDArray[np.float64]
# How a policy is kept from being scored on what it learned, in words. Codes are stable.
BASIS = {
    "does_not_learn": "does not learn",
    "as_it_ran": "each decision by the version that served then, which had not learned from it",
    "earlier_part": "chosen on the earlier part",
    "trained_forward": f"trained again before each of {STAGES} parts, on the decisions before it",
    "later_decisions": "scored only on decisions after the last one that it or its ancestors learned from",
}


@dataclass
class Forward:
    """A policy that learns, trained forward in time as it would learn if it ran: in rounds, and from nothing when it wants to."""

    policy: BanditPolicy
    config: ExperimentConfig
    early: LogTable  # the earlier part
    rounds: list[int] = field(default_factory=list)  # how many decisions it learned at a time
    model: bytes = b""  # after all stages: it has learned all rows

    def stages(self, late: LogTable) -> Iterator[tuple[NDArray[np.int64], LogTable, Predictor]]:
        """Parts of the later rows, each with a model that learned every row before the part and none of it."""
        log = self.early.examples(self.config)
        self.rounds = [len(log)]
        model = learn_forward(initial_model(self.policy), self.policy, log, self.rounds)
        for rows in late.blocks(STAGES):
            part = late.take(rows)
            predictor = Predictor(model, self.policy)
            try:
                yield rows, part, predictor
            finally:
                predictor.close()
            new = part.examples(self.config)
            log += new
            self.rounds.append(len(new))
            if new:
                model = learn_onwards(model, self.policy, log, len(new))
        self.model = model

    def learn_all(self, late: LogTable) -> bytes:
        """The model that an evaluation over these rows ends with. It is learned again, and nothing is scored."""
        log = self.early.examples(self.config)
        self.rounds = [len(log)]
        for rows in late.blocks(STAGES):
            new = late.take(rows).examples(self.config)
            log += new
            self.rounds.append(len(new))
        self.model = learn_forward(initial_model(self.policy), self.policy, log, self.rounds)
        return self.model


class Target(NamedTuple):
    """One policy to be evaluated."""

    name: str
    text: str  # what it is, in words
    basis: str  # a key of BASIS
    policy: Policy
    features_off: tuple[str, ...] = ()
    candidate: bool = False  # True: the search includes it and corrects for it
    arm: str | None = None  # as_it_ran: the arm
    predictor: Predictor | None = None  # of a stored version; null: untrained
    after: Place | None = None  # later_decisions: the last one that it learned; null: it learned none
    forward: Forward | None = None  # trained_forward

    def may_score(self, late: LogTable) -> NDArray[np.bool_]:
        """The rows that it has not learned and could have decided, shape (n,)."""
        if self.arm is not None:
            return np.asarray(late.arms[self.arm].sum(axis=1) > 0)  # the arm existed
        if self.after is None:
            return np.ones(len(late), dtype=bool)
        return np.array([(row.decided_at, row.id) > self.after for row in late.rows])

    def probabilities(self, late: LogTable, tick: Callable[[int], None]) -> FloatArray:
        """Its distribution on rows that it may score, shape (n, K). Rows are all later ones unless it may not score all."""
        if self.arm is not None:
            return late.arms[self.arm]
        if self.forward is None:
            return late.probabilities(self.policy, self.predictor, tick)
        table, done = np.zeros_like(late.logged), 0
        for rows, part, predictor in self.forward.stages(late):
            chances = part.probabilities(self.policy, predictor, partial(_shifted, tick, done))
            table[rows] = chances
            done += len(rows)
        return table


def _shifted(tick: Callable[[int], None], done: int, row: int) -> None:
    tick(done + row)


def learning_arms(config: ExperimentConfig) -> list[str]:
    """Keys of the learning arms of a configuration."""
    return [arm.key for arm in config.arms if isinstance(parse_policy(arm.policy), BanditPolicy)]


class Policies:
    """Builds targets for one experiment."""

    def __init__(
        self, connection: Connection, settings: Settings, experiment: StoredExperiment, config: ExperimentConfig
    ) -> None:
        self._connection = connection
        self._secret = settings.secret_key
        self._experiment = experiment
        self.config = config
        self.configs = Configs(connection, experiment.id)

    def standing(self, training: LogTable) -> list[Target]:
        """The policies in every table: each learning arm as it ran, the control, uniform, best fixed action.

        An imported log has one arm. It stands for the system that decided there, and cannot be evaluated as a policy.
        """
        targets: list[Target] = []
        policies = {arm.key: parse_policy(arm.policy) for arm in self.config.arms}
        for arm, policy in policies.items():
            if isinstance(policy, BanditPolicy):
                name = "running" if not targets else f"running:{arm}"
                targets.append(Target(name, f"arm {arm} as it ran, learning on the way", "as_it_ran", policy, arm=arm))
        control = self.config.control.key
        if len(policies) > 1 and not isinstance(policies[control], BanditPolicy):
            targets.append(Target("control", f"the policy of arm {control}", "does_not_learn", policies[control]))
        targets.append(Target("uniform", "every eligible action alike", "does_not_learn", UniformPolicy()))
        best = training.best_fixed()
        text = f"always {best.action}, the best single action of the earlier part"
        targets.append(Target("best_fixed", text, "earlier_part", best))
        return targets

    def learning(self) -> list[str]:
        """Keys of the learning arms."""
        return learning_arms(self.config)

    def candidate(self, spec: CandidateSpec, training: LogTable) -> Target:
        """Make the target of a stored candidate; a policy that learns begins with the earlier part.

        :raises DataError: its model version does not exist or is refused.
        """
        off = tuple(spec.features_off)
        if spec.model is not None:
            return self._stored(spec.key, str(spec.model["arm"]), int(str(spec.model["version"])), off)
        defined = policy_of(spec)
        if isinstance(defined, FixedPolicy):
            return Target(spec.key, f"always {defined.action}", "does_not_learn", defined, off, True)
        if isinstance(defined, FirstActionPolicy):
            return Target(spec.key, "the first action of each call", "does_not_learn", defined, off, True)
        if not isinstance(defined, BanditPolicy):
            return Target(spec.key, "every eligible action alike", "does_not_learn", defined, off, True)
        off = defined.features_off
        forward = Forward(defined, self.config, training)
        text = f"learns with {defined.algorithm}"
        return Target(spec.key, text, "trained_forward", defined, off, True, forward=forward)

    def _stored(self, key: str, arm: str, number: int, off: tuple[str, ...]) -> Target:
        policy, info = self.served(arm, off), self._info(arm, number)
        predictor, after = self._load(info, policy), last_learned(self._connection, info.id)
        text = f"model version {number} of arm {arm}, unchanged"
        return Target(key, text, "later_decisions", policy, off, True, predictor=predictor, after=after)

    def served(self, arm: str, off: tuple[str, ...]) -> BanditPolicy:
        """The policy of an arm that serves one of another arm's versions, and learns nothing.

        :raises DataError: the other is not a learning arm.
        """
        return replace(blinkered(self.policy(arm), off), learns=False)

    def policy(self, arm: str) -> BanditPolicy:
        """A learning arm's policy. Raises `DataError` for any other name."""
        for spec in self.config.arms:
            policy = parse_policy(spec.policy)
            if spec.key == arm and isinstance(policy, BanditPolicy):
                return policy
        raise DataError(f"{arm!r} is not a learning arm", fix="name one of this experiment's learning arms")

    def version(self, arm: str, number: int) -> Predictor | None:
        """The predictor of a stored model version; null for the untrained model.

        :raises DataError: the version does not exist or is refused.
        """
        return self._load(self._first(self._info(arm, number)), self.policy(arm))

    def _first(self, info: VersionInfo) -> VersionInfo:
        """The version that an arm began with: a staged candidate never served untrained."""
        if info.number or info.parent_id is not None:
            return info
        return models.begun_with(self._connection, info.experiment_id, info.arm) or info

    def _load(self, info: VersionInfo, policy: BanditPolicy) -> Predictor | None:
        if info.forgotten:
            gone = (
                f"version {info.number} of arm {info.arm!r} was forgotten: a unit that it had learned from was erased"
            )
            raise DataError(gone, fix="name a version that is still there")
        if info.examples == 0:
            return None
        try:
            _, plain = model_bytes.load(self._connection, info.id, self._secret)
        except ModelRefused as error:
            raise DataError(str(error), fix="use the LOOPWISE_SECRET_KEY that signed it") from None
        return Predictor(plain, policy)

    def _info(self, arm: str, number: int) -> VersionInfo:
        info = models.find(self._connection, self._experiment.id, arm, number)
        if info is None:
            raise DataError(f"arm {arm!r} has no model version {number}", fix="see the policy's list of versions")
        return info
