"""The limit of rewards per unit, where an experiment has one: exact, because units are locked from counting to commit."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from sqlalchemy import Connection

from app.deciding.store import units
from app.design.safety_config import SafetySpec
from app.foundation.errors import TooManyRequests
from app.learning.store import rewards as store
from app.learning.store.rewards import Recent, Rewarded


class RewardLimits:
    """How many rewards the units of one group commit may still get."""

    def __init__(self, connection: Connection, decisions: Iterable[Rewarded], bounds: Mapping[int, SafetySpec]) -> None:
        """Lock the units of experiments with a limit, and count their recent rewards.

        :param bounds: by experiment id.
        """
        limited = [row for row in decisions if bounds[row.experiment_id].reward_limit is not None]
        windows = {
            (row.unit_id, row.experiment_id): bounds[row.experiment_id].reward_limit_window_s
            for row in sorted(limited, key=lambda row: (row.experiment_id, row.unit_id))
        }
        if windows:
            units.hold(connection, sorted({unit for unit, _ in windows}))
        self._bounds = bounds
        self._recent: dict[tuple[str, int], Recent] = store.recent(connection, windows) if windows else {}
        self._added: Counter[tuple[str, int]] = Counter()

    def check(self, decision: Rewarded, more: int) -> None:
        """Check that a unit may get another reward.

        :param more: rewards of this unit that the same job added before.
        :raises TooManyRequests: it has as many as the experiment takes.
        """
        unit = (decision.unit_id, decision.experiment_id)
        recent, bounds = self._recent.get(unit), self._bounds[decision.experiment_id]
        if recent is None or bounds.reward_limit is None:
            return
        if recent.rewards + self._added[unit] + more >= bounds.reward_limit:
            wait_s = recent.frees_s if recent.rewards else bounds.reward_limit_window_s
            message = (
                f"This unit has already got {bounds.reward_limit} rewards within {bounds.reward_limit_window_s:g} seconds; "
                "try again later."
            )
            raise TooManyRequests("reward_limit", message, retry_after_s=max(1, math.ceil(wait_s)))

    def add(self, decisions: Iterable[Rewarded]) -> None:
        """Count the rewards of a job that is stored."""
        self._added.update((decision.unit_id, decision.experiment_id) for decision in decisions)
