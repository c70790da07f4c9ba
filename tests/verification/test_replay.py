"""Replay shows everything about one decision, and for each part whether recomputing it gives the same."""

from typing import Any

import pytest
from sqlalchemy import text

from app.foundation.errors import NotFound
from app.registry import versions as models
from app.verification.replay import Replay, replay
from tests.service import Loop, bandit, query

STRANGE = 'a/b?c=1&d <b>"\n\u202eevil'


@pytest.fixture(scope="module")
def learned(loop: Loop) -> int:
    """An arm that learned in two rounds, beside an even one."""
    arms = [arm | {"share": 0.5} for arm in bandit("softmax", lambda_=5)]
    arms.append({"key": "even", "share": 0.5, "policy": {"type": "uniform"}})
    made = loop.make("replayed", arms=arms)
    for _ in range(2):
        loop.more("replayed", made, 80)
        loop.train(made, "even")
    return made


def look(loop: Loop, decision_id: str, key: str = "replayed") -> Replay:
    return replay(loop.runtime.engine, loop.settings, key, decision_id)


def decide(loop: Loop, arm: str, decision_id: str, **body: Any) -> dict[str, Any]:
    """A decision of an arm: units are tried until one belongs to it."""
    for number in range(200):
        question = {"unit_id": f"{decision_id}-{number}", "context": {"n": 1, "plan": "pro"}, **body}
        (answer,) = loop.decide(
            "replayed", [question | {"decision_id": decision_id if number == 0 else f"{decision_id}~{number}"}]
        )
        if answer["arm"] == arm:
            return answer
    raise AssertionError(arm)


def test_a_decision_of_a_learned_model_is_recomputed_bit_for_bit(loop: Loop, learned: int) -> None:
    answer = decide(loop, "learned", "again", excluded_actions=["c"])
    replayed = look(loop, answer["decision_id"])
    recomputed = replayed.recomputed
    assert recomputed is not None and recomputed.same and recomputed.learns
    assert [check.part for check in recomputed.checks] == [
        "seal", "encoding", "arm", "draw", "holdout", "distribution", "action", "propensity",
    ]  # fmt: skip
    assert replayed.version is not None and replayed.version.number == answer["policy_version"] == 2
    assert replayed.row.ineligible == [{"id": "c", "code": "excluded", "params": {}}]
    assert replayed.action is not None and replayed.action.id == answer["action"]["id"]
    assert replayed.below <= replayed.row.draw < replayed.above and replayed.above - replayed.below == pytest.approx(
        answer["propensity"]
    )
    assert {contribution.name for contribution in recomputed.contributions} == {
        "n",
        "plan",
        "size",
    } and recomputed.fields == 3
    for contribution in recomputed.contributions:
        assert contribution.change == pytest.approx(answer["propensity"] - contribution.without)


def test_a_policy_that_does_not_learn_has_no_contributions(loop: Loop, learned: int) -> None:
    recomputed = look(loop, decide(loop, "even", "even")["decision_id"]).recomputed
    assert recomputed is not None and recomputed.same and not recomputed.learns and recomputed.contributions == []


def test_the_call_s_own_actions_are_replayed_with_their_features(loop: Loop, learned: int) -> None:
    own = [{"id": f"own-{n}", "features": {"n": n}, "payload": {"x": n}} for n in range(4)]
    replayed = look(loop, decide(loop, "learned", "own", actions=own)["decision_id"])
    assert replayed.recomputed is not None and replayed.recomputed.same
    assert replayed.action is not None and replayed.action.payload == {"x": int(replayed.action.id[-1])}


def test_an_id_of_any_characters_finds_its_decision(loop: Loop, learned: int) -> None:
    loop.decide("replayed", [{"decision_id": STRANGE}])
    replayed = look(loop, STRANGE)
    assert replayed.row.id == STRANGE and replayed.recomputed is not None and replayed.recomputed.same


def test_rewards_are_joined_as_the_rule_says_and_the_version_that_learned_them_is_named(
    loop: Loop, learned: int
) -> None:
    decision_id = decide(loop, "learned", "paid")["decision_id"]
    waiting = look(loop, decision_id).rewards
    assert (waiting.settled, waiting.so_far, waiting.learned, waiting.events) == (None, 0.0, None, [])
    events = [(1, 0.25, "reward"), (2, 0.5, "reward"), (3, 9.0, "minutes")]
    loop.reward(
        [
            {"decision_id": decision_id, "reward_id": f"r{n}", "value": value, "metric": metric}
            for n, value, metric in events
        ]
    )
    loop.close_windows(learned)
    loop.reward([{"decision_id": decision_id, "reward_id": "late", "value": 0.1}])
    done = loop.train(learned)
    came = look(loop, decision_id).rewards
    assert [(event.reward_id, event.value, event.late) for event in came.events] == [
        ("r1", 0.25, False), ("r2", 0.5, False), ("r3", 9.0, False), ("late", 0.1, True),
    ]  # fmt: skip
    assert came.settled is not None and (came.settled.reward, came.settled.events, came.so_far) == (0.75, 2, 0.75)
    assert came.learned is not None and (came.learned.number, came.learned.reward) == (done.number, 0.75)
    assert (came.serving, came.serves_it) == (done.number, True)
    models.rollback(loop.runtime.engine, "replayed", "learned", 1, "a test of replays")
    assert look(loop, decision_id).rewards.serves_it is False
    models.rollback(loop.runtime.engine, "replayed", "learned", done.number, "and forward again")


TAMPERED = {
    "propensity": "propensity = propensity * 0.999",
    "distribution": "distribution[1] = distribution[1] + 1e-12",
    "action": "chosen = (chosen + 1) %% 3",
    "draw": "draw = draw / 2",
    "seal": "seal = repeat('0', 64)",
}


@pytest.mark.parametrize("part", TAMPERED)
def test_a_tampered_field_is_marked_beside_the_parts_that_are_the_same(loop: Loop, learned: int, part: str) -> None:
    decision_id = decide(loop, "learned", f"tampered-{part}")["decision_id"]
    query(loop.database_url, f"UPDATE decisions SET {TAMPERED[part]} WHERE id = %s", decision_id)
    recomputed = look(loop, decision_id).recomputed
    assert recomputed is not None and not recomputed.same and not recomputed.problem
    differ = {check.part for check in recomputed.checks if not check.same}
    assert part in differ and "arm" not in differ and "encoding" not in differ
    assert (part == "seal") == (differ == {"seal"})


def test_a_moved_unit_shows_the_arm_that_it_really_has(loop: Loop, learned: int) -> None:
    decision_id = decide(loop, "learned", "moved")["decision_id"]
    query(loop.database_url, "UPDATE decisions SET arm = 'even', policy_sha256 = NULL WHERE id = %s", decision_id)
    recomputed = look(loop, decision_id).recomputed
    assert recomputed is not None
    (wrong,) = (check for check in recomputed.checks if check.part == "arm")
    assert "'learned'" in wrong.difference and "logged is 'even'" in wrong.difference


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("policy_version = 99", "model version 99 of arm 'learned' is not stored"),
        ("policy_sha256 = 'f'", "another SHA-256"),
    ],
)
def test_a_lost_model_is_a_reason_in_words_and_the_rest_is_still_checked(
    loop: Loop, learned: int, change: str, words: str
) -> None:
    decision_id = decide(loop, "learned", f"lost-{words[0]}")["decision_id"]
    query(loop.database_url, f"UPDATE decisions SET {change} WHERE id = %s", decision_id)
    recomputed = look(loop, decision_id).recomputed
    assert (
        recomputed is not None
        and not recomputed.same
        and words in recomputed.problem
        and recomputed.contributions == []
    )
    assert [check.part for check in recomputed.checks] == ["seal", "encoding", "arm", "draw", "holdout"]


def test_an_imported_decision_is_shown_and_not_recomputed(loop: Loop, learned: int) -> None:
    decision_id = decide(loop, "learned", "imported")["decision_id"]
    query(loop.database_url, "UPDATE decisions SET state = 'imported' WHERE id = %s", decision_id)
    assert look(loop, decision_id).recomputed is None


def test_a_decision_of_another_experiment_is_not_found(loop: Loop, learned: int) -> None:
    loop.make("other")
    loop.decide("other", [{"decision_id": "elsewhere"}])
    for decision_id in ("elsewhere", "ghost", "nul\0", ""):
        with pytest.raises(NotFound, match="has no decision"):
            look(loop, decision_id)
    with loop.runtime.engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM decisions WHERE id = 'elsewhere'")).scalar_one() == 1
