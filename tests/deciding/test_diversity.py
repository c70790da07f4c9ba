"""Lists avoid what is like the actions above: logged as drawn, repeated by the audit and a replay, and known off-policy."""

import json
from typing import Any

import numpy as np
import pytest

from app.design.experiment_config import ExperimentConfig
from app.foundation.store.engine import transaction
from app.learning.examples import Configs
from app.off_policy.log_table import build
from app.off_policy.policies import Policies
from app.off_policy.store import evaluations as store
from app.registry.lookup import stored_experiment
from app.verification.replay import replay
from bandits.policy import parse_policy
from tests.lab import Lab
from tests.service import query

ACTIONS = [{"id": f"{topic}{n}", "features": {"topic": topic}} for topic in ("news", "sport", "arts") for n in range(3)]
BANDIT: dict[str, Any] = {"type": "bandit", "algorithm": "squarecb", "parameters": {"bits": 12}}


def arms(diversity: float) -> list[dict[str, Any]]:
    learned = {"key": "learned", "share": 0.7, "policy": BANDIT | ({"diversity": diversity} if diversity else {})}
    return [learned, {"key": "control", "share": 0.3, "policy": {"type": "uniform"}}]


@pytest.fixture(scope="module")
def lists(lab: Lab) -> int:
    experiment_id = lab.make("lists", actions=ACTIONS, arms=arms(0.99), control_arm="control")
    for part in range(4):
        bodies = [{"unit_id": f"u{part}-{n}", "slots": 3} for n in range(60)]
        answers = [position for answer in lab.decide("lists", bodies) for position in answer["positions"]]
        lab.report(
            [
                {"decision_id": answer["decision_id"], "value": float(answer["action"]["id"].startswith("news"))}
                for answer in answers
            ]
        )
        lab.settle("lists")
    return experiment_id


def repeats(lab: Lab, experiment_id: int, arm: str) -> float:
    """Share of the second positions with the topic of the first."""
    rows = query(
        lab.database_url,
        "SELECT id, left(eligible[chosen + 1], 4) FROM decisions WHERE experiment_id = %s AND arm = %s",
        experiment_id,
        arm,
    )
    topics = dict(rows)
    pairs = [(topics[name[:-2]], topic) for name, topic in topics.items() if name.endswith("#2")]
    assert pairs
    return sum(first == second for first, second in pairs) / len(pairs)


def test_the_second_position_is_seldom_like_the_first_although_news_pays(lab: Lab, lists: int) -> None:
    assert repeats(lab, lists, "learned") < 0.2, "news is what the model prefers, and 2 of 8 are news"


def test_the_audit_and_a_replay_repeat_it(lab: Lab, lists: int) -> None:
    report = lab.audit("lists")
    assert report.ok, report.findings
    (name,) = query(
        lab.database_url,
        "SELECT id FROM decisions WHERE experiment_id = %s AND arm = 'learned' AND cardinality(eligible) = 7"
        " AND policy_version > 1 LIMIT 1",
        lists,
    )[0]
    repeated = replay(lab.runtime.engine, lab.settings, "lists", name)
    assert all(check.same for check in repeated.recomputed.checks)


def test_the_log_is_valued_with_it_on_rows_of_every_arm(lab: Lab, lists: int) -> None:
    """Recomputed with the version that served, the learned arm's rows give the logged distributions."""
    with transaction(lab.runtime.engine) as connection:
        experiment = stored_experiment(connection, "lists")
        policies = Policies(connection, lab.settings, experiment, ExperimentConfig.model_validate(experiment.config))
        table = build(store.log_rows(connection, lists, 10_000), Configs(connection, lists), policies.version)
        own = [i for i, row in enumerate(table.rows) if row.arm == "learned"]
        version = max(row.policy_version for row in table.rows)
        part = table.take(np.array([i for i in own if table.rows[i].policy_version == version]))
        predictor = policies.version("learned", version)
        again = part.probabilities(parse_policy(arms(0.99)[0]["policy"]), predictor, lambda _: None)
    assert len(part) > 20 and {len(above) for above in part.above} == {0, 1, 2}
    assert again == pytest.approx(part.arms["learned"], abs=1e-12)
    control = table.take(np.array([i for i, row in enumerate(table.rows) if row.arm == "control" and row.above]))
    plain = control.probabilities(parse_policy(BANDIT), None, lambda _: None)
    assert np.abs(control.arms["learned"] - plain).max() > 0.05, "rows of other arms know what stood above, too"


def test_it_may_change_while_the_experiment_runs_and_stands_in_the_definition(lab: Lab, lists: int) -> None:
    lab.change("lists", arms=arms(0.0))
    (config,) = query(
        lab.database_url, "SELECT config FROM experiment_configs WHERE experiment_id = %s ORDER BY version", lists
    )[-1]
    assert "diversity" not in json.dumps(config)
    lab.decide("lists", [{"unit_id": f"late{n}", "slots": 3} for n in range(60)])
    assert lab.audit("lists").ok
