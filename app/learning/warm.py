"""A warm start: the first model of an arm has learned from another log, of this or another experiment, or of an import.

Its decisions stand in a ledger of their own (``app.learning.store.warm``). Training, the audit and erasures learn them with
the functions here, so that each gets the same bytes.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection

from app.learning.examples import Configs, examples_of
from app.learning.store import warm
from app.registry.store.models import VersionInfo
from bandits.examples import Example
from bandits.learner.state import MOST_ROWS
from bandits.model import learn, learn_from_nothing
from bandits.policy import BanditPolicy

KIND: Final = "warm"


def learned(untrained: bytes, policy: BanditPolicy, examples: Sequence[Example]) -> bytes:
    """The bytes of a model after the decisions of another log, oldest first. The audit and erasures call this, too."""
    if not policy.rebuilds or not examples:
        return learn(untrained, policy, examples)
    newest = examples[-MOST_ROWS:]
    return learn_from_nothing(policy, newest, "", len(examples) - len(newest))


def examples_of_arm(connection: Connection, experiment_id: int, arm: str, policy: BanditPolicy) -> list[Example]:
    """What the first model of an arm learned, as far as it is still there."""
    rows = [(due, reward) for reward, due in warm.lessons(connection, experiment_id, arm)]
    return examples_of(policy, rows, Configs(connection, experiment_id))


def examples_before(connection: Connection, version: VersionInfo, policy: BanditPolicy) -> list[Example]:
    """What a rebuild learned before its own decisions: the other log's, if its arm had a warm start."""
    if not version.manifest.get(KIND):
        return []
    return examples_of_arm(connection, version.experiment_id, version.arm, policy)
