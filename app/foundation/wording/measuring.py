"""Codes of wrong metrics, formulas and holdouts with their words."""

from typing import Final

from app.foundation.wording.kinds import Words

MEASURING: Final[dict[str, Words]] = {
    "event_sum_field": Words(
        "give the property that is summed with the value sum, and only there",
        "name the property that is summed, and leave it empty for everything else",
    ),
    "event_without_window": Words(
        "a metric of events needs window_s: for how long after a unit's first exposure its events count",
        "say for how long after a user's first decision events count",
    ),
}
