"""An apprentice shows the first action of each call, learns to show the same, says how well, and is switched on."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.design import experiments as definitions
from app.design import interventions
from app.files.exporting import export_log
from app.files.transfer import import_log
from app.foundation.errors import Conflict, NotFound, Unprocessable
from app.foundation.store.engine import transaction
from app.learning import challenge, refit
from app.learning.store import challenges
from app.off_policy.life import apprentice, warm_start, warming
from app.off_policy.life.apprentice_documents import Apprentice, SwitchRequest
from app.off_policy.life.warm_start import WarmStartRequest
from app.people import erasure
from tests.lab import Lab, arm
from tests.page_client import Browser
from tests.service import Client, Web, bandit, make_key, query

NAMES = ["a", "b", "c", "d"]


def apprentices(*keys: str, algorithm: str = "squarecb", **others: Any) -> list[dict[str, Any]]:
    """Arms with equal shares, all of them apprentices."""
    policy = bandit(algorithm, bits=12)[0]["policy"] if algorithm != "auto" else {"type": "bandit"}
    return [
        {"key": key, "share": 1 / max(1, len(keys)), "policy": policy, "apprentice": True} | others
        for key in (keys or ("learned",))
    ]


def call(number: int, **fields: Any) -> dict[str, Any]:
    """What an app asks whose own rule is to show the action of the number, in an order of its own."""
    first = NAMES[number % 4]
    rest = [name for name in NAMES if name != first]
    turn = number % 3
    actions = [{"id": name} for name in (first, *rest[turn:], *rest[:turn])]
    return {"context": {"kind": f"k{number % 4}"}, "unit_id": f"unit-{number % 50}", "actions": actions} | fields


def calls(lab: Lab, key: str, made: int, count: int = 120, **fields: Any) -> list[dict[str, Any]]:
    """A round: decided, rewarded in two of three cases, learned by every arm."""
    decided = lab.decide(key, [call(number, **fields) for number in range(count)])
    lab.report([{"decision_id": one["decision_id"], "value": float(n % 3 > 0)} for n, one in enumerate(decided)])
    lab.close_windows(made)
    for spec in definitions.get(lab.runtime.engine, key).config["arms"]:
        lab.settle_arm(made, spec["key"])
    lab.runtime.snapshots.refresh()
    return decided


def switch(lab: Lab, key: str, on: bool = True, name: str = "learned") -> None:
    request = SwitchRequest(arm=name, apprentice=not on, reason="it is time")
    apprentice.switch(lab.runtime.engine, key, request, "test")
    lab.runtime.snapshots.refresh()


def report(lab: Lab, key: str, name: str = "learned") -> Apprentice:
    apprentice.compute(lab.runtime.engine, lab.settings, key)
    return next(one for one in apprentice.get(lab.runtime.engine, key).apprentices if one.arm == name)


def clean(lab: Lab, *keys: str) -> None:
    for key in keys:
        audited = lab.audit(key)
        assert audited.ok, (key, audited)


def shows_first(answers: list[dict[str, Any]], count: int = 120, start: int = 0) -> bool:
    firsts = [call(number)["actions"][0]["id"] for number in range(start, start + count)]
    return [one["action"]["id"] for one in answers] == firsts and {one["propensity"] for one in answers} == {1.0}


@pytest.mark.parametrize("algorithm", ["squarecb", "auto"])
def test_it_shows_the_first_action_learns_to_show_the_same_and_decides_when_it_is_switched_on(
    lab: Lab, algorithm: str
) -> None:
    key = f"apprentice-{algorithm}"
    made = lab.make(key, actions=[], arms=apprentices(algorithm=algorithm))
    for _ in range(5):
        answers = calls(lab, key, made)
        assert shows_first(answers)
    found = report(lab, key)
    assert found.decisions == 600 and found.active and found.until is None
    assert found.agreement is not None and found.interval is not None and found.value is not None
    assert found.course[0].agreement < 0.35  # before it learned, it is one in four
    assert found.course[-1].agreement > 0.8
    assert (found.interval.low or 0) <= found.agreement <= (found.interval.high or 1)
    assert found.earned == pytest.approx(2 / 3) and found.same is not None and found.same > 0.6
    value = found.value
    assert value.estimate is None and value.reasons  # the log of one arm says nothing of other actions
    assert value.at_least < value.expected < value.at_most and value.at_least < found.earned < value.at_most
    clean(lab, key)
    switch(lab, key)
    answers = calls(lab, key, made)
    assert {one["propensity"] < 1.0 for one in answers} == {True}
    assert sum(one["action"]["id"] == call(n)["actions"][0]["id"] for n, one in enumerate(answers)) > 80
    assert all(one["policy_version"] == 5 for one in answers)
    again = refit.rebuild_now(lab.runtime.engine, lab.settings, key, "learned", "test")
    assert again is not None and again.promoted and again.decisions == 720
    clean(lab, key)
    after = report(lab, key)
    assert (after.active, after.advice, after.decisions, after.agreement) == (
        False,
        "switched_on",
        600,
        found.agreement,
    )
    switch(lab, key, on=False)  # one step back
    assert shows_first(lab.decide(key, [call(number) for number in range(120)]))
    assert report(lab, key).decisions == 0 and report(lab, key).active  # a new time as an apprentice
    clean(lab, key)


def test_every_number_of_the_report_follows_from_the_log(lab: Lab) -> None:
    """Computed once more from the models that each decision names."""
    from app.learning.examples import Configs
    from app.off_policy.policies import Policies
    from app.off_policy.store import evaluations
    from bandits.encoding import encode_context
    from bandits.model import distribution

    made = lab.make("numbers", actions=[], arms=apprentices())
    for _ in range(3):
        calls(lab, "numbers", made, 60)
    found = report(lab, "numbers")
    with transaction(lab.runtime.engine) as connection:
        stored = definitions.get(lab.runtime.engine, "numbers")
        config = definitions.ExperimentConfig.model_validate(stored.config)
        policies, configs = Policies(connection, lab.settings, stored, config), Configs(connection, made)
        likely, rewards = [], []
        for row in evaluations.log_rows(connection, made, 1000):
            model, lines = policies.version("learned", row.policy_version), configs.lines(1, row.actions, row.eligible)
            chances = distribution(policies.policy("learned"), model, encode_context(row.context), lines, row.eligible)
            likely.append(chances[row.chosen])
            rewards.append(row.reward)
    assert len(likely) == 180 and found.value is not None
    assert found.agreement == pytest.approx(sum(likely) / 180)
    known = sum(chance * reward for chance, reward in zip(likely, rewards, strict=True)) / 180
    assert found.value.at_least == pytest.approx(known)  # the least reward is 0, the largest 1
    assert found.value.at_most == pytest.approx(known + 1 - sum(likely) / 180)


def test_other_arms_that_try_actions_give_its_value_an_estimate(lab: Lab) -> None:
    arms = apprentices("learned")
    arms[0]["share"] = 0.5
    made = lab.make("beside", actions=[], arms=[*arms, arm("random", 0.5)])
    for _ in range(4):
        calls(lab, "beside", made, 200)
    found = report(lab, "beside")
    assert found.value is not None and found.value.estimate is not None and found.value.interval is not None
    assert 0 < found.decisions < 800 and (found.value.interval.low or 0) < 2 / 3 < (found.value.interval.high or 1)
    clean(lab, "beside")


def test_many_arms_learn_for_themselves_and_lineages_are_switched_together(lab: Lab) -> None:
    arms = [*apprentices("one", "two", lineage_of="runs"), *apprentices("three"), arm("control", 0.1)]
    for spec, share in zip(arms, (0.3, 0.3, 0.3, 0.1), strict=True):
        spec["share"] = share
    made = lab.make("many", actions=[], arms=arms, control_arm="control")
    calls(lab, "many", made, 200, decision_id=None)
    assert [one.arm for one in apprentice.get(lab.runtime.engine, "many").apprentices] == ["one", "two", "three"]
    switch(lab, "many", name="one")
    config = definitions.get(lab.runtime.engine, "many").config
    assert [spec.get("apprentice", False) for spec in config["arms"]] == [False, False, True, False]
    calls(lab, "many", made, 200)
    clean(lab, "many")
    found = report(lab, "many", "three")
    assert found.active and 0 < found.decisions < 400


def test_rules_and_exclusions_move_the_first_action_to_the_next_one_that_is_eligible(lab: Lab) -> None:
    made = lab.make(
        "ruled",
        actions=[{"id": name} for name in NAMES],
        arms=apprentices(),
        repeats={"in_a_row": 1},
    )
    (first,) = lab.decide("ruled", [{"unit_id": "u"}])
    (second,) = lab.decide("ruled", [{"unit_id": "u"}])
    assert [one["action"]["id"] for one in (first, second)] == ["a", "b"]  # not the same twice in a row
    (excluded,) = lab.decide("ruled", [{"unit_id": "v", "excluded_actions": ["a", "b"]}])
    assert (excluded["action"]["id"], excluded["propensity"]) == ("c", 1.0)
    (single,) = lab.decide("ruled", [{"unit_id": "w", "excluded_actions": ["b", "c", "d"]}])
    assert single["action"]["id"] == "a"
    (listed,) = lab.decide("ruled", [{"unit_id": "x", "slots": 3}])
    assert [one["action"]["id"] for one in listed["positions"]] == ["a", "b", "c"]
    lab.close_windows(made)
    assert lab.train(made).promoted  # of one action, of lists, of fewer actions
    lab.runtime.snapshots.refresh()
    assert report(lab, "ruled").decisions == 7
    clean(lab, "ruled")


def test_composed_messages_have_apprentices_too(lab: Lab) -> None:
    parts = [{"id": "x", "texts": {"en": "X"}}, {"id": "y", "texts": {"en": "Y"}}]
    slots = [{"name": name, "place": name, "parts": parts} for name in ("title", "body")]
    composition = {"channel": "in_app", "slots": slots}
    policy = {"type": "bandit", "algorithm": "squarecb", "parameters": {"bits": 12}}
    arms = [{"key": "learned", "share": 1.0, "policy": policy, "apprentice": True}]
    made = lab.make("composed", actions=[], composition=composition, arms=arms)
    for _ in range(2):
        bodies = [{"unit_id": f"u{n}"} for n in range(150)]
        answers = lab.decide("composed", bodies)
        assert len({one["action"]["id"] for one in answers}) == 1 and {one["propensity"] for one in answers} == {1.0}
        lab.report([{"decision_id": one["decision_id"], "value": 1.0} for one in answers])
        lab.close_windows(made)
        assert lab.train(made).promoted
        lab.runtime.snapshots.refresh()
    found = report(lab, "composed")
    assert found.course[-1].agreement > found.course[0].agreement
    clean(lab, "composed")


def test_a_retry_keeps_its_answer_across_the_switch(lab: Lab) -> None:
    lab.make("retried", actions=[], arms=apprentices())
    body = call(0, decision_id="again")
    (before,) = lab.decide("retried", [body])
    switch(lab, "retried")
    assert lab.decide("retried", [body]) == [before]
    clean(lab, "retried")


def test_an_erased_unit_leaves_what_was_imitated(lab: Lab) -> None:
    """The models are those that never saw the unit: an experiment without its decisions has the same bytes."""
    made = lab.make("forgets", actions=[], arms=apprentices())
    for _ in range(2):
        calls(lab, "forgets", made, 60)
    gone = "unit-7"
    erasure.ask(lab.runtime.engine, lab.settings, lab.caller, gone)
    assert len(erasure.run_waiting(lab.runtime.engine, lab.settings)) == 1
    lab.runtime.snapshots.refresh()
    clean(lab, "forgets")
    found = report(lab, "forgets")
    assert found.decisions == 120 - 2 * 2  # two of sixty calls are of this unit
    switch(lab, "forgets")
    calls(lab, "forgets", made, 60)
    clean(lab, "forgets")


def test_a_challenger_learns_what_the_apprentice_learned(lab: Lab) -> None:
    made = lab.make("challenged", actions=[], arms=apprentices())
    for _ in range(2):
        calls(lab, "challenged", made, 150)
    with transaction(lab.runtime.engine) as connection:
        challenges.ask(connection, made, "learned", None)
    challenge.challenge(lab.runtime.engine, lab.settings, made, "learned")
    clean(lab, "challenged")


def test_an_apprentice_may_begin_with_another_log_and_teach_others(lab: Lab) -> None:
    """What it learned warmly stays; and its own log teaches what it is: the first action's rewards, with probability 1."""
    actions = [{"id": name} for name in NAMES]
    lab.make("apart", actions=actions, arms=apprentices())
    source = lab.make("taught", actions=actions, arms=[arm("random", 1.0)])
    calls(lab, "taught", source, 200)
    request = WarmStartRequest.model_validate({"arm": "learned", "source": {"experiment": "taught"}})
    warm_start.ask(lab.runtime.engine, "apart", request, "test")
    assert warming.run_waiting(lab.runtime.engine, lab.settings) == ["learned"]
    lab.runtime.snapshots.refresh()
    made = definitions.get(lab.runtime.engine, "apart").id
    answers = calls(lab, "apart", made)
    assert shows_first(answers) and {one["policy_version"] for one in answers} == {1}
    calls(lab, "apart", made)
    again = refit.rebuild_now(lab.runtime.engine, lab.settings, "apart", "learned", "test")
    assert again is not None and again.promoted
    clean(lab, "apart", "taught")
    lab.make("next", actions=actions, arms=bandit("squarecb", bits=12))
    request = WarmStartRequest.model_validate({"arm": "learned", "source": {"experiment": "apart"}})
    warm_start.ask(lab.runtime.engine, "next", request, "test")
    assert warming.run_waiting(lab.runtime.engine, lab.settings) == ["learned"]
    clean(lab, "next", "apart")


def test_its_log_comes_back_whole(lab: Lab, tmp_path: Any) -> None:
    made = lab.make("leaves", actions=[], arms=[*apprentices("learned")])
    calls(lab, "leaves", made, 60)
    assert export_log(lab.runtime.engine, lab.settings, "leaves", tmp_path / "log.jsonl") == 60
    import_log(lab.runtime.engine, tmp_path / "log.jsonl", "returns")
    rows = "SELECT propensity, count(*) FROM decisions d JOIN experiments e ON e.id = d.experiment_id WHERE e.key = %s GROUP BY 1"
    assert query(lab.database_url, rows, "returns") == [(1.0, 60)]


def test_the_switch_refuses_no_call_under_load(lab: Lab, client: Client) -> None:
    made = lab.make("loaded", actions=[], arms=apprentices())
    calls(lab, "loaded", made)
    stop = threading.Event()

    def ask(worker: int) -> list[int]:
        statuses, number = [], 0
        while not stop.is_set():
            body = {"experiment": "loaded", **call(number, unit_id=f"w{worker}-{number}")}
            statuses.append(client.post("/v1/decide", body).status)
            number += 1
        return statuses

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, worker) for worker in range(4)]
        try:
            for turn in range(6):
                on = {"arm": "learned", "apprentice": bool(turn % 2), "reason": "back and forth"}
                assert client.post("/v1/experiments/loaded/apprentice", on).status == 200
        finally:
            stop.set()
        statuses = {status for one in asking for status in one.result()}
    assert statuses == {201}
    clean(lab, "loaded")  # every decision has the probabilities of the configuration that it names


def test_what_cannot_be_switched_is_refused_in_a_sentence(lab: Lab) -> None:
    lab.make("refuses", arms=[*bandit("squarecb"), arm("control", 0.0)], control_arm="control")
    lab.make("over", arms=apprentices())
    definitions.move(lab.runtime.engine, "over", "conclude", "test")
    refused: list[tuple[str, str, bool, type[Exception], str]] = [
        ("refuses", "learned", False, Conflict, "apprentice_unchanged"),
        ("refuses", "ghost", True, NotFound, "unknown_arm"),
        ("refuses", "control", True, Unprocessable, "apprentice_learns_not"),
        ("never", "learned", True, NotFound, "unknown_experiment"),
        ("over", "learned", False, Conflict, "concluded"),
    ]
    for key, name, turn, kind, code in refused:
        request = SwitchRequest(arm=name, apprentice=turn, reason="why not")
        with pytest.raises(kind) as caught:
            apprentice.switch(lab.runtime.engine, key, request, "test")
        error: Any = caught.value
        assert code in (error.code, *(field.code for field in error.fields)), (key, name)
    switch(lab, "refuses", on=False)
    with transaction(lab.runtime.engine) as connection, pytest.raises(Conflict) as stopped:
        interventions.set_fallen_back(connection, "refuses", "learned", True, actor="test", reason="no")
    assert stopped.value.code == "apprentice_decides"


def test_a_change_of_something_else_does_not_switch_it_on(lab: Lab) -> None:
    lab.make("changed", arms=apprentices("learned", "more"))
    bare = [
        {"key": name, "share": share, "policy": apprentices()[0]["policy"]}
        for name, share in (("learned", 0.7), ("more", 0.3))
    ]
    lab.change("changed", arms=bare)
    assert all(spec["apprentice"] for spec in definitions.get(lab.runtime.engine, "changed").config["arms"])
    lab.change("changed", arms=[bare[0] | {"apprentice": False}, bare[1]])
    config = definitions.get(lab.runtime.engine, "changed").config
    assert [spec.get("apprentice", False) for spec in config["arms"]] == [False, True]
    with pytest.raises(Unprocessable) as caught:
        lab.make("wrong", arms=[arm("control", 1.0) | {"apprentice": True}])
    assert [(field.path, field.code) for field in caught.value.fields] == [
        ("/arms/0/apprentice", "apprentice_learns_not")
    ]


def test_over_http(lab: Lab, client: Client, database_url: str) -> None:
    made = lab.make("asked", actions=[], arms=apprentices())
    route = "/v1/experiments/asked/apprentice"
    empty = client.get(route).body
    assert (empty["computed_at"], empty["apprentices"][0]["advice"]) == (None, "wait")
    calls(lab, "asked", made)
    report(lab, "asked")
    (one,) = client.get(route).body["apprentices"]
    assert one["decisions"] == 120 and 0 < one["agreement"] < 1 and one["value"]["estimate"] is None
    body = {"arm": "learned", "apprentice": False, "reason": "it is time"}
    for wrong in ({"arm": 1}, {"apprentice": 1}, {"reason": ""}, {"x": 1}, {"reason": None}):
        assert client.post(route, body | wrong).status == 422, wrong
    assert Client(client.port, make_key(database_url, "read")).post(route, body).status == 403
    done = client.post(route, body)
    assert done.status == 200 and "apprentice" not in done.body["arms"][0]
    twice = client.post(route, body)
    assert (twice.status, twice.body["code"]) == (409, "apprentice_unchanged")
    trail = query(
        database_url, "SELECT kind, reason FROM changes WHERE experiment_id = %s ORDER BY id DESC LIMIT 1", made
    )
    assert trail == [("switched_on", "it is time")]


def test_the_page_shows_the_agreement_and_switches_in_one_click(
    lab: Lab, web: Web, editor: Browser, viewer: Browser
) -> None:
    made = lab.make("shown", actions=[], arms=[*apprentices("learned", "other")])
    address = "/admin/experiments/shown/policy/apprentice"
    assert address in editor.get("/admin/experiments/shown/policy").html
    assert "needs 100 settled decisions" in editor.get(address).text
    for _ in range(2):
        calls(lab, "shown", made, 250)
    report(lab, "shown")
    page = editor.get(address)
    assert "agreement over the newest 1,000" in page.text and "agreement-learned" in page.html
    assert "this arm's log says nothing of any other" in page.text
    assert "Switch it on" not in viewer.get(address).text
    switched = editor.post(f"{address}/switch", {"arm": "learned", "do": "on"})
    assert "What learned learned decides now." in switched.text and "Show the first action again" in switched.text
    back = editor.post(f"{address}/switch", {"arm": "learned", "do": "off"})
    assert "The first action of each call is shown in learned now." in back.text
    assert editor.post(f"{address}/switch", {"arm": "learned", "do": "sideways"}).status == 422
    assert viewer.post(f"{address}/switch", {"arm": "learned", "do": "on"}).status == 403
