"""What an action gets that a model never learned from: its share of the choice, as if nothing were known of any."""

import math
from hashlib import blake2b
from typing import Final

KEY_BYTES: Final = 8


def key_of(line: str) -> bytes:
    """The key of an action's line: a hash of its id, whatever its other features are and wherever they stand.

    A combination of parts that is learned as one action has the ids of all parts.
    """
    ids = " ".join(token for token in line.split(" ") if token.startswith("="))
    return blake2b(ids.encode(), digest_size=KEY_BYTES).digest()


def share_untried(probabilities: list[float], tried: list[bool]) -> list[float]:
    """The probabilities of K actions where each that was not tried has 1/K, and the others share the rest as they did.

    Unchanged where more than half were not tried: then ids say little, and the features have to decide.
    """
    size, new = len(tried), tried.count(False)
    if not new or 2 * new > size:
        return probabilities
    total = math.fsum(p for p, known in zip(probabilities, tried, strict=True) if known)
    rest = 1.0 - new / size
    if total <= 0.0:
        return [1.0 / size] * size
    return [p * rest / total if known else 1.0 / size for p, known in zip(probabilities, tried, strict=True)]
