"""The service configuration and the policy of that service, mapped to the experiment of the key."""

from datetime import timedelta
from typing import Final, Literal

from flask import Response
from pydantic import Field, TypeAdapter

from app.accounts.api.auth import caller, needs
from app.design import experiments
from app.design.experiment_config import ArmSpec, ExperimentConfig
from app.design.life import approvals
from app.foundation.api.respond import as_json
from app.foundation.errors import Unprocessable
from app.foundation.fields import JsonObject
from app.foundation.serving import process
from app.registry.store.experiments import StoredExperiment
from app.web.api.personalizer.learning_settings import as_arguments, as_policy
from app.web.api.personalizer.shapes import Theirs, blueprint, bound_experiment, not_here
from bandits.policy import BanditPolicy, FirstActionPolicy, FixedPolicy, Policy, UniformPolicy, parse_policy

DAY_S: Final = 86_400.0
_DURATION: Final = TypeAdapter(timedelta)
_EARLIEST: Final = "earliest"  # their name for our aggregation `first`
LearningMode = Literal["Online", "Apprentice", "LoggingOnly"]


class ServiceConfiguration(Theirs):
    """A field that is left out, or null, stays as it is."""

    rewardWaitTime: timedelta | None = Field(default=None, description="Our reward window.")
    defaultReward: float | None = Field(default=None, allow_inf_nan=False)
    rewardAggregation: Literal["earliest", "sum", "max", "mean", "first", "last"] | None = None
    explorationPercentage: float | None = Field(default=None, description="Our exploration floor, from 0 to 1.")
    modelExportFrequency: timedelta | None = None
    logRetentionDays: int | None = Field(default=None, description="-1: for ever. Otherwise our retention.")
    learningMode: LearningMode | None = None
    isAutoOptimizationEnabled: bool | None = None
    logMirrorEnabled: bool | None = None
    modelRetrainDays: int | None = None


class PolicyContract(Theirs):
    name: str = Field(default="", max_length=200)
    arguments: str = Field(max_length=4000, description="In the words of Vowpal Wabbit, from a list.")


class PolicyReference(Theirs):
    evaluationId: str
    policyName: str


@blueprint.get("/configurations/service", responses={200: ServiceConfiguration})
@needs("read")
def service_configuration() -> Response:
    """The experiment in the words of that service."""
    return as_json(_shown(bound_experiment()))


@blueprint.put("/configurations/service", responses={200: ServiceConfiguration})
@needs("manage")
def update_service_configuration(body: ServiceConfiguration) -> Response:
    """Change the experiment. What an experiment that has run keeps, and what Loopwise has not, is refused in words."""
    before = bound_experiment()
    _refuse_others(body, ServiceConfiguration.model_validate(_shown(before)))
    return as_json(_shown(_change(before, _patch(body, ExperimentConfig.model_validate(before.config)))))


@blueprint.get("/configurations/policy", responses={200: PolicyContract})
@needs("read")
def policy() -> Response:
    """The policy of the arm that learns."""
    return as_json(_contract(bound_experiment()))


@blueprint.put("/configurations/policy", responses={200: PolicyContract})
@needs("manage")
def update_policy(body: PolicyContract) -> Response:
    """Replace the policy of the arm that learns; only before the experiment has run."""
    before = bound_experiment()
    if body.arguments.split() == as_arguments(_policy_of(before)).split():
        return as_json(_contract(before))
    return as_json(_contract(_change(before, _with_policy(before, as_policy(body.arguments)))))


@blueprint.delete("/configurations/policy", responses={200: PolicyContract})
@needs("manage")
def reset_policy() -> Response:
    """Replace the policy of the arm that learns by the default one; only before the experiment has run."""
    before = bound_experiment()
    return as_json(_contract(_change(before, _with_policy(before, {"type": "bandit"}))))


@blueprint.post("/configurations/applyFromEvaluation", responses={204: None})
@needs("manage")
def apply_from_evaluation(body: PolicyReference) -> Response:
    """Nothing is applied: an evaluation is a question, and what wins is tried on a part of the units first."""
    raise not_here(
        f"An evaluation changes nothing that runs. Give {body.policyName[:100]!r} a share of the units: "
        "POST /v1/experiments/KEY/candidates/CANDIDATE/stage, or the page Off-policy; ship it when it wins."
    )


def _shown(experiment: StoredExperiment) -> JsonObject:
    config = ExperimentConfig.model_validate(experiment.config)
    reward, days = config.reward, -1 if config.retention_s is None else round(config.retention_s / DAY_S)
    return {
        "rewardWaitTime": _duration(reward.window_s),
        "defaultReward": reward.default,
        "rewardAggregation": _EARLIEST if reward.aggregation == "first" else reward.aggregation,
        "explorationPercentage": _exploration(_policy_of(experiment)),
        "modelExportFrequency": _duration(process().settings.beat_interval_s),
        "logRetentionDays": days,
        "learningMode": _mode(config),
        "isAutoOptimizationEnabled": False,
        "logMirrorEnabled": False,
        "modelRetrainDays": 0,
    }


def _mode(config: ExperimentConfig) -> LearningMode:
    learning = [arm for arm in config.arms if isinstance(parse_policy(arm.policy), BanditPolicy)]
    if not learning:
        return "LoggingOnly"
    return "Apprentice" if all(arm.apprentice for arm in learning) else "Online"


def _exploration(policy: Policy) -> float:
    if isinstance(policy, BanditPolicy):
        return policy.exploration_floor
    return 1.0 if isinstance(policy, UniformPolicy) else 0.0


def _duration(seconds: float) -> str:
    return str(_DURATION.dump_python(timedelta(seconds=seconds), mode="json"))


def _refuse_others(body: ServiceConfiguration, shown: ServiceConfiguration) -> None:
    """Refuse what Loopwise has not, unless it is sent as it was read."""
    advice = {
        "modelExportFrequency": "Models learn whenever rewards are final; LOOPWISE_BEAT_INTERVAL_S says how often is looked.",
        "isAutoOptimizationEnabled": "Nothing changes by itself. Evaluate candidates, stage one, and ship it when it wins.",
        "logMirrorEnabled": "The log is in your own PostgreSQL. `loopwise export` and GET /v1/decisions read it.",
        "modelRetrainDays": "POST /v1/experiments/KEY/policy/rebuild learns again from the whole log.",
    }
    for name, words in advice.items():
        wanted = getattr(body, name)
        if wanted is not None and wanted != getattr(shown, name):
            raise not_here(f"Loopwise has no {name}. {words}")
    modes = (body.learningMode, shown.learningMode)
    if None not in modes and len(set(modes)) > 1 and "LoggingOnly" in modes:
        raise not_here(
            f"An arm learns or does not, so the mode {modes[1]} does not become {modes[0]}. Give another arm of the experiment "
            "the units: PATCH /v1/experiments/KEY."
        )


def _patch(body: ServiceConfiguration, config: ExperimentConfig) -> JsonObject:
    reward = config.reward.model_dump(mode="json")
    if body.rewardWaitTime is not None:
        reward["window_s"] = body.rewardWaitTime.total_seconds()
    if body.defaultReward is not None:
        reward["default"] = body.defaultReward
    if body.rewardAggregation is not None:
        reward["aggregation"] = "first" if body.rewardAggregation == _EARLIEST else body.rewardAggregation
    patch: JsonObject = {"reward": reward}
    if body.explorationPercentage is not None or body.learningMode not in (None, _mode(config)):
        patch["arms"] = [_patched(arm, body) for arm in config.arms]
    if body.logRetentionDays is not None:
        patch["retention_s"] = None if body.logRetentionDays == -1 else body.logRetentionDays * DAY_S
    return patch


def _patched(arm: ArmSpec, body: ServiceConfiguration) -> JsonObject:
    document = arm.model_dump(mode="json")
    if body.explorationPercentage is not None:
        document["policy"] = _explored(arm.policy, body.explorationPercentage)
    if body.learningMode is not None and isinstance(parse_policy(arm.policy), BanditPolicy):
        document["apprentice"] = body.learningMode == "Apprentice"
    return document


def _explored(policy: JsonObject, share: float) -> JsonObject:
    parsed = parse_policy(policy)
    if not isinstance(parsed, BanditPolicy) or parsed.exploration_floor == share:
        return policy
    return {name: value for name, value in policy.items() if name != "exploration_floor_start"} | {
        "exploration_floor": share
    }


def _policy_of(experiment: StoredExperiment) -> Policy:
    """The policy of the first arm that learns; without one, of the first arm."""
    policies = [parse_policy(arm.policy) for arm in ExperimentConfig.model_validate(experiment.config).arms]
    return next((policy for policy in policies if isinstance(policy, BanditPolicy)), policies[0])


def _contract(experiment: StoredExperiment) -> JsonObject:
    found = _policy_of(experiment)
    name = found.algorithm if isinstance(found, BanditPolicy) else "uniform"
    if isinstance(found, FixedPolicy):
        name = f"always {found.action}"
    if isinstance(found, FirstActionPolicy):
        name = "first action"
    return {"name": name, "arguments": as_arguments(found)}


def _with_policy(experiment: StoredExperiment, policy: JsonObject) -> JsonObject:
    config = ExperimentConfig.model_validate(experiment.config)
    learning = [arm.key for arm in config.arms if isinstance(parse_policy(arm.policy), BanditPolicy)]
    if len(learning) != 1:
        raise Unprocessable(
            "not_in_loopwise",
            f"The experiment has {len(learning)} arms that learn, and a policy of that service is for one. "
            "Change the arms by PATCH /v1/experiments/KEY.",
        )
    arms = [arm.model_dump(mode="json") | ({"policy": policy} if arm.key in learning else {}) for arm in config.arms]
    return {"arms": arms}


def _change(before: StoredExperiment, patch: JsonObject) -> StoredExperiment:
    at = process()
    if before.started_at is not None:
        approvals.refuse_alone(at.settings)
    after = experiments.change(
        at.engine, at.settings, before.key, patch, caller().key_id, expected_version=before.config_version
    )
    at.refresh()
    return after
