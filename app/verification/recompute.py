"""Recomputes a logged decision from the model, ids and context that its row names, and compares each part.

The audit does this for the whole log, a replay for one decision. Nothing is rounded: equal means equal bits.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from app.deciding.seal import holds
from app.deciding.snapshot import plain_arm
from app.deciding.store.decisions import StoredDecision
from app.deciding.windows.targets import counts_of
from app.design.experiment_config import ExperimentConfig, shares
from app.design.fallbacks import policy_in_force
from app.learning.examples import Configs
from app.registry import holdout
from app.registry import signed_bytes as model_bytes
from app.registry.signed_bytes import ModelRefused
from app.registry.store.holdouts import Holdout
from app.registry.store.models import VersionInfo
from bandits import distribution as draws
from bandits.encoding import ENCODING_VERSION, encode_context
from bandits.model import Predictor, distribution
from bandits.policy import BanditPolicy, Policy

Holdouts = Mapping[int, Holdout]  # by version
PERSONALISE = "personalise"
EARLIER_POSITION = "earlier_position"  # the code of the reason against an action that stands above
FAILURES = (
    ModelRefused,
    LookupError,
    ValueError,
)  # the reasons why a decision cannot be recomputed; ModelError is a ValueError


class Check(NamedTuple):
    """One recomputed part of a decision."""

    part: str  # seal, encoding, arm, draw, holdout, distribution, action, propensity
    difference: str  # the difference in words; empty: equal

    @property
    def same(self) -> bool:
        """True when the part equals the logged one."""
        return not self.difference


def policy_of(config: ExperimentConfig, row: StoredDecision) -> Policy:
    """The policy that made a decision.

    :raises LookupError: its configuration has no such arm.
    """
    if _is_plain(row):
        return plain_arm(config).policy
    for spec in config.arms:
        if spec.key == row.arm:
            return policy_in_force(config, spec)
    raise LookupError(f"its configuration has no arm {row.arm!r}")


def _is_plain(row: StoredDecision) -> bool:
    """True when the arm decided that does not look at the person: there was no consent, or the unit was held back."""
    return bool(row.holdout) or PERSONALISE in (row.withheld or ())


def check_holdout(secret: str, holdouts: Holdouts, row: StoredDecision) -> Check:
    """Check that the unit was held back exactly if the version of the global holdout that the row names holds it back."""
    if row.holdout_version is None:
        return _check("holdout", bool(row.holdout), "it names no version of the global holdout")
    version = holdouts.get(row.holdout_version)
    if version is None or not holdout.holds(secret, version):
        return Check("holdout", f"version {row.holdout_version} of the global holdout is missing, or was changed")
    expected = draws.held_back(version.salt, row.unit_id, version.share)
    words = "is" if expected else "is not"
    return _check("holdout", expected != bool(row.holdout), f"its unit {words} in the global holdout")


def check_identity(secret: str, salt: bytes, config: ExperimentConfig, row: StoredDecision) -> list[Check]:
    """Check everything that depends on the row and its ids alone: the seal, the encoding's version, the arm, the draw."""
    arm = plain_arm(config).key if _is_plain(row) else draws.assign(salt, row.unit_id, shares(config))
    draw = draws.draw(salt, row.id)
    return [
        check_seal(secret, row),
        _check(
            "encoding",
            row.encoding_version != ENCODING_VERSION,
            f"encoding version {row.encoding_version} is not this program's {ENCODING_VERSION}",
        ),
        _check("arm", arm != row.arm, f"the unit belongs to another arm: {arm!r}, logged is {row.arm!r}"),
        _check("draw", draw != row.draw, f"the id's draw gives {draw!r}, logged is {row.draw!r}"),
    ]


# Vowpal Wabbit's distributions are repeated bit for bit. Beliefs are solved with LAPACK, whose last bits may differ between
# machines and numbers of threads: measured below 1e-12, so a larger difference than this is none of rounding.
TOLERANCE = 1e-9


def check_seal(secret: str, row: StoredDecision) -> Check:
    """Check that the row is unchanged since it was sealed."""
    broken = "the seal is broken: a field was changed, or the secret key is another one"
    return _check("seal", not holds(secret, row), broken)


def check_drawn(row: StoredDecision) -> list[Check]:
    """Compare the action and the propensity with the logged distribution, when its model is gone."""
    chosen = draws.sample(row.distribution, row.draw)
    return [
        _check("action", chosen != row.chosen, f"the draw gives another action than {_logged_action(row)!r}"),
        _check("propensity", row.distribution[chosen] != row.propensity, "the propensity is not the distribution's"),
    ]


def above(row: StoredDecision) -> list[str]:
    """The actions at the earlier positions of a decision's list, in their order, as the row names them."""
    placed = [reason for reason in row.ineligible or () if reason.get("code") == EARLIER_POSITION]
    return [reason["id"] for reason in sorted(placed, key=lambda reason: float(str(reason["params"]["position"])))]


class Offered(NamedTuple):
    """Encoded lines of the actions of a decision."""

    lines: Sequence[str]  # of the eligible ones
    above: Sequence[str]  # of those at the list's earlier positions


def offered(configs: Configs, row: StoredDecision) -> Offered:
    """The encoded actions that a decision chose among, and those above it. Raises `LookupError` for an unknown action."""
    lines, placed = configs.lines(row.config_version, row.actions, row.eligible), above(row)
    return Offered(lines, configs.lines(row.config_version, row.actions, placed) if placed else ())


def check_choice(
    salt: bytes, policy: Policy, predictor: Predictor | None, actions: Offered, row: StoredDecision
) -> tuple[list[float], list[Check]]:
    """Check everything that depends on the model: the distribution (returned too), the action, its propensity.

    :raises ValueError: the context or the actions cannot be encoded.
    """
    line = encode_context(row.context)
    counts = counts_of(row.counted, row.arm)
    chances: list[float] = distribution(
        policy, predictor, line, actions.lines, row.eligible, actions.above, counts=counts
    ).tolist()
    same_size = len(chances) == len(row.distribution)
    allowed = TOLERANCE if isinstance(policy, BanditPolicy) and policy.rebuilds else 0.0
    off = [
        name
        for name, ours, theirs in zip(row.eligible, chances, row.distribution, strict=False)
        if not abs(ours - theirs) <= allowed
    ]
    if same_size and not off:
        chances = list(row.distribution)  # what was drawn from
    chosen = draws.sample(chances, draws.draw(salt, row.id))
    difference = f"the draw gives action {row.eligible[chosen]!r}, logged is {_logged_action(row)!r}"
    return chances, [
        _check(
            "distribution",
            chances != row.distribution,
            "the distribution differs" + (f" at {off[0]!r}" if off and same_size else ""),
        ),
        _check("action", chosen != row.chosen, difference),
        _check(
            "propensity",
            chances[chosen] != row.propensity,
            f"the propensity is {chances[chosen]!r}, logged is {row.propensity!r}",
        ),
    ]


def needs_model(policy: Policy, row: StoredDecision) -> bool:
    """True when a stored model took part: the arm learns, and the process that decided had a model."""
    return isinstance(policy, BanditPolicy) and row.policy_sha256 not in (None, "")


def load_model(
    connection: Connection, secret: str, policy: BanditPolicy, version: VersionInfo, row: StoredDecision
) -> Predictor | None:
    """The model that a decision names; null: it was untrained.

    :raises ModelRefused: its hash is not the one that the decision names, or it fails its own signature.
    """
    check_named(version, row)
    _, plain = model_bytes.load(connection, version.id, secret)
    return Predictor(plain, policy) if version.examples else None


def check_named(version: VersionInfo, row: StoredDecision) -> None:
    """:raises ModelRefused: the version is not the one that the decision names."""
    if version.sha256 != row.policy_sha256:
        raise ModelRefused(f"version {row.policy_version} has another SHA-256 than the decision names")


def _check(part: str, differs: bool, words: str) -> Check:
    return Check(part, words if differs else "")


def _logged_action(row: StoredDecision) -> str:
    return str(row.eligible[row.chosen]) if 0 <= row.chosen < len(row.eligible) else "none of them"
