"""The rules of an experiment's arms, part by part. They report all errors at once."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from app.design.experiment_config import SHARE_TOLERANCE, ArmSpec, ExperimentConfig, FallbackSpec, lineages
from app.foundation.errors import FieldError
from bandits.policy import FixedPolicy, PolicyError, learning_part, parse_policy


class ArmParts(NamedTuple):
    """An arm as far as it can be read; null: that part cannot, or it is not there."""

    key: str | None
    share: float | None
    policy: dict[str, JsonValue] | None
    lineage_of: str | None
    fallback: FallbackSpec | None
    apprentice: bool | None


def problems(
    control: object, arms: Sequence[ArmParts], ids: set[str] | None, composed: bool, *, promoted: bool = False
) -> Iterator[FieldError]:
    """Keys, policies, shares, the control, and lineages.

    :param promoted: true: one arm is shipped or on its way there, so that equal runs need not have equal shares.
    """
    keys = [arm.key for arm in arms]
    for index, arm in enumerate(arms):
        if arm.key is not None and keys.index(arm.key) != index:
            yield FieldError(f"/arms/{index}/key", "arm_key_repeated")
        if arm.policy is not None:
            yield from _policy_problems(f"/arms/{index}/policy", arm.policy, ids, composed)
        if arm.fallback is not None:
            yield from _fallback_problems(f"/arms/{index}/fallback", arm, ids, composed)
        if arm.apprentice and arm.policy is not None and arm.policy.get("type") != "bandit":
            yield FieldError(f"/arms/{index}/apprentice", "apprentice_learns_not")
    shares = [arm.share for arm in arms if arm.share is not None]
    total = math.fsum(shares)
    if arms and len(shares) == len(arms) and abs(total - 1) > SHARE_TOLERANCE:
        yield FieldError("/arms", "shares_sum", {"total": total, "whole": 1})
    if control is not None and None not in keys and control not in keys:
        yield FieldError("/control_arm", "unknown_arm", {"known": keys})
    yield from _lineage_problems(control if control is not None else next(iter(keys), None), arms, promoted)


def _lineage_problems(control: object, arms: Sequence[ArmParts], promoted: bool) -> Iterator[FieldError]:
    """What keeps arms from being independent runs of one way of learning."""
    first: dict[str, ArmParts] = {}
    names = [arm.lineage_of for arm in arms]
    for index, arm in enumerate(arms):
        name = arm.lineage_of
        if name is None:
            continue
        of = first.setdefault(name, arm)
        path, params = f"/arms/{index}/lineage_of", {"lineage": name}
        if arm.policy is not None and arm.policy.get("type") != "bandit":
            yield FieldError(path, "lineage_learns_not")
        elif arm.key is not None and arm.key == control:
            yield FieldError(path, "lineage_is_control")
        elif names.count(name) < 2:
            yield FieldError(path, "lineage_alone", params)
        elif arm.policy != of.policy or arm.apprentice != of.apprentice or (arm.share != of.share and not promoted):
            yield FieldError(path, "lineage_differs", params)


def changed_lineages(old: Sequence[ArmSpec], new: Sequence[ArmSpec]) -> Iterator[FieldError]:
    """Lineages whose arms a change would exchange: an arm that joins later has learned for a shorter time."""
    before, after, known = lineages(old), lineages(new), {arm.key for arm in old}
    for name in {**before, **after}:
        members = after.get(name, [])
        if set(members) != set(before.get(name, [])) and (name in before or known & set(members)):
            index = next((index for index, arm in enumerate(new) if arm.lineage_of == name), None)
            path = "/arms" if index is None else f"/arms/{index}/lineage_of"
            yield FieldError(path, "lineage_fixed", {"lineage": name})


def changed_arms(old: ExperimentConfig, new: ExperimentConfig) -> Iterator[FieldError]:
    """What a change may not do to arms that have run; while one is shipped or on its way there, shares are not to be changed."""
    places = {arm.key: index for index, arm in enumerate(new.arms)}
    promoted = old.shipped or old.ramp
    for arm in old.arms:
        index = places.get(arm.key)
        if index is None:
            yield FieldError("/arms", "arm_has_decisions", {"arm": arm.key})
            continue
        if learning_part(parse_policy(new.arms[index].policy)) != learning_part(parse_policy(arm.policy)):
            yield FieldError(f"/arms/{index}/policy", "policy_fixed", {"arm": arm.key})
        if promoted and new.arms[index].share != arm.share:
            yield FieldError(f"/arms/{index}/share", "shares_promoted", {"arm": promoted.arm})


def _fallback_problems(path: str, arm: ArmParts, ids: set[str] | None, composed: bool) -> Iterator[FieldError]:
    """A fallback is trusted because it does not learn, and only an arm that learns needs one."""
    if arm.policy is not None and arm.policy.get("type") != "bandit":
        yield FieldError(path, "fallback_learns_not")
    to = arm.fallback.to if arm.fallback else None
    if to is not None and to.get("type") == "bandit":
        yield FieldError(f"{path}/to", "fallback_learns")
    elif to is not None:
        yield from _policy_problems(f"{path}/to", to, ids, composed)


def _policy_problems(
    path: str, document: dict[str, JsonValue], ids: set[str] | None, composed: bool
) -> Iterator[FieldError]:
    if document.get("type") == "bandit" and bool(document.get("slates", composed)) != composed:
        yield FieldError(f"{path}/slates", "slates_without_composition")
    try:
        policy = parse_policy({"slates": composed, **document} if document.get("type") == "bandit" else document)
    except PolicyError as error:
        yield from (FieldError(f"{path}{problem.path}", problem.code, problem.params) for problem in error.problems)
        return
    if isinstance(policy, FixedPolicy) and ids and policy.action not in ids:
        yield FieldError(f"{path}/action", "unknown_action")
