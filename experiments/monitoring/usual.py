"""What is usual of a context field: how often it is there, which values it has, in which range its numbers lie.

A decision is *usual* in a field if the field is there as before and its value was seen before, or lies within three standard
deviations of the numbers before (of their logarithms, where all are above 0: a price in cents in place of euros is then far
outside). The share of usual decisions is watched for a fall (``experiments.monitoring.falls``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

MOST_VALUES: Final = 100  # different texts; a field with more is not asked which it has
WIDTH: Final = 3.0  # standard deviations
LEAST_WIDTH: Final = 0.05  # of a number's size, or of its logarithm (base e)
LAG: Final = 200  # decisions that wait before they count as usual

Value = str | float | None  # null: the field is not there; other values count as the text of their type


class Numbers(NamedTuple):
    """Moments of the numbers of a field."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0
    log_total: float = 0.0
    log_squares: float = 0.0
    positive: bool = True


class Field(NamedTuple):
    """What is known of one field: numbers and texts, so that it can be stored as JSON."""

    seen: int = 0  # decisions
    there: int = 0  # of these: with the field
    texts: tuple[str, ...] = ()
    many: bool = False  # more texts than are kept
    numbers: Numbers = Numbers()


def usual(field: Field, value: Value) -> bool:
    """Whether a decision has what is usual of a field."""
    if value is None:
        return field.there < field.seen / 2  # a field that most decisions lack
    if isinstance(value, str):
        return field.many or value in field.texts or not field.texts
    return not field.numbers.n or _near(field.numbers, value)


def grown(field: Field, values: Sequence[Value]) -> Field:
    """What is known of a field after more decisions."""
    there = [value for value in values if value is not None]
    texts = dict.fromkeys([*field.texts, *(value for value in there if isinstance(value, str))])
    many = field.many or len(texts) > MOST_VALUES
    numbers = _grown(field.numbers, [value for value in there if not isinstance(value, str)])
    return Field(field.seen + len(values), field.there + len(there), () if many else tuple(texts), many, numbers)


def _grown(numbers: Numbers, values: Sequence[float]) -> Numbers:
    if not values:
        return numbers
    positive = numbers.positive and min(values) > 0
    logs = [math.log(value) for value in values] if positive else []
    return Numbers(
        numbers.n + len(values),
        numbers.total + math.fsum(values),
        numbers.squares + math.fsum(value * value for value in values),
        numbers.log_total + math.fsum(logs) if positive else 0.0,
        numbers.log_squares + math.fsum(log * log for log in logs) if positive else 0.0,
        positive,
    )


def _near(numbers: Numbers, value: float) -> bool:
    if numbers.positive:
        if value <= 0:
            return False
        mean, square, at = numbers.log_total / numbers.n, numbers.log_squares / numbers.n, math.log(value)
        least = LEAST_WIDTH
    else:
        mean, square, at = numbers.total / numbers.n, numbers.squares / numbers.n, value
        least = LEAST_WIDTH * abs(mean)
    deviation = math.sqrt(max(square - mean * mean, 0.0))
    return abs(at - mean) <= WIDTH * max(deviation, least)
