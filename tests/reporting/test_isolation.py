"""An experiment whose figures cannot be computed harms no other, is shown, and is tried again."""

from typing import Any

import pytest

from app.foundation.errors import Unavailable
from app.foundation.isolation import each, in_turn
from app.foundation.store import latest
from app.foundation.store.engine import transaction
from app.reporting import activity, home, results
from tests.lab import AB, Lab
from tests.service import query


@pytest.fixture(scope="module")
def pair(lab: Lab) -> list[str]:
    """Two experiments with outcomes; the first holds a value that no sum can hold."""
    keys = ["overflows", "sound"]
    spent = {"key": "spent", "source": {"type": "value", "metric": "spent", "per": "unit"}}
    for key in keys:
        lab.make(key, arms=AB, control_arm="control", metrics=[spent])
        answers = lab.play(key, [{"unit_id": f"u{n}"} for n in range(40)], lambda *_: 1.0)
        lab.report([{"decision_id": answer["decision_id"], "metric": "spent", "value": 1.0} for answer in answers])
    of_key = "(SELECT id FROM experiments WHERE key = %s)"
    huge = f"UPDATE rewards SET value = 1e308 WHERE metric = 'spent' AND experiment_id = {of_key}"
    query(lab.database_url, huge, "overflows")  # as a log from before values had a bound may hold
    return keys


def test_the_results_of_others_are_computed_and_the_failure_is_a_badge(lab: Lab, pair: list[str]) -> None:
    engine = lab.runtime.engine
    done = each(engine, results.KIND, pair, lambda key: results.compute(engine, key))
    assert done == ["sound"]
    texts = [badge.text for badge in home.badges_of(engine, "overflows")]
    assert any(text.startswith("Not computed: the newest results") for text in texts)
    assert not home.badges_of(engine, "sound")


def test_a_failed_experiment_rests_and_is_tried_again_until_it_works(lab: Lab, pair: list[str]) -> None:
    engine, tries = lab.runtime.engine, []

    def work(key: str) -> Any:
        tries.append(key)
        if len(tries) < 3:
            raise ZeroDivisionError("nothing to divide by")

    def tried() -> list[str]:
        return each(engine, activity.KIND, ["sound"], work)

    assert tried() == [] and tried() == [], "it rests"
    assert tries == ["sound"]
    wait = "UPDATE latest SET computed_at = computed_at - interval '1 hour' WHERE kind = 'problem/activity'"
    query(lab.database_url, wait)
    assert tried() == []
    query(lab.database_url, wait)
    with transaction(engine) as connection:
        assert latest.failed(connection, activity.KIND) == {"sound": False}
    assert tried() == ["sound"]
    with transaction(engine) as connection:
        assert latest.failed(connection, activity.KIND) == {}


def test_a_value_that_sums_cannot_hold_is_refused_at_the_door(lab: Lab) -> None:
    lab.make("bounded", arms=AB, control_arm="control")
    (answer,) = lab.play("bounded", [{"unit_id": "u"}], lambda *_: 1.0, settled=False)
    with pytest.raises(Exception, match=r"1e\+12|1000000000000"):
        lab.report([{"decision_id": answer["decision_id"], "metric": "spent", "value": 1e13}])


def test_a_step_that_fails_does_not_keep_the_next_from_its_turn() -> None:
    taken: list[str] = []

    def fail() -> None:
        taken.append("first")
        raise ZeroDivisionError

    in_turn(("first", fail), ("second", lambda: taken.append("second")))
    assert taken == ["first", "second"]
    with pytest.raises(Unavailable):
        in_turn(("away", _away), ("never", lambda: taken.append("never")))
    assert taken == ["first", "second"]


def _away() -> None:
    raise Unavailable("database_unavailable", "The database is away.")
