"""What is usual of a field: seen texts, near numbers, and being there at all."""

import numpy as np
import pytest

from experiments.monitoring.usual import MOST_VALUES, Field, grown, usual


def test_texts_that_were_seen_are_usual() -> None:
    field = grown(Field(), ["a", "b", None, "a"])
    assert usual(field, "a") and not usual(field, "c") and not usual(field, None)
    assert usual(grown(Field(), [None, None, "a"]), None), "most lacked it before"


def test_a_field_with_many_texts_is_not_asked_which() -> None:
    field = grown(grown(Field(), ["a"]), [f"id-{n}" for n in range(MOST_VALUES + 1)])
    assert field.many and field.texts == () and usual(field, "new") and not usual(field, None)


@pytest.mark.parametrize("draw", ["lognormal", "normal", "uniform"])
def test_numbers_of_the_same_kind_are_usual_and_cents_are_not(draw: str) -> None:
    rng = np.random.default_rng(1)
    of = {
        "lognormal": lambda: rng.lognormal(3, 0.8),
        "normal": lambda: rng.normal(40, 9),
        "uniform": lambda: rng.uniform(5, 90),
    }
    field = grown(Field(), [float(of[draw]()) for _ in range(500)])
    assert np.mean([usual(field, float(of[draw]())) for _ in range(500)]) > 0.97
    assert np.mean([usual(field, 100 * float(of[draw]())) for _ in range(500)]) < 0.1


def test_numbers_around_zero_and_constants() -> None:
    field = grown(Field(), [-1.0, 0.0, 1.0, 0.5])
    assert usual(field, 2.0) and not usual(field, 50.0)
    constant = grown(Field(), [3.0] * 50)
    assert usual(constant, 3.0) and not usual(constant, 300.0) and not usual(constant, -3.0)
    assert usual(field, "text"), "it had no texts to compare with"
