"""Makes the policies of an evaluation: the running policies, the standard comparisons, and candidates."""

from typing import NamedTuple

from sqlalchemy import Connection

from app.design.experiment_config import ExperimentConfig
from app.foundation.settings import Settings
from app.off_policy.evaluation_request import CandidateSpec
from app.off_policy.log_table import LogTable
from app.registry import signed_bytes as model_bytes
from app.registry.signed_bytes import ModelRefused
from app.registry.store import models
from app.registry.store.experiments import StoredExperiment
from bandits.model import Predictor, initial_model, learn
from bandits.policy import BanditPolicy, FixedPolicy, Policy, UniformPolicy, parse_policy
from experiments.validation import DataError


class Target(NamedTuple):
    """One policy to be evaluated."""

    name: str
    text: str  # what it is, in words
    policy: Policy
    predictor: Predictor | None
    features_off: tuple[str, ...]
    candidate: bool  # True: the search includes it and corrects for it


class Policies:
    """Builds targets for one experiment."""

    def __init__(
        self, connection: Connection, settings: Settings, experiment: StoredExperiment, config: ExperimentConfig
    ) -> None:
        self._connection = connection
        self._secret = settings.secret_key
        self._experiment = experiment
        self.config = config

    def standing(self, training: LogTable) -> list[Target]:
        """The policies in every table: the serving model of each learning arm, the control, uniform, best fixed action.

        An imported log has one arm. It stands for the system that decided there, and cannot be evaluated as a policy.
        """
        targets: list[Target] = []
        serving = {row.arm: row for row in models.serving(self._connection, experiment_id=self._experiment.id)}
        policies = {arm.key: parse_policy(arm.policy) for arm in self.config.arms}
        for arm, policy in policies.items():
            if isinstance(policy, BanditPolicy):
                number = serving[arm].number
                name = "running" if not targets else f"running:{arm}"
                text = f"model version {number} of arm {arm}, which serves now, unchanged"
                targets.append(Target(name, text, policy, self.version(arm, number), (), False))
        control = self.config.control.key
        if len(policies) > 1 and not isinstance(policies[control], BanditPolicy):
            targets.append(Target("control", f"the policy of arm {control}", policies[control], None, (), False))
        targets.append(Target("uniform", "every eligible action alike", UniformPolicy(), None, (), False))
        best = training.best_fixed()
        text = f"always {best.action}, the best single action of the earlier part"
        targets.append(Target("best_fixed", text, best, None, (), False))
        return targets

    def learning(self) -> list[str]:
        """Keys of the learning arms."""
        return [arm.key for arm in self.config.arms if isinstance(parse_policy(arm.policy), BanditPolicy)]

    def candidate(self, spec: CandidateSpec, training: LogTable) -> Target:
        """Make the target of a stored candidate; a policy that learns is trained on the earlier part.

        :raises DataError: its model version does not exist or is refused.
        """
        off = tuple(spec.features_off)
        if spec.model is not None:
            arm, number = str(spec.model["arm"]), int(str(spec.model["version"]))
            policy = self._policy(arm)
            text = f"model version {number} of arm {arm}"
            return Target(spec.key, text, policy, self.version(arm, number), off, True)
        defined = parse_policy(spec.policy or {})
        if isinstance(defined, FixedPolicy):
            return Target(spec.key, f"always {defined.action}", defined, None, off, True)
        if not isinstance(defined, BanditPolicy):
            return Target(spec.key, "every eligible action alike", defined, None, off, True)
        trained = learn(initial_model(defined), defined, training.examples(self.config, off))
        text = f"{defined.algorithm}, trained on the earlier {len(training)} decisions"
        return Target(spec.key, text, defined, Predictor(trained, defined), off, True)

    def _policy(self, arm: str) -> BanditPolicy:
        for spec in self.config.arms:
            policy = parse_policy(spec.policy)
            if spec.key == arm and isinstance(policy, BanditPolicy):
                return policy
        raise DataError(f"{arm!r} is not a learning arm", fix="name one of this experiment's learning arms")

    def version(self, arm: str, number: int) -> Predictor | None:
        """The predictor of a stored model version; null for the untrained model.

        :raises DataError: the version does not exist or is refused.
        """
        policy = self._policy(arm)
        info = models.find(self._connection, self._experiment.id, arm, number)
        if info is None:
            raise DataError(f"arm {arm!r} has no model version {number}", fix="see the policy's list of versions")
        if info.erased_at is not None:
            gone = f"version {number} of arm {arm!r} was forgotten: a unit that it had learned from was erased"
            raise DataError(gone, fix="name a version that is still there")
        if info.examples == 0:
            return None
        try:
            _, plain = model_bytes.load(self._connection, info.id, self._secret)
        except ModelRefused as error:
            raise DataError(str(error), fix="use the LOOPWISE_SECRET_KEY that signed it") from None
        return Predictor(plain, policy)
