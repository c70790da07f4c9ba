"""A reward of several metrics: previewed, applied without a reset, learned again from the ledger or from now on, replayed."""

from typing import Any

import pytest

from app.design import experiments
from app.foundation.errors import Unprocessable
from app.learning.formula_preview import preview
from app.registry.versions import describe
from tests.learning.feedback_support import THUMBS, apply, say
from tests.page_client import Browser
from tests.service import Client, Loop, bandit, query

TEXT = "reward + 0.01 * dwell - 0.5 * unsubscribes"
REWARD = {"window_s": 600.0, "min": -1.0, "max": 1.0}


def change(loop: Loop, key: str, formula: dict[str, Any] | None) -> None:
    experiments.change(loop.runtime.engine, loop.settings, key, {"reward_formula": formula}, "test")
    loop.runtime.snapshots.refresh()


def round_of(loop: Loop, key: str, experiment_id: int, count: int = 40) -> list[dict[str, Any]]:
    """Action b is clicked and closes accounts; action a is read for long."""
    decided = loop.decide(key, [{"context": {"n": n % 3}} for n in range(count)])
    reports: list[dict[str, Any]] = []
    for decision in decided:
        name, action = decision["decision_id"], decision["action"]["id"]
        reports.append({"decision_id": name, "value": float(action == "b")})
        reports.append({"decision_id": name, "metric": "dwell", "value": 60.0 if action == "a" else 10.0})
        reports.append({"decision_id": name, "metric": "dwell", "value": 5.0, "reward_id": "more"})
        if action == "b":
            reports.append({"decision_id": name, "metric": "unsubscribes", "value": 2.0})
    loop.reward(reports)
    loop.close_windows(experiment_id)
    loop.train(experiment_id)
    loop.runtime.snapshots.refresh()
    return decided


def rewards_of(loop: Loop, key: str) -> dict[str, set[tuple[float, int]]]:
    """Reward and version of the outcomes, by action."""
    rows = query(
        loop.database_url,
        "SELECT d.eligible[d.chosen + 1], o.reward, o.feedback_version FROM outcomes o JOIN decisions d ON d.id = o.decision_id"
        " AND d.experiment_id = o.experiment_id JOIN experiments e ON e.id = o.experiment_id WHERE e.key = %s",
        key,
    )
    found: dict[str, set[tuple[float, int]]] = {}
    for action, reward, version in rows:
        found.setdefault(action, set()).add((round(reward, 12), version))
    return found


def versions(loop: Loop, key: str) -> list[dict[str, Any]]:
    return list(describe(loop.runtime.engine, key)["arms"][0]["versions"])


def test_the_preview_equals_what_the_change_then_gives_and_nothing_is_reset(loop: Loop) -> None:
    experiment_id = loop.make("whole", arms=bandit(), reward=REWARD)
    round_of(loop, "whole", experiment_id)
    assert {reward for rows in rewards_of(loop, "whole").values() for reward, _ in rows} == {0.0, 1.0}
    shown = preview(loop.runtime.engine, "whole", TEXT + " + 0 * never")
    assert shown.decisions == 40 and shown.changed == 1.0 and shown.cut == 0.0
    assert {name.name: name.decisions for name in shown.names}["never"] == 0
    before = versions(loop, "whole")
    change(loop, "whole", {"text": TEXT})
    (applied,) = apply(loop)
    assert (applied.version, applied.outcomes) == (1, 40)
    found = rewards_of(loop, "whole")
    assert found["a"] == {(0.65, 1)} and found["b"] == {(0.15, 1)} and found["c"] == {(0.15, 1)}
    total = query(loop.database_url, "SELECT avg(reward) FROM outcomes WHERE experiment_id = %s", experiment_id)[0][0]
    assert shown.arms[0].then == pytest.approx(total)
    after = versions(loop, "whole")
    assert len(after) == len(before) + 1 and after[-1]["trained_on"] == before[-1]["trained_on"] == 40
    ((manifest,),) = query(
        loop.database_url,
        "SELECT manifest FROM model_versions WHERE experiment_id = %s AND number = %s",
        experiment_id,
        after[-1]["number"],
    )
    assert manifest["feedback_version"] == 1
    decided = round_of(loop, "whole", experiment_id)
    assert sum(decision["action"]["id"] == "a" for decision in decided) > 25, "it learned what the formula rewards"
    report = loop.audit("whole")
    assert report.ok, report.lines()


def test_from_now_on_earlier_rewards_and_models_stay(loop: Loop) -> None:
    experiment_id = loop.make("onwards", arms=bandit(), reward=REWARD)
    round_of(loop, "onwards", experiment_id)
    count = len(versions(loop, "onwards"))
    change(loop, "onwards", {"text": TEXT, "relearn": False})
    (applied,) = apply(loop)
    assert applied.outcomes == 0 and applied.rebuilt == {} and len(versions(loop, "onwards")) == count
    round_of(loop, "onwards", experiment_id)
    found = rewards_of(loop, "onwards")
    assert found["b"] == {(1.0, 0), (0.15, 1)}
    report = loop.audit("onwards")
    assert report.ok, report.lines()


def test_the_wizard_shows_what_a_formula_gives_over_the_log(loop: Loop, editor: Browser) -> None:
    experiment_id = loop.make("shown", arms=bandit(), reward=REWARD, reward_formula={"text": TEXT})
    round_of(loop, "shown", experiment_id)
    editor.get("/admin/experiments/shown/")
    draft = editor.post("/admin/experiments/shown/edit", {}).address.rsplit("/", 1)[0]
    text = editor.get(f"{draft}/reward").text
    assert (
        "Over the newest 40 settled decisions" in text and "unsubscribes" in text and "0.0% of them would have" in text
    )


def test_answers_are_part_of_the_reward_in_a_formula_and_the_value_is_cut(loop: Loop) -> None:
    experiment_id = loop.make(
        "both", reward=REWARD, feedback=THUMBS, reward_formula={"text": "reward * 0.5 + 3 * dwell"}
    )
    said, long, silent = (row["decision_id"] for row in loop.decide("both", [{}] * 3))
    say(loop, [{"decision_id": said, "kind": "thumbs", "value": "up"}])
    loop.reward([{"decision_id": long, "metric": "dwell", "value": 9.0}])
    loop.close_windows(experiment_id)
    loop.train(experiment_id, "all")
    rows = query(
        loop.database_url, "SELECT decision_id, reward, events FROM outcomes WHERE experiment_id = %s", experiment_id
    )
    assert {name: (reward, events) for name, reward, events in rows} == {
        said: (0.5, 1),
        long: (1.0, 1),
        silent: (0.0, 0),
    }


def test_a_text_that_is_no_formula_is_refused_where_it_is_wrong(loop: Loop) -> None:
    loop.make("wrong")
    with pytest.raises(Unprocessable) as refused:
        change(loop, "wrong", {"text": "clicks / 2"})
    assert [(field.path, field.code) for field in refused.value.fields] == [
        ("/reward_formula/text", "formula_character")
    ]
    with pytest.raises(Unprocessable):
        preview(loop.runtime.engine, "wrong", "clicks +")


def test_the_route_previews_and_says_what_is_wrong(client: Client) -> None:
    client.make("routed")
    answer = client.post("/v1/experiments/routed/reward-formula/preview", {"text": "reward + x"})
    assert answer.status == 200 and answer.body["decisions"] == 0 and answer.body["changed"] is None
    wrong = client.post("/v1/experiments/routed/reward-formula/preview", {"text": "("})
    assert wrong.status == 422 and wrong.body["errors"][0]["code"] == "formula_ends"
