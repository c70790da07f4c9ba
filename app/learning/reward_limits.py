"""The limit of rewards per unit, where an experiment has one: exact, because units are locked from counting to commit."""

import math
from collections import Counter
from collections.abc import Collection, Mapping

from sqlalchemy import Connection

from app.deciding.store import units
from app.design.safety_config import SafetySpec
from app.foundation.errors import TooManyRequests
from app.foundation.store.fragments import DecisionKey
from app.learning.store import rewards as store
from app.learning.store.rewards import Recent


class RewardLimits:
    """How many rewards the units of one group commit may still get."""

    def __init__(
        self, connection: Connection, decisions: Collection[DecisionKey], bounds: Mapping[int, SafetySpec]
    ) -> None:
        """Lock the units of experiments with a limit, and count their recent rewards.

        :param bounds: by experiment id.
        """
        limited = [key for key in decisions if bounds[key[0]].reward_limit is not None]
        self._bounds = bounds
        self._units = store.units_of(connection, limited) if limited else {}
        windows = {
            (unit, experiment_id): bounds[experiment_id].reward_limit_window_s
            for (experiment_id, _), unit in self._units.items()
        }
        if windows:
            units.hold(connection, sorted({unit for unit, _ in windows}))
        self._recent: dict[tuple[str, int], Recent] = store.recent(connection, windows) if windows else {}
        self._added: Counter[tuple[str, int]] = Counter()

    def check(self, decision: DecisionKey, before: Collection[DecisionKey]) -> None:
        """Check that a unit may get another reward.

        :param before: the decisions of the rewards that the same job adds before.
        :raises TooManyRequests: it has as many as the experiment takes.
        """
        bounds = self._bounds[decision[0]]
        if bounds.reward_limit is None or decision not in self._units:
            return
        unit = (self._units[decision], decision[0])
        recent = self._recent[unit]
        more = sum(self._units[key] == unit[0] for key in before if key[0] == decision[0])
        if recent.rewards + self._added[unit] + more >= bounds.reward_limit:
            wait_s = recent.frees_s if recent.rewards else bounds.reward_limit_window_s
            message = (
                f"This unit has already got {bounds.reward_limit} rewards within {bounds.reward_limit_window_s:g} seconds; "
                "try again later."
            )
            raise TooManyRequests("reward_limit", message, retry_after_s=max(1, math.ceil(wait_s)))

    def add(self, decisions: Collection[DecisionKey]) -> None:
        """Count the rewards of a job that is stored."""
        self._added.update((self._units[key], key[0]) for key in decisions if key in self._units)
