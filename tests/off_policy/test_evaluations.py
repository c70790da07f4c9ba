"""Off-policy evaluation on logs whose truth is known: a reward is a coin, its chance depends on the group and the action."""

from typing import Any

import numpy as np
import pytest

from app.design import history as trail
from app.design.experiment_config import ExperimentConfig
from app.foundation.errors import NotFound, Unprocessable
from app.foundation.store.engine import transaction
from app.learning.examples import Configs
from app.off_policy import candidate_policies, evaluations
from app.off_policy.evaluation_request import CandidateSpec, EvaluationRequest
from app.off_policy.evaluation_table import evaluate
from app.off_policy.log_table import LogTable, build
from app.off_policy.policies import Policies
from app.off_policy.store import candidates
from app.off_policy.store import evaluations as store
from app.registry import signed_bytes as model_bytes
from app.registry.store import experiments
from bandits.encoding import encode_action, encode_context
from bandits.model import Predictor, distribution
from bandits.policy import BanditPolicy, parse_policy
from experiments.logs.choices import choice_balance, choice_sums
from tests.lab import Lab, arm, sound
from tests.service import query

CHANCE = {("x", "a"): 0.2, ("x", "b"): 0.7, ("x", "c"): 0.4, ("y", "a"): 0.6, ("y", "b"): 0.2, ("y", "c"): 0.4}
BANDIT = {
    "type": "bandit",
    "algorithm": "epsilon_greedy",
    "parameters": {"bits": 12, "epsilon": 0.1},
    "exploration_floor": 0.1,
}
CANDIDATES: list[dict[str, Any]] = [
    {"key": "always-b", "policy": {"type": "fixed", "action": "b"}},
    {"key": "coin", "policy": {"type": "uniform"}},
    {"key": "square", "policy": BANDIT | {"algorithm": "squarecb", "parameters": {"bits": 12}}},
    {"key": "blind", "policy": BANDIT, "features_off": ["group"]},
    {"key": "second", "model": {"arm": "learned", "version": 2}},
]


def bodies(count: int, name: str, per_unit: int = 2) -> list[dict[str, Any]]:
    """Decisions in both groups; each unit has several."""
    return [
        {"unit_id": f"{name}{n // per_unit}", "context": {"group": "xy"[n // per_unit % 2], "noise": n % 7}}
        for n in range(count)
    ]


def world(seed: int) -> Any:
    random = np.random.default_rng(seed)
    return lambda body, one: float(random.random() < CHANCE[body["context"]["group"], one["action"]["id"]])


def three(learned: float, control: float, uniform: float) -> list[dict[str, Any]]:
    return [arm("learned", learned, BANDIT), arm("control", control, "a"), arm("uniform", uniform)]


@pytest.fixture(scope="module")
def learned(lab: Lab) -> str:
    """Four rounds of a learning arm beside a fixed and a uniform one, through a change of the shares."""
    lab.make("loop", arms=three(0.4, 0.3, 0.3), control_arm="control")
    for turn in range(4):
        if turn == 2:
            lab.change("loop", arms=three(0.6, 0.2, 0.2))
        lab.play("loop", bodies(900, f"turn{turn}-"), world(turn))
    for spec in CANDIDATES:
        candidate_policies.add(lab.runtime.engine, "loop", CandidateSpec.model_validate(spec), "test")
    return "loop"


def ask(lab: Lab, key: str, **request: Any) -> dict[str, Any]:
    """Ask, compute, and return the finished evaluation."""
    engine = lab.runtime.engine
    asked = evaluations.ask(engine, key, EvaluationRequest.model_validate(request), "test")
    assert asked.status == "queued" and asked.result is None
    evaluations.run_waiting(engine, lab.settings)
    found = evaluations.get(engine, key, asked.id).as_json()
    return dict(sound(found))


def table_of(lab: Lab, connection: Any, key: str) -> tuple[LogTable, Policies]:
    experiment = experiments.find(connection, key)
    assert experiment is not None
    config = ExperimentConfig.model_validate(experiment.config)
    policies = Policies(connection, lab.settings, experiment, config)
    rows = store.log_rows(connection, experiment.id, 100_000)
    return build(rows, Configs(connection, experiment.id), policies.version), policies


def truth(table: LogTable, chances: Any) -> float:
    """The mean reward that a policy earns on the table's contexts."""
    worth = [[CHANCE[row.context["group"], name] for name in row.eligible] for row in table.rows]
    return float((np.array(worth) * chances).sum(axis=1).mean())


def truths(lab: Lab, key: str, specs: list[dict[str, Any]]) -> dict[str, float]:
    """True values on the later half, of every policy that the report has a line for."""
    with transaction(lab.runtime.engine) as connection:
        table, policies = table_of(lab, connection, key)
        early, late = table.split(0.5)
        targets = policies.standing(early)
        targets += [policies.candidate(CandidateSpec.model_validate(spec), early) for spec in specs]
        return {one.name: truth(late, one.probabilities(late, lambda _: None)) for one in targets}


def test_every_policy_s_interval_covers_its_true_value(lab: Lab, learned: str) -> None:
    found = ask(lab, learned)["result"]
    real = truths(lab, learned, CANDIDATES)
    lines = {line["policy"]: line for line in found["policies"]}
    assert list(lines) == ["running", "control", "uniform", "best_fixed", *[spec["key"] for spec in CANDIDATES]]
    assert real["running"] > 0.55 and real["square"] > 0.55 and real["blind"] < 0.5
    for name, line in lines.items():
        assert line["status"] == "identified", (name, line["reasons"])
        assert line["headline"] == "dr, always_valid"
        assert line["interval"]["low"] <= line["one_look"]["low"] <= line["value"] <= line["one_look"]["high"]
        assert line["one_look"]["high"] <= line["interval"]["high"]
        assert line["interval"]["low"] < real[name] < line["interval"]["high"], (name, line["interval"], real[name])
        assert line["interval"]["high"] - line["interval"]["low"] < 0.25
        assert line["mean_weight"] == pytest.approx(1, abs=0.15)
    assert lines["running"]["against_running"] is None
    gap = lines["always-b"]["against_running"]["interval"]
    assert gap["low"] < real["always-b"] - real["running"] < gap["high"] < 0
    assert found["window"]["evaluated_on"] == found["window"]["trained_on"] == 1800
    winner = found["search"]["winner"]
    assert winner is None or real[winner] > real["running"]


def test_what_the_learning_arm_earned_is_what_the_other_arms_rows_predict(lab: Lab, learned: str) -> None:
    (one,) = ask(lab, learned, candidates=[])["result"]["realised"]
    assert one["arm"] == "learned" and one["agrees"]
    assert one["predicted_interval"]["low"] < one["realised"] < one["predicted_interval"]["high"]
    assert one["predicted_from"] + one["realised_on"] == 1800
    outcomes = lab.outcomes(learned).iloc[1800:]
    assert one["realised"] == pytest.approx(outcomes[outcomes.arm == "learned"].reward.mean())


def test_propensities_are_the_arms_shares_times_what_each_arm_would_have_done(lab: Lab, learned: str) -> None:
    """By brute force: every arm's policy, with the model that it used last, asked anew on every row."""
    names = "d.id, d.arm, d.policy_version, d.config_version, d.context, d.eligible, d.chosen, d.distribution"
    rows = query(
        lab.database_url,
        f"SELECT {names} FROM decisions d JOIN experiments e ON e.id = d.experiment_id WHERE e.key = %s"
        " ORDER BY d.decided_at, d.id",
        learned,
    )
    with transaction(lab.runtime.engine) as connection:
        table, _ = table_of(lab, connection, learned)
        versions = dict(
            query(
                lab.database_url,
                "SELECT number, v.id FROM model_versions v JOIN experiments e ON e.id = v.experiment_id WHERE e.key = %s",
                learned,
            )
        )
        policy = parse_policy(BANDIT)
        assert isinstance(policy, BanditPolicy)
        load = {n: model_bytes.load(connection, versions[n], lab.settings.secret_key)[1] for n in versions if n}
        predictors = {number: Predictor(model, policy) for number, model in load.items()}
    last, wanted = 0, []
    for _, name, version, config, context, eligible, _, logged in rows:
        last = version if name == "learned" else last
        share = {1: (0.4, 0.3, 0.3), 2: (0.6, 0.2, 0.2)}[config]
        lines = [encode_action(action, {"size": "abc".index(action)}) for action in eligible]
        would = distribution(policy, predictors.get(last), encode_context(context), lines, eligible)
        mixture = share[0] * np.array(would) + share[1] * np.array([1.0, 0, 0]) + share[2] * np.full(3, 1 / 3)
        wanted.append(mixture)
        if name == "learned":
            assert list(would) == logged
    assert np.abs(table.logged - np.array(wanted)).max() < 1e-12
    assert [row.id for row in table.rows] == [row[0] for row in rows]
    chosen = np.array([row[6] for row in rows])
    assert table.propensity == pytest.approx(np.array(wanted)[np.arange(len(rows)), chosen], abs=1e-12)
    assert len(set(np.round(table.propensity, 9))) > 4
    balance = choice_balance(choice_sums(chosen, table.logged))
    assert not balance.alert and balance.p_value is not None and balance.p_value > 0.001


def test_nothing_that_runs_is_changed_and_progress_rises(
    lab: Lab, learned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    real = store.advance

    def advance(connection: Any, evaluation_id: int, progress: float) -> None:
        seen.append(progress)
        real(connection, evaluation_id, progress)

    monkeypatch.setattr(store, "advance", advance)
    tables = ("experiments", "experiment_configs", "lineages", "training_ledger", "outcomes", "decisions")
    everything = [f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t" for table in tables]
    everything.append("SELECT string_agg(sha256 || number || arm, '|' ORDER BY id) FROM model_versions")
    before = [query(lab.database_url, one) for one in everything]
    assert ask(lab, learned, candidates=["square", "second"])["progress"] == 1.0
    assert [query(lab.database_url, one) for one in everything] == before
    assert seen == sorted(seen) and len(set(seen)) > 10 and 0 < seen[0] < seen[-1] <= 1


def test_a_planted_better_policy_is_found_and_its_interval_covers_its_value(lab: Lab) -> None:
    lab.make("planted", arms=[arm("control", 0.5, "a"), arm("uniform", 0.5)], control_arm="control")
    lab.play("planted", bodies(2400, "u"), world(11))
    specs = [
        {"key": "planted", "policy": BANDIT | {"exploration_floor": 0.02, "parameters": {"bits": 12, "epsilon": 0.02}}},
        *[{"key": f"always-{name}", "policy": {"type": "fixed", "action": name}} for name in "abc"],
        {"key": "blind", "policy": BANDIT, "features_off": ["group", "noise"]},
    ]
    for spec in specs:
        candidate_policies.add(lab.runtime.engine, "planted", CandidateSpec.model_validate(spec), "test")
    found = ask(lab, "planted")["result"]
    assert found["search"]["winner"] == "planted" and "planted is shown to be better" in found["search"]["text"]
    real = truths(lab, "planted", specs)
    assert real["planted"] > 0.6
    (line,) = (line for line in found["policies"] if line["policy"] == "planted")
    assert line["interval"]["low"] < real["planted"] < line["interval"]["high"]
    judged = {one["name"]: one for one in found["search"]["candidates"]}
    assert judged["planted"]["promoted"] and not any(judged[f"always-{name}"]["promoted"] for name in "ac")
    assert all(one["promoted"] or one["reason"] for one in judged.values())
    assert all(one["adjusted_p"] >= one["p_value"] for one in judged.values())
    assert found["realised"] == []


def test_a_log_of_one_action_identifies_no_other(lab: Lab) -> None:
    lab.make("one-armed", arms=[arm("only", 1.0, "a")])
    lab.play("one-armed", bodies(600, "u"), world(3))
    other = CandidateSpec.model_validate({"key": "other", "policy": {"type": "fixed", "action": "b"}})
    candidate_policies.add(lab.runtime.engine, "one-armed", other, "test")
    found = ask(lab, "one-armed")
    lines = {line["policy"]: line for line in found["result"]["policies"]}
    for name in ("uniform", "other"):
        assert lines[name]["status"] == "not_identified" and lines[name]["value"] is None
        assert lines[name]["interval"] is None and lines[name]["reasons"]
    assert lines["best_fixed"]["status"] == "identified"
    assert lines["best_fixed"]["value"] == pytest.approx(found["result"]["logged_value"])
    assert found["result"]["search"]["winner"] is None
    assert "not identified" in found["result"]["search"]["candidates"][0]["reason"]


def test_where_nothing_learns_the_control_is_evaluated_all_the_same(lab: Lab) -> None:
    lab.make("fixed-arms", arms=[arm("control", 0.5, "a"), arm("other", 0.5, "b")], control_arm="control")
    lab.play("fixed-arms", bodies(600, "u"), world(3))
    lines = {line["policy"]: line for line in ask(lab, "fixed-arms")["result"]["policies"]}
    assert list(lines) == ["control", "uniform", "best_fixed"]
    assert lines["control"]["value"] is not None and lines["control"]["against_running"] is not None


def test_too_few_rows_fail_with_a_sentence_and_a_lost_model_costs_only_its_own_line(lab: Lab) -> None:
    lab.make("small", arms=three(0.5, 0.25, 0.25), control_arm="control")
    lab.play("small", bodies(60, "u"), world(3))
    found = ask(lab, "small")
    assert found["status"] == "failed" and "60 settled decisions" in found["error"] and "at least 100" in found["error"]
    lab.play("small", bodies(200, "v"), world(4))
    assert ask(lab, "small")["status"] == "done"
    lost = CandidateSpec.model_validate({"key": "lost", "model": {"arm": "learned", "version": 99}})
    with pytest.raises(Unprocessable, match="no model version 99"):
        candidate_policies.add(lab.runtime.engine, "small", lost, "test")
    with transaction(lab.runtime.engine) as connection:  # as if it had been stored before it was lost
        candidates.put(connection, experiments.find(connection, "small").id, "lost", lost.model_dump(mode="json"))
    coin = CandidateSpec.model_validate({"key": "coin", "policy": {"type": "uniform"}})
    candidate_policies.add(lab.runtime.engine, "small", coin, "test")
    found = ask(lab, "small")
    assert found["status"] == "done"
    line = {one["policy"]: one for one in found["result"]["policies"]}["lost"]
    assert (line["status"], line["value"], line["reason_codes"]) == ("not_identified", None, ["not_possible"])
    assert "no model version 99" in line["reasons"][0]
    assert [one["name"] for one in found["result"]["search"]["candidates"]] == ["coin"]
    assert ask(lab, "small", candidates=[])["status"] == "done"


def test_a_removed_candidate_is_gone_from_the_next_evaluation_and_stays_in_the_trail(lab: Lab) -> None:
    lab.make("removing")
    spec = CandidateSpec.model_validate({"key": "coin", "policy": {"type": "uniform"}})
    stored = candidate_policies.add(lab.runtime.engine, "removing", spec, "test")
    other = CandidateSpec.model_validate({"key": "coin", "policy": {"type": "fixed", "action": "a"}})
    candidate_policies.add(lab.runtime.engine, "removing", other, "test")
    candidate_policies.remove(lab.runtime.engine, "removing", "coin", "ann")
    assert candidate_policies.listed(lab.runtime.engine, "removing") == []
    with pytest.raises(NotFound, match="no candidate 'coin'"):
        candidate_policies.remove(lab.runtime.engine, "removing", "coin", "ann")
    lines = trail.newest(lab.runtime.engine, experiment_key="removing").lines
    assert [line.change.kind for line in lines[:3]] == ["candidate_removed", "candidate_stored", "candidate_stored"]
    assert lines[0].change.actor == "ann" and lines[1].change.before == stored.model_dump(mode="json")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"key": "running", "policy": {"type": "uniform"}}, "built-in"),
        ({"key": "k"}, "either a policy or a model"),
        ({"key": "k", "policy": {"type": "uniform"}, "model": {"arm": "learned", "version": 1}}, "either"),
        ({"key": "k", "policy": {"type": "fixed", "action": "zebra"}}, "no action"),
        ({"key": "k", "policy": {"type": "magic"}}, "/policy"),
        ({"key": "k", "model": {"arm": "learned"}}, "arm"),
        ({"key": "k", "model": {"arm": "learned", "version": True}}, "version"),
        ({"key": "k", "model": {"arm": "control", "version": 0}}, "not a learning arm"),
        ({"key": "k", "model": {"arm": "learned", "version": 10**12}}, "no model version"),
    ],
)
def test_a_candidate_that_cannot_be_evaluated_is_refused(
    lab: Lab, learned: str, spec: dict[str, Any], words: str
) -> None:
    with pytest.raises(Unprocessable, match=words):
        candidate_policies.add(lab.runtime.engine, learned, CandidateSpec.model_validate(spec), "test")


def test_unknown_candidates_experiments_and_evaluations_are_refused(lab: Lab, learned: str) -> None:
    engine = lab.runtime.engine
    with pytest.raises(Unprocessable, match="no candidate 'ghost' is stored; known are always-b"):
        evaluations.ask(engine, learned, EvaluationRequest(candidates=["coin", "ghost"]), "test")
    with pytest.raises(NotFound):
        evaluations.ask(engine, "nobody", EvaluationRequest(), "test")
    with pytest.raises(NotFound):
        evaluations.get(engine, learned, 10**9)


def test_a_constant_reward_gives_reasons_and_no_warning(lab: Lab) -> None:
    lab.make("constant", arms=three(0.4, 0.3, 0.3), control_arm="control")
    lab.play("constant", bodies(400, "u", 1), lambda _, one: 1.0)
    found = ask(lab, "constant")
    assert found["status"] == "done"
    for line in found["result"]["policies"]:
        assert line["value"] == pytest.approx(1.0, abs=0.05) or line["reasons"]


def test_evaluate_is_a_function_of_the_log_alone(lab: Lab, learned: str) -> None:
    with transaction(lab.runtime.engine) as connection:
        table, policies = table_of(lab, connection, learned)
        specs = [CandidateSpec.model_validate(CANDIDATES[2])]
        first = evaluate(table, policies, specs, EvaluationRequest(), lambda _: None)
        assert evaluate(table, policies, specs, EvaluationRequest(), lambda _: None) == first


def test_results_and_the_log_s_own_estimate_of_two_arms_agree_through_a_ramp(lab: Lab) -> None:
    """Both know the shares that were in force: pooled over the ramp, the arms' means differ by 0.3 instead of 0.1."""
    random = np.random.default_rng(21)
    lab.make("both-ways", arms=[arm("control", 0.9, "a"), arm("treated", 0.1, "b")], control_arm="control")

    def reward(base: float) -> Any:
        return lambda _, decided: float(random.random() < base + 0.1 * (decided["action"]["id"] == "b"))

    lab.play("both-ways", bodies(1200, "early", per_unit=1), reward(0.1))
    lab.change("both-ways", arms=[arm("control", 0.4, "a"), arm("treated", 0.6, "b")])
    lab.play("both-ways", bodies(1200, "late", per_unit=1), reward(0.6))
    spec = CandidateSpec.model_validate({"key": "always-b", "policy": {"type": "fixed", "action": "b"}})
    candidate_policies.add(lab.runtime.engine, "both-ways", spec, "test")
    lines = {line["policy"]: line for line in ask(lab, "both-ways")["result"]["policies"]}
    by_log = lines["always-b"]["value"] - lines["control"]["value"]
    (line,) = lab.results("both-ways")["metrics"][0]["comparisons"]
    assert by_log == pytest.approx(line["difference"], abs=2 * line["std_error"])
    assert line["interval"]["low"] < 0.1 < line["interval"]["high"]
