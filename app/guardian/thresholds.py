"""The one declared rate of false alarms, for all watches of an experiment together."""

from typing import Final

BETWEEN: Final = 400_000.0  # observations between two false alarms of an experiment, on the mean
PER_ARM: Final = 4  # watches: value, rewarded, once, fallback
MOST_FIELDS: Final = 20  # of the context that are watched
MOST_KEYS: Final = 10  # API keys whose decisions' rewards are watched
LOST_MARGIN: Final = 0.5  # share of the decisions with a reward event that may be lost
USUALLY_REWARDED: Final = 0.9  # share of decisions with a reward event, above which a fall means that events are lost


def threshold_of(arms: int) -> float:
    """The evidence at which one watch raises, so that all together keep the declared rate."""
    return BETWEEN * (PER_ARM * max(1, arms) + MOST_FIELDS + MOST_KEYS + 1)
