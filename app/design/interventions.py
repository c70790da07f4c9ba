"""Changes that the platform makes by a person's rule, each a version of the configuration, and the way back of each.

They work within the transaction of a larger use case.
"""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection

from app.design.experiment_config import ExperimentConfig
from app.design.experiments import concluded
from app.design.fallbacks import trusted_policy
from app.foundation.errors import Conflict, FieldError, NotFound
from app.foundation.fields import JsonObject, invalid
from app.foundation.store import platform
from app.registry.lookup import stored_experiment
from app.registry.store import experiments as store
from app.registry.store.experiments import StoredExperiment


class Trail(NamedTuple):
    """What changed, by whom and why, as the trail of changes has it."""

    kind: str
    actor: str
    reason: str
    before: JsonObject
    after: JsonObject


def set_fallen_back(
    connection: Connection, key: str, arm: str, fallen: bool, *, actor: str, reason: str
) -> StoredExperiment:
    """Let an arm's fallback decide, or its learned policy again: the next version of the configuration says so.

    :raises NotFound: no such experiment, or it has no such arm.
    :raises Conflict: that one decides already, or the arm has no fallback.
    """
    revision = platform.next_revision(connection)
    before = stored_experiment(connection, key, lock=True)
    config = ExperimentConfig.model_validate(before.config)
    spec = next((each for each in config.arms if each.key == arm), None)
    if spec is None:
        raise NotFound("unknown_arm", f"Experiment {key!r} has no arm {arm!r}.")
    if trusted_policy(config, spec) is None:
        raise Conflict("no_fallback", f"Arm {arm!r} has no fallback: name one in its definition.")
    if spec.apprentice:
        raise Conflict("apprentice_decides", f"Arm {arm!r} is an apprentice: the first action of each call is shown.")
    if spec.fallen_back == fallen:
        raise Conflict(
            "fallback_unchanged", f"The {'fallback' if fallen else 'learned policy'} of arm {arm!r} decides already."
        )
    spec.fallen_back = fallen
    kind, old = "fell_back" if fallen else "restored", {"arm": arm, "fallen_back": not fallen}
    trail = Trail(kind, actor, reason, old, old | {"fallen_back": fallen})
    return _add_version(connection, before, config, revision, trail)


def set_apprentice(
    connection: Connection, key: str, arm: str, apprentice: bool, *, actor: str, reason: str
) -> StoredExperiment:
    """Switch an apprentice on, or make an arm one, with the other arms of its lineage. The next configuration says so.

    :raises NotFound: no such experiment, or it has no such arm.
    :raises Conflict: nothing would change, or the experiment is concluded.
    :raises Unprocessable: the arm does not learn.
    """
    revision = platform.next_revision(connection)
    before = stored_experiment(connection, key, lock=True)
    config = ExperimentConfig.model_validate(before.config)
    index, spec = next(((at, each) for at, each in enumerate(config.arms) if each.key == arm), (0, None))
    if spec is None:
        raise NotFound("unknown_arm", f"Experiment {key!r} has no arm {arm!r}.")
    if before.status == "concluded":
        raise concluded()
    if spec.policy.get("type") != "bandit":
        raise invalid((FieldError(f"/arms/{index}/apprentice", "apprentice_learns_not"),))
    if spec.apprentice == apprentice:
        state = "an apprentice already" if apprentice else "no apprentice: what it learned decides already"
        raise Conflict("apprentice_unchanged", f"Arm {arm!r} is {state}.")
    changed = [each for each in config.arms if each is spec or (spec.lineage_of and each.lineage_of == spec.lineage_of)]
    for each in changed:
        each.apprentice = apprentice
    kind = "apprentice" if apprentice else "switched_on"
    old: JsonObject = {"arms": [each.key for each in changed], "apprentice": not apprentice}
    trail = Trail(kind, actor, reason, old, old | {"apprentice": apprentice})
    return _add_version(connection, before, config, revision, trail)


def stop_arm(connection: Connection, key: str, arm: str, *, actor: str, reason: str) -> dict[str, float]:
    """Give the share of an arm to the control, and those of the arms of its lineage, which have equal shares.

    :returns: the shares that the stopped arms had.
    :raises NotFound: no such experiment.
    """
    config = ExperimentConfig.model_validate(stored_experiment(connection, key, lock=True).config)
    lineage = next(each.lineage_of for each in config.arms if each.key == arm)
    stopped = {
        each.key: each.share
        for each in config.arms
        if each.key == arm or (lineage is not None and each.lineage_of == lineage)
    }
    _move_shares(connection, key, dict.fromkeys(stopped, 0.0), kind="arm_stopped", actor=actor, reason=reason)
    return stopped


def resume_arms(connection: Connection, key: str, shares: Mapping[str, float], *, actor: str, reason: str) -> None:
    """Give stopped arms their shares back, from the control's; less where the control has less by now.

    :raises NotFound: no such experiment.
    """
    config = ExperimentConfig.model_validate(stored_experiment(connection, key, lock=True).config)
    wanted = sum(shares.values())
    scale = min(1.0, config.control.share / wanted) if wanted else 1.0
    given = {arm: share * scale for arm, share in shares.items()}
    _move_shares(connection, key, given, kind="arm_resumed", actor=actor, reason=reason)


def _move_shares(
    connection: Connection, key: str, shares: Mapping[str, float], *, kind: str, actor: str, reason: str
) -> StoredExperiment:
    """Set the shares of arms; the control gets, or gives, the difference."""
    revision = platform.next_revision(connection)
    before = stored_experiment(connection, key, lock=True)
    config = ExperimentConfig.model_validate(before.config)
    old = {arm.key: arm.share for arm in config.arms}
    for arm in config.arms:
        arm.share = shares.get(arm.key, arm.share)
    promoted = config.shipped or config.ramp
    if promoted is not None and not shares.get(promoted.arm, 1.0):  # what is stopped is not on its way to everybody
        config.shipped = config.ramp = None
    others = sum(arm.share for arm in config.arms if arm.key != config.control.key)
    next(arm for arm in config.arms if arm.key == config.control.key).share = max(0.0, 1.0 - others)
    new = {arm.key: arm.share for arm in config.arms}
    trail = Trail(kind, actor, reason, {"shares": old}, {"shares": new})
    return _add_version(connection, before, config, revision, trail)


def _add_version(
    connection: Connection, before: StoredExperiment, config: ExperimentConfig, revision: int, trail: Trail
) -> StoredExperiment:
    """Store the next version of a configuration, and what it changes. Hold the experiment's lock."""
    store.add_config(connection, before.id, before.config_version + 1, config.model_dump(mode="json"), revision)
    platform.record_change(connection, experiment_id=before.id, **trail._asdict())
    return stored_experiment(connection, before.key)
