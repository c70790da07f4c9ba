"""What an apprentice learns from a decision whose action its caller chose: that this action pays, and that others do not.

A log in which the caller always chooses says nothing of other actions. So a model that learned it as it is would not come to
choose as the caller does. An apprentice therefore learns an example that is made from the decision: with a chance of three
in four the action that was shown, with the reward that it earned; otherwise one of the others, each equally likely, with the
least reward. The chances are known, so every algorithm learns such examples as it learns a log. What it comes to believe of the
shown actions is what they earn, so that it needs no other scale when it decides by itself.
"""

from typing import Final

import numpy as np

from bandits.distribution import draw, sample
from bandits.examples import Example

SHOWN: Final = 0.75  # chance of the action that was shown
WORST: Final = 1.0  # cost of the least reward
_SALT: Final = b"apprentice"  # which action stands in an example is no secret, and has to be the same in a replay


def imitated(example: Example, decision_id: str) -> Example:
    """The example that an apprentice learns from a decision; the same for every replay. `chosen` is what was shown."""
    count, shown = len(example.action_lines), example.chosen
    if count == 1:
        return example._replace(propensity=1.0, chances=np.ones(1))
    chances = np.full(count, (1.0 - SHOWN) / (count - 1))
    chances[shown] = SHOWN
    chosen = sample(chances, draw(_SALT, decision_id))
    cost = example.cost if chosen == shown else WORST
    return example._replace(chosen=chosen, propensity=float(chances[chosen]), cost=cost, chances=chances)
