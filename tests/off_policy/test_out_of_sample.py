"""No model is scored on what it learned: pure noise, worth .500 whatever is chosen, on the platform itself."""

from typing import Any

import numpy as np
import pytest

from app.foundation.store.engine import transaction
from app.learning.rebuild import rebuild_lineage
from app.off_policy import candidate_policies, evaluations
from app.off_policy.evaluation_request import CandidateSpec, EvaluationRequest
from app.off_policy.policies import BASIS
from app.off_policy.store import evaluations as store
from app.off_policy.store.learned import last_learned
from app.registry import versions
from app.registry.store import experiments, models
from bandits.model import Predictor, describe, initial_model, learn, learn_from_nothing
from tests.lab import Lab, arm
from tests.off_policy.test_evaluations import ask, table_of

MEMORISES = {  # a learner that keeps whatever it sees: one weight for each unit's own context
    "type": "bandit",
    "algorithm": "epsilon_greedy",
    "parameters": {"bits": 16, "epsilon": 0.02, "learning_rate": 2.0, "interactions": ["context*action"]},
    "exploration_floor": 0.05,
}
TURNS, ROWS = 4, 400


def noise(lab: Lab, key: str, turn: int) -> None:
    random = np.random.default_rng(turn)
    bodies = [{"unit_id": f"{key}-{turn}-{n}", "context": {"who": f"u{n % 40}", "x": f"x{n % 5}"}} for n in range(ROWS)]
    lab.play(key, bodies, lambda body, one: float(random.random() < 0.5))


@pytest.fixture(scope="module")
def noisy(lab: Lab) -> str:
    lab.make("noise", arms=[arm("learned", 0.5, MEMORISES), arm("even", 0.5)], control_arm="even")
    for turn in range(TURNS):
        noise(lab, "noise", turn)
    for number in (1, 2, TURNS):
        store_version(lab, "noise", number)
    other = {"key": "square", "policy": MEMORISES | {"algorithm": "squarecb", "parameters": {"bits": 16}}}
    candidate_policies.add(lab.runtime.engine, "noise", CandidateSpec.model_validate(other), "test")
    return "noise"


def store_version(lab: Lab, key: str, number: int) -> None:
    spec = {"key": f"v{number}", "model": {"arm": "learned", "version": number}}
    candidate_policies.add(lab.runtime.engine, key, CandidateSpec.model_validate(spec), "test")


def lines_of(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {line["policy"]: line for line in result["policies"]}


def test_on_noise_nothing_is_promoted_and_what_runs_is_worth_a_half(lab: Lab, noisy: str) -> None:
    result = ask(lab, noisy)["result"]
    lines = lines_of(result)
    assert result["out_of_sample"] and result["search"]["winner"] is None
    for name in ("running", "v1", "v2", "square", "uniform"):
        line = lines[name]
        assert line["value"] is not None, (name, line["reasons"])
        assert line["interval"]["low"] < 0.5 < line["interval"]["high"], name
        assert abs(line["value"] - 0.5) < 0.08, (name, line["value"])
    assert {name: line["basis"] for name, line in lines.items()} == {
        "running": "as_it_ran", "control": "does_not_learn", "uniform": "does_not_learn",
        "best_fixed": "earlier_part", "v1": "later_decisions",
        "v2": "later_decisions", f"v{TURNS}": "later_decisions", "square": "trained_forward",
    }  # fmt: skip
    assert all(line["basis"] in BASIS for line in lines.values())


def test_what_runs_has_on_each_row_the_probability_that_the_version_of_that_time_gave(lab: Lab, noisy: str) -> None:
    with transaction(lab.runtime.engine) as connection:
        table, policies = table_of(lab, connection, noisy)
        early, late = table.split(0.5)
        (running,) = (target for target in policies.standing(early) if target.name == "running")
        chances = running.probabilities(late, lambda _: None)
    own = [index for index, row in enumerate(late.rows) if row.arm == "learned"]
    assert len(own) > 300
    assert all(list(chances[index, :3]) == late.rows[index].distribution for index in own)


def test_a_version_is_scored_only_after_what_it_and_its_ancestors_learned(lab: Lab, noisy: str) -> None:
    lines = lines_of(ask(lab, noisy)["result"])
    with transaction(lab.runtime.engine) as connection:
        experiment = experiments.find(connection, noisy)
        assert experiment is not None
        lasts = {}
        for version in models.of_experiment(connection, experiment.id):
            place = last_learned(connection, version.id)
            lasts[version.number] = place
        rows = list(store.log_rows(connection, experiment.id, 10_000))
    assert lasts[0] is None
    for number in (1, 2):
        last = lasts[number]
        assert last is not None
        after = [row for row in rows[len(rows) // 2 :] if (row.decided_at, row.id) > last]
        assert lines[f"v{number}"]["scored_on"] == len(after)
    newest = lines[f"v{TURNS}"]
    assert (newest["value"], newest["status"], newest["reason_codes"]) == (None, "not_identified", ["already_learned"])
    assert "learned from the evaluated decisions" in newest["reasons"][0]
    assert newest["against_running"] is None


def test_after_a_rollback_the_newest_version_is_no_winner(lab: Lab) -> None:
    lab.make("rolled", arms=[arm("learned", 0.5, MEMORISES), arm("even", 0.5)], control_arm="even")
    for turn in range(TURNS):
        noise(lab, "rolled", turn)
    versions.rollback(lab.runtime.engine, "rolled", "learned", 1, "test")
    lab.runtime.snapshots.refresh()
    store_version(lab, "rolled", TURNS)
    result = ask(lab, "rolled")["result"]
    assert result["search"] == {
        "candidates": [], "winner": None, "text": "no candidate could be compared with what runs: see the reasons of each policy",
    }  # fmt: skip
    noise(lab, "rolled", TURNS)
    line = lines_of(ask(lab, "rolled")["result"])[f"v{TURNS}"]
    assert ROWS <= line["scored_on"] < ROWS + 20 and line["value"] is not None
    (compared,) = ask(lab, "rolled")["result"]["search"]["candidates"]
    assert compared["compared_on"] == line["scored_on"] and not compared["promoted"]
    assert compared["adjusted_p"] > 0.001


def test_a_rebuilt_version_has_learned_everything_up_to_its_time(lab: Lab) -> None:
    lab.make("rebuilt", arms=[arm("learned", 0.5, MEMORISES), arm("even", 0.5)], control_arm="even")
    for turn in range(2):
        noise(lab, "rebuilt", turn)
    with transaction(lab.runtime.engine) as connection:
        experiment = experiments.find(connection, "rebuilt")
        assert experiment is not None
        done = rebuild_lineage(connection, lab.settings, experiment.id, "learned", reason="test")
    lab.runtime.snapshots.refresh()
    store_version(lab, "rebuilt", done.number)
    line = lines_of(ask(lab, "rebuilt")["result"])[f"v{done.number}"]
    assert line["reason_codes"] == ["already_learned"]
    noise(lab, "rebuilt", 2)
    line = lines_of(ask(lab, "rebuilt")["result"])[f"v{done.number}"]
    assert ROWS <= line["scored_on"] < ROWS + 20  # rows of the other arm that follow the last one learned count, too


def test_only_a_stretch_of_the_log_is_used_when_one_is_given(lab: Lab, noisy: str) -> None:
    with transaction(lab.runtime.engine) as connection:
        experiment = experiments.find(connection, noisy)
        assert experiment is not None
        rows = list(store.log_rows(connection, experiment.id, 10_000))
    since, until = rows[ROWS].decided_at, rows[3 * ROWS].decided_at
    window = ask(lab, noisy, since=since, until=until)["result"]["window"]
    inside = [row for row in rows if since <= row.decided_at < until]
    assert window["trained_on"] + window["evaluated_on"] == len(inside) < len(rows)
    assert window["first"] >= since.isoformat() and window["last"] < until.isoformat()
    with pytest.raises(Exception, match="after `since`"):
        evaluations.ask(lab.runtime.engine, noisy, EvaluationRequest(since=until, until=since), "test")


def test_a_candidate_with_a_race_is_trained_forward_as_it_would_have_run(lab: Lab, noisy: str) -> None:
    spec = CandidateSpec.model_validate({"key": "race", "policy": {"type": "bandit"}})
    with transaction(lab.runtime.engine) as connection:
        table, policies = table_of(lab, connection, noisy)
        early, late = table.split(0.5)
        target = policies.candidate(spec, early)
    assert target.forward is not None and target.basis == "trained_forward"
    policy, fits, before = target.forward.policy, 0, early.examples(policies.config)
    model = learn(initial_model(policy), policy, before)
    for _, part, predictor in target.forward.stages(late):
        assert predictor.examples == len(before)
        expected = Predictor(model, policy)
        question = before[-1].shared_line, before[-1].action_lines, 0.02
        assert predictor.distribution(*question).tolist() == expected.distribution(*question).tolist()
        expected.close()
        before += part.examples(policies.config)
        model = learn(model, policy, before[-len(part) :])
        known = describe(model, policy)
        if known["wants_fit"]:
            fits += 1
            window = min(int(str(known["window"])), len(before))
            model = learn_from_nothing(policy, before[-window:], str(known["served"]), len(before) - window)
    assert fits >= 3
