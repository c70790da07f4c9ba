"""Composed messages and lists on the real loop: decided, rewarded, learned, audited, replayed, evaluated."""

import itertools
import math
import random
from typing import Any

import numpy as np
import pytest

from app.deciding import decide as decide_service
from app.deciding.requests import MessageRequest, identify
from app.design.experiments import get
from app.files.exporting import export_log
from app.off_policy import candidate_policies, evaluations
from app.off_policy.evaluation_request import CandidateSpec, EvaluationRequest
from app.verification.replay import replay
from experiments.off_policy.slates import pseudo_inverse, standard_ips
from tests.service import Loop, bandit, query

CHOICES = {"subject": ["progress", "question", "news"], "tone": ["warm", "brisk"], "ask": ["now", "later"]}
SLOTS = [
    {
        "name": name,
        "place": "title" if name == "subject" else "body",
        "parts": [{"id": one, "features": {"length": len(one)}, "texts": {"en": f"{one} text"}} for one in parts],
    }
    for name, parts in CHOICES.items()
]
COMPOSITION = {
    "slots": SLOTS,
    "forbidden": [[{"slot": "subject", "part": "news"}, {"slot": "ask", "part": "later"}]],
    "allow_nothing": True,
}
BEST = {"curious": ("question", "warm", "later"), "tired": ("news", "brisk", "now")}
LEARNED = [one | {"share": 0.6} for one in bandit("squarecb")]
ARMS = [*LEARNED, {"key": "even", "share": 0.4, "policy": {"type": "uniform"}}]


def worth(mood: str, action_id: str) -> float:
    """Mean reward of an action: a part that suits adds to it; the muted are best told nothing."""
    if action_id == "nothing":
        return 0.6 if mood == "muted" else 0.2
    if mood == "muted":
        return 0.1
    parts = [one.partition("=")[2] for one in action_id.split("|")]
    return 0.05 + 0.3 * sum(ours == theirs for ours, theirs in zip(parts, BEST[mood], strict=True))


def play(loop: Loop, key: str, turn: int, count: int) -> list[dict[str, Any]]:
    """One round of messages, rewards and learning in both arms."""
    generator = random.Random(f"{key}/{turn}")
    moods = [generator.choice([*BEST, "muted"]) for _ in range(count)]
    bodies = [
        {"experiment": key, "unit_id": f"{turn}/{n}", "context": {"mood": mood}, "decision_id": f"{key}/{turn}/{n}"}
        for n, mood in enumerate(moods)
    ]
    asked = [identify(MessageRequest.model_validate(body), body) for body in bodies]
    answers = [one.answer for one in decide_service.decide(loop.runtime, loop.caller, asked)]
    events = [
        {"decision_id": one["decision_id"], "value": float(generator.random() < worth(mood, one["action"]["id"]))}
        for one, mood in zip(answers, moods, strict=True)
    ]
    loop.reward(events)
    experiment_id = get(loop.runtime.engine, key).id
    loop.close_windows(experiment_id)
    done = loop.train(experiment_id)
    assert done is None or (done.promoted and not done.problems), done
    loop.train(experiment_id, "even")
    loop.runtime.snapshots.refresh()
    return answers


@pytest.fixture(scope="module")
def played(loop: Loop) -> int:
    made = loop.make("composed", actions=[], composition=COMPOSITION, arms=ARMS)
    for turn in range(5):
        play(loop, "composed", turn, 300)
    return made


def test_the_learning_arm_learns_the_best_message_for_each_mood_and_when_to_say_nothing(
    loop: Loop, played: int
) -> None:
    """What it earns is far above chance in each mood; whether it has found the best tone yet may hang on some draws."""
    for mood in (*BEST, "muted"):
        answers = loop.decide("composed", [{"unit_id": f"new {n}", "context": {"mood": mood}} for n in range(20)])
        by_arm = {
            answer["arm"]: {one["id"]: one["probability"] for one in answer["ranking"]} for answer in reversed(answers)
        }
        earned = {arm: sum(p * worth(mood, name) for name, p in by_arm[arm].items()) for arm in ("learned", "even")}
        assert earned["learned"] > earned["even"] + 0.1, (mood, earned)
        assert (by_arm["learned"]["nothing"] > 0.5) == (mood == "muted"), (mood, by_arm["learned"])


def test_every_decision_and_every_model_is_reproduced_bit_for_bit(loop: Loop, played: int) -> None:
    report = loop.audit("composed")
    assert report.ok, report.lines()
    assert report.decisions >= 1500 and report.versions == 6 and report.unaccounted == 0


def test_no_decision_chooses_a_forbidden_pair_or_gives_it_probability(loop: Loop, played: int) -> None:
    bad = "subject=news|%ask=later"
    found = query(
        loop.database_url,
        "SELECT count(*) FILTER (WHERE EXISTS (SELECT FROM unnest(eligible) AS e WHERE e LIKE %s)), count(*), "
        "max(abs((SELECT sum(p) FROM unnest(distribution) AS p) - 1)) FROM decisions WHERE experiment_id = %s",
        bad,
        played,
    )
    assert found[0][0] == 0 and found[0][1] >= 1500 and found[0][2] < 1e-12


def test_the_conditional_probabilities_of_slots_in_a_replay_multiply_to_the_propensity(loop: Loop, played: int) -> None:
    for number in range(0, 300, 37):
        found = replay(loop.runtime.engine, loop.settings, "composed", f"composed/4/{number}")
        assert found.recomputed is not None and found.recomputed.same
        assert math.prod(one["given_above"] for one in found.slots) == pytest.approx(found.row.propensity, rel=1e-9)
        name = found.row.eligible[found.row.chosen]
        shown = "|".join(f"{one['slot']}={one['part']}" for one in found.slots[1:]) or found.slots[0]["part"]
        assert shown == name and found.action is not None and found.action.id == name
        assert {one.side for one in found.recomputed.contributions} <= {"context"}


def test_the_log_contains_what_the_slate_estimators_need(loop: Loop, played: int) -> None:
    """What always saying one message would earn, from the uniform arm's rows, against the truth."""
    target = ("question", "warm", "now")
    rows = query(
        loop.database_url,
        "SELECT d.context ->> 'mood', d.eligible, d.distribution, d.chosen, o.reward FROM decisions d JOIN outcomes o "
        "ON o.decision_id = d.id WHERE d.experiment_id = %s AND d.arm = 'even'",
        played,
    )
    from app.content.composition import slots_of

    chain, product, rewards, truth = [], [], [], []
    for mood, eligible, chances, chosen, reward in rows:
        did = slots_of(eligible, chances, chosen)
        wanted = [("say", "something"), *zip(CHOICES, target, strict=True)]
        hits = [(one["slot"], one["part"]) == want for one, want in zip(did, wanted, strict=False)]
        hits += [False] * (len(wanted) - len(hits))
        weights = [float(hit) / one["given_above"] for hit, one in zip(hits, did, strict=False)]
        alone = [float(hit) / one["propensity"] for hit, one in zip(hits, did, strict=False)]
        chain.append(weights + [0.0] * (len(wanted) - len(weights)))
        product.append(alone + [0.0] * (len(wanted) - len(alone)))
        rewards.append(reward)
        truth.append(worth(mood, "|".join(f"{s}={p}" for s, p in zip(CHOICES, target, strict=True))))
    found = standard_ips(chain, rewards)
    assert abs(found.value - np.mean(truth)) < 3.5 * np.std(found.influence) / math.sqrt(len(rows))
    assert np.std(pseudo_inverse(product, rewards).influence) < np.std(found.influence)


def test_off_policy_evaluation_takes_composed_messages_and_learners_of_both_kinds(loop: Loop, played: int) -> None:
    engine = loop.runtime.engine
    name = "subject=question|tone=warm|ask=later"
    for spec in (
        {"key": "slates", "policy": {"type": "bandit", "algorithm": "softmax"}},
        {"key": "whole", "policy": {"type": "bandit", "algorithm": "softmax", "slates": False}},
        {"key": "always", "policy": {"type": "fixed", "action": name}},
    ):
        candidate_policies.add(engine, "composed", CandidateSpec.model_validate(spec), "test")
    asked = evaluations.ask(engine, "composed", EvaluationRequest(), "test")
    evaluations.run_waiting(engine, loop.settings)
    result = evaluations.get(engine, "composed", asked.id).as_json()["result"]
    lines = {line["policy"]: line for line in result["policies"]}
    every = query(loop.database_url, "SELECT eligible FROM decisions WHERE experiment_id = %s LIMIT 1", played)[0][0]
    truth = np.mean([worth(mood, one) for mood in (*BEST, "muted") for one in every])
    interval = lines["uniform"]["interval"]
    assert interval["low"] < truth < interval["high"]
    assert lines["always"]["text"] == f"always {name}"
    assert lines["slates"]["value"] > lines["uniform"]["value"] + 0.1
    assert lines["whole"]["value"] > lines["uniform"]["value"]


def test_the_log_is_exported_with_the_parts_of_every_combination(loop: Loop, played: int, tmp_path: Any) -> None:
    assert export_log(loop.runtime.engine, loop.settings, "composed", tmp_path / "log.jsonl") >= 1500
    text = (tmp_path / "log.jsonl").read_text()
    assert '"part":"question"' in text.replace(" ", "")


def test_a_model_continues_to_learn_when_parts_and_forbidden_pairs_change(loop: Loop) -> None:
    from app.design import experiments

    made = loop.make("growing", actions=[], composition=COMPOSITION, arms=bandit("epsilon_greedy"))
    play(loop, "growing", 0, 100)
    more = [*SLOTS[:2], SLOTS[2] | {"parts": [*SLOTS[2]["parts"], {"id": "never", "texts": {"en": "no"}}]}]
    for change in ({"slots": more}, {"forbidden": []}, {"allow_nothing": False}):
        stored = get(loop.runtime.engine, "growing").config["composition"]
        patch = {"composition": stored | change}
        experiments.change(loop.runtime.engine, loop.settings, "growing", patch, "test")
        loop.runtime.snapshots.refresh()
        play(loop, "growing", made + len(str(change)), 100)
    report = loop.audit("growing")
    assert report.ok and report.versions == 5, report.lines()


def test_lists_are_learned_position_by_position(loop: Loop) -> None:
    """At the first position "a" pays, at the second "b"; the position is a feature like any other."""
    made = loop.make("lists", arms=bandit("squarecb"), actions=[{"id": name} for name in "abcd"])
    for turn in range(4):
        answers = loop.decide("lists", [{"slots": 2, "unit_id": f"{turn}/{n}"} for n in range(100)])
        rewards = {
            one["decision_id"]: float(one["action"]["id"] == "ab"[place])
            for answer in answers
            for place, one in enumerate(answer["positions"])
        }
        assert len(rewards) == 200
        loop.reward([{"decision_id": name, "value": value} for name, value in rewards.items()])
        loop.close_windows(made)
        done = loop.train(made)
        assert done.decisions == 200 and done.promoted
        loop.runtime.snapshots.refresh()
    answers = loop.decide("lists", [{"slots": 2, "unit_id": f"new {n}"} for n in range(50)])
    shown = ["".join(one["action"]["id"] for one in answer["positions"]) for answer in answers]
    assert shown.count("ab") > 35
    report = loop.audit("lists")
    assert report.ok and report.decisions == 900, report.lines()


def test_combinations_follow_the_order_of_slots_and_parts(loop: Loop, played: int) -> None:
    (answer,) = loop.decide("composed", [{"context": {"mood": "muted"}}])
    row = query(loop.database_url, "SELECT eligible FROM decisions WHERE id = %s", answer["decision_id"])[0][0]
    every = [zip(CHOICES, parts, strict=True) for parts in itertools.product(*CHOICES.values())]
    names = ["|".join(f"{slot}={part}" for slot, part in one) for one in every]
    assert row == [name for name in names if "news" not in name or "later" not in name] + ["nothing"]
