"""What each unit of an arm does, as numbers: how often it decides, what it chooses and reports, how soon, in what rhythm."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from app.guardian.store.behaviour import Row
from experiments.monitoring.anomalies import Feature, Finding, entropy, standing_out

SPREADS = {
    "choices": 0.25,
    "rewards": 0.25,
    "delay": 0.5,
    "bursts": 0.1,
}  # smallest spreads among units that are believed
FEW = 10  # rewards, or gaps between decisions, from which a unit's are known
SOON = 0.1  # of a unit's mean gap: shorter gaps are bursts


def of_rows(rows: Sequence[Row], *, by_key: bool = False) -> list[tuple[str, Finding]]:
    """The units (or API keys) of one arm that stand out, and why.

    :param rows: the arm's decisions, oldest first.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.key_id if by_key else row.unit_id, []).append(row)
    names = list(groups)
    decisions = np.array([float(len(group)) for group in groups.values()])
    columns = [_features(group) for group in groups.values()]
    features = {name: Feature(np.array([each[name] for each in columns]), SPREADS[name]) for name in SPREADS}
    return [(names[finding.unit], finding) for finding in standing_out(decisions, features)]


def _features(rows: Sequence[Row]) -> dict[str, float]:
    """Entropies (bits) of its actions and rewards, the logarithm of its middle delay (s), and its share of short gaps.

    Short is what is short for this unit: how often somebody comes says nothing, because activity has heavy tails.
    """
    delays = [row.delay_s for row in rows if row.delay_s is not None]
    gaps = np.diff([row.decided_at.timestamp() for row in rows])
    return {
        "choices": entropy([*Counter(row.action for row in rows).values()]),
        "rewards": entropy([*Counter(row.reward for row in rows).values()]),
        "delay": float(np.log(max(float(np.median(delays)), 1e-3))) if len(delays) >= FEW else float("nan"),
        "bursts": float((gaps < SOON * gaps.mean()).mean()) if len(gaps) >= FEW else float("nan"),
    }
