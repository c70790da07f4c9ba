"""What decides in a learning arm: the policy that it learns, or for a while the one that a person trusts."""

from dataclasses import replace

from app.design.experiment_config import ArmSpec, ExperimentConfig, FallbackSpec
from bandits.policy import BanditPolicy, FirstActionPolicy, FixedPolicy, Policy, UniformPolicy, parse_policy

Trusted = FixedPolicy | UniformPolicy | FirstActionPolicy


def policy_in_force(config: ExperimentConfig, arm: ArmSpec) -> Policy:
    """The policy that decides under a configuration. Serving, audit and evaluations all ask here."""
    policy, trusted = parse_policy(arm.policy), trusted_policy(config, arm)
    if isinstance(policy, BanditPolicy) and arm.apprentice:
        return replace(policy, instead=FirstActionPolicy(), probe=0.0)
    if isinstance(policy, BanditPolicy) and arm.fallen_back and trusted is not None:
        return replace(policy, instead=trusted, probe=rule_of(arm).probe)
    return policy


def trusted_policy(config: ExperimentConfig, arm: ArmSpec) -> Trusted | None:
    """What an arm falls back to; None: it does not learn, or names nothing and the control learns, too."""
    if not isinstance(parse_policy(arm.policy), BanditPolicy):
        return None
    policy = parse_policy(rule_of(arm).to or config.control.policy)
    return None if isinstance(policy, BanditPolicy) else policy


def rule_of(arm: ArmSpec) -> FallbackSpec:
    """The arm's rule, or the default one."""
    return arm.fallback or FallbackSpec()
