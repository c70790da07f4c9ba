"""A plan is compared with the length and the sample of the decision rule."""

import pytest

from app.reporting.pages.planning.answer import against_rule


@pytest.mark.parametrize(
    ("days", "units", "rule", "words"),
    [
        (20.2, 900, {"max_days": 14, "min_days": 7}, ["stops after 14 days, before", "21 days or more"]),
        (14.0, 900, {"max_days": 14, "min_days": 7}, []),
        (3.0, 900, {"min_days": 7}, ["waits for 7 days in any case"]),
        (None, 900, {"min_days": 7, "max_days": 1}, []),
        (10.0, 900, {"min_days": 7, "planned_units": 500}, ["plans 500 users", "needs 900"]),
        (10.0, 900, {"planned_units": 900}, []),
        (10.0, 900, {}, []),
    ],
)
def test_a_rule_that_does_not_fit_the_plan_is_said(
    days: float | None, units: int, rule: dict[str, float], words: list[str]
) -> None:
    said = " ".join(against_rule(days, units, {**rule}))
    assert all(part in said for part in words) and bool(said) == bool(words)
