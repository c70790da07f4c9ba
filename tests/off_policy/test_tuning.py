"""A search over policies: chosen on the earlier part of the log, valued on the later part, and ready to be staged."""

from typing import Any, get_args

import numpy as np
import pytest

from app.foundation.errors import Unprocessable
from app.learning.examples import Configs
from app.off_policy import candidate_policies, evaluations
from app.off_policy.documents import EvaluationAnswer
from app.off_policy.evaluation_request import Algorithm, EvaluationRequest, Space, TuneRequest
from app.off_policy.life import attaching, staging
from app.off_policy.log_table import build
from app.off_policy.policies import Policies
from app.off_policy.tuning import halving
from app.off_policy.tuning.space import OWN, policies
from bandits.examples import Example
from bandits.model import initial_model, learn_forward
from bandits.parameters import ALGORITHMS, LEARNERS
from bandits.policy import BanditPolicy, parse_policy, policy_to_json
from tests.lab import Lab, arm
from tests.off_policy.test_evaluations import bodies, world
from tests.service import SECRET, loopwise

ARMS = [arm("control", 0.5, "a"), arm("uniform", 0.5)]
SMALL = {"algorithms": ["squarecb", "epsilon_greedy"], "learning_rates": [0.5]}


def filled(lab: Lab, key: str, rows: int = 1200) -> str:
    lab.make(key, arms=ARMS, control_arm="control")
    for turn in range(2):
        lab.play(key, bodies(rows, f"{key}{turn}-"), world(0))
    return key


def tuned(lab: Lab, key: str, **request: Any) -> EvaluationAnswer:
    asked = evaluations.tune(lab.runtime.engine, key, TuneRequest.model_validate(request), "ann")
    evaluations.run_waiting(lab.runtime.engine, lab.settings)
    return evaluations.get(lab.runtime.engine, key, asked.id)


@pytest.fixture(scope="module")
def log(lab: Lab) -> str:
    return filled(lab, "searched")


def test_a_search_finds_a_policy_that_is_valued_and_can_be_staged(lab: Lab, log: str) -> None:
    found = tuned(lab, log, tune={"points": 12, "finalists": 2, "space": SMALL})
    assert (found.status, found.progress, found.error) == ("done", 1.0, None)
    assert found.result is not None
    board = found.result.leaderboard
    names = [f"tuned-{found.id}-1", f"tuned-{found.id}-2"]
    assert [line.candidate for line in board] == [*names, *[None] * 10]
    whole = max(line.learned for line in board)
    assert [line.learned for line in board] == [whole] * 4 + [whole // 3] * 8
    assert board[0].value == max(line.value or 0 for line in board[:4])
    assert board[0].value == pytest.approx(board[0].ips, abs=0.2) and board[0].std_error
    stored = {spec.key: spec for spec in candidate_policies.listed(lab.runtime.engine, log)}
    assert [stored[name].policy for name in names] == [line.policy for line in board[:2]]
    lines = {line.policy: line for line in found.result.policies}
    assert lines[names[0]].value and lines[names[0]].value > (lines["uniform"].value or 1)
    assert {line.name: line.difference > 0.1 for line in found.result.search.candidates} == dict.fromkeys(names, True)
    staged = staging.stage(lab.runtime.engine, lab.settings, log, names[0], 0.2, "ann")
    assert staged.status == "waiting"
    assert attaching.run_waiting(lab.runtime.engine, lab.settings) == [names[0]]
    assert lab.audit(log).ok, "its model is the one that was valued"
    again = tuned(lab, log, tune={"points": 2, "finalists": 1, "space": SMALL})
    now = {spec.key: spec for spec in candidate_policies.listed(lab.runtime.engine, log)}
    assert {**stored, f"tuned-{again.id}-1": now[f"tuned-{again.id}-1"]} == now, "nothing is overwritten"


def test_the_later_part_of_the_log_is_not_chosen_by(lab: Lab, log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    real = halving.halving

    def spy(early: Any, *rest: Any) -> Any:
        made = real(early, *rest)
        seen.append((len(early), max(len(made.first) + len(made.sample.late), 0)))
        assert made.first.rows[-1].decided_at <= made.sample.late.rows[0].decided_at
        return made

    monkeypatch.setattr(halving, "halving", spy)
    found = tuned(lab, log, tune={"points": 2, "finalists": 1, "space": SMALL}, test_share=0.25)
    assert found.result is not None
    assert seen == [(found.result.window.trained_on,) * 2]
    assert found.result.window.evaluated_on == pytest.approx(0.25 * 2400, abs=2)


def test_where_every_policy_is_worth_the_same_none_is_promoted(lab: Lab) -> None:
    lab.make("all-alike", arms=ARMS, control_arm="control")
    chance = np.random.default_rng(3)
    for turn in range(2):
        lab.play("all-alike", bodies(500, f"{turn}-"), lambda *_: float(chance.random() < 0.5))
    found = tuned(lab, "all-alike", alpha=0.001, tune={"points": 10, "space": SMALL})
    assert found.result is not None and found.result.search.winner is None


def test_a_budget_ends_a_search_with_what_is_known(lab: Lab, log: str) -> None:
    with lab.runtime.engine.connect() as connection:
        experiment = evaluations.stored_experiment(connection, log)
        read = Policies(
            connection, lab.settings, experiment, evaluations.ExperimentConfig.model_validate(experiment.config)
        )
        until = evaluations.platform.now(connection)
        rows = list(evaluations.log_of(connection, experiment.id, EvaluationRequest(), until))
        early = build(rows, Configs(connection, experiment.id), read.version)
    search = halving.halving(early, read.config, 1 / 3, budget_s=-1.0)
    tried = search.run(policies(Space(), 12, 0, slates=False), lambda _: None)
    assert len(tried) == 12 and {one.reason for one in tried} == {"out of time"}
    assert [line.value for line in halving.leaderboard(tried, [])] == [None] * 12


def test_a_log_that_is_too_short_is_refused_in_words(lab: Lab) -> None:
    filled(lab, "short-log", rows=70)
    found = tuned(lab, "short-log", tune={"points": 2})
    assert found.status == "failed" and found.error is not None and "too few" in found.error
    assert candidate_policies.listed(lab.runtime.engine, "short-log") == []


def test_wrong_settings_are_refused_before_anything_runs(lab: Lab, log: str) -> None:
    with pytest.raises(Unprocessable) as caught:
        tuned(lab, log, tune={"space": {"interactions": [["all"]]}})
    assert caught.value.fields[0].path == "/tune/space"


def test_the_space_has_every_algorithm_in_turn_and_nothing_twice() -> None:
    assert {*get_args(Algorithm)} == {*OWN} == {*ALGORITHMS, *LEARNERS}
    some = policies(Space(), 13, 1, slates=False)
    assert some[0] == parse_policy({"type": "bandit"}) and some == policies(Space(), 13, 1, slates=False)
    kinds = [policy.algorithm for policy in some if isinstance(policy, BanditPolicy)]
    assert {*kinds} == {*Space().algorithms} and max(kinds.count(kind) for kind in kinds) <= 3
    every = policies(Space(algorithms=[*get_args(Algorithm)]), 10_000, 0, slates=False)
    assert len(every) == len({str(policy_to_json(policy)) for policy in every}) > 400
    composed = policies(Space(), 200, 0, slates=True)
    assert all(isinstance(policy, BanditPolicy) and policy.slates for policy in composed) and len(composed) > 100


def test_the_command_line_asks_and_shows_the_leaderboard(lab: Lab, log: str, tmp_path: Any) -> None:
    asked = loopwise(tmp_path, lab.database_url, "tune", log, "--points", "3", "--no-wait", LOOPWISE_SECRET_KEY=SECRET)
    assert asked.returncode == 0, asked.stderr
    evaluations.run_waiting(lab.runtime.engine, lab.settings)
    number = asked.stdout.split()[1].rstrip(".:")
    shown = loopwise(tmp_path, lab.database_url, "tune", log, "--show", number, LOOPWISE_SECRET_KEY=SECRET)
    assert shown.returncode == 0, shown.stderr
    assert f"tuned-{number}-1" in shown.stdout and "auto" in shown.stdout
    wrong = loopwise(tmp_path, lab.database_url, "tune", log, "--points", "1", LOOPWISE_SECRET_KEY=SECRET)
    assert wrong.returncode == 2 and "points" in wrong.stderr


def test_how_a_learner_explores_changes_no_model() -> None:
    """A search learns one model for all of them."""
    log = [
        Example("shared |c x:1", ["|a =a", "|a =b"], row % 2, 0.5, float(row % 3 == 0), [0.5, 0.5])
        for row in range(200)
    ]
    models = set()
    for settings in ({}, {"parameters": {"exploration": 0.3}}, {"exploration_floor": 0.3}):
        policy = parse_policy({"type": "bandit", **settings})
        assert isinstance(policy, BanditPolicy)
        models.add(learn_forward(initial_model(policy), policy, log, [len(log)]))
    assert len(models) == 1
