"""The global holdout: the same units in every experiment and on every way to a decision, in no result, and what it measures."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from app.impact import holdout as effects
from app.impact.holdout import Measured
from app.impact.store import holdout as store
from app.promotion import shipping
from app.registry import holdout as setting
from app.registry.holdout import HoldoutRequest
from app.reporting import results
from bandits.distribution import held_back
from tests.lab import AB, Lab, arm
from tests.messaging.trigger_support import MESSAGE, VARIABLES, Triggers
from tests.page_client import Browser
from tests.service import Client, Loop, Web, bandit, loopwise, make_key, query

ARMS = [arm("control", 0.5, "a"), arm("learned", 0.5, {"type": "bandit", "algorithm": "epsilon_greedy"})]
UNITS = [f"unit-{number}" for number in range(120)]


def set_share(lab: Loop, share: float) -> None:
    setting.change(lab.runtime.engine, lab.settings, HoldoutRequest(share=share, reason="a test"), "ann")


@pytest.fixture(scope="module", autouse=True)
def same_units_in_every_run(loop: Loop) -> None:
    """The first version chooses the salt."""
    with patch("app.registry.holdout.secrets.token_bytes", bytes):
        set_share(loop, 0.5)


def salt_of(database_url: str) -> bytes:
    ((salt,),) = query(database_url, "SELECT DISTINCT salt FROM holdouts")
    return bytes(salt)


def rows_of(database_url: str) -> list[tuple[Any, ...]]:
    """Experiment, unit, arm, flag, propensity and chosen action of every decision."""
    return query(
        database_url,
        "SELECT e.key, d.unit_id, d.arm, coalesce(d.holdout, false), d.propensity, d.eligible[d.chosen + 1]"
        " FROM decisions d JOIN experiments e ON e.id = d.experiment_id",
    )


def test_the_holdout_is_exact_across_experiments_and_on_every_way_to_a_decision(
    web: Web, client: Client, loop: Loop, database_url: str
) -> None:
    work = Triggers(loop)
    for key in ("shop", "flags", "lists"):
        client.make(key, arms=ARMS, control_arm="control", actions=[{"id": name} for name in "abc"])
    work.experiment("tips", actions=[{"id": "hello", "template": MESSAGE}, {"id": "a"}], variables=VARIABLES, arms=ARMS)
    work.define("each", {"type": "event", "event": "lesson"})
    answer = client.call("PUT", "/v1/holdout", {"share": 0.25, "reason": "a year of growth"})
    assert (answer.status, answer.body["share"]) == (200, 0.25)
    loop.runtime.snapshots.refresh()
    key = make_key(database_url, experiment="shop")
    personalizer = Client(web.port, headers={"Ocp-Apim-Subscription-Key": key})
    for unit in UNITS[:40]:
        assert client.decide("shop", unit).status == 201
        assert client.post("/v1/messages/decide", {"experiment": "tips", "unit_id": unit}).status == 201
        flag = client.post("/ofrep/v1/evaluate/flags/flags", {"context": {"targetingKey": unit}})
        assert flag.status == 200, flag.raw
        actions = [{"id": name, "features": [{"n": 1}]} for name in "abc"]
        ranked = personalizer.post("/personalizer/v1.0/rank", {"actions": actions, "eventId": unit})
        assert ranked.status == 201, ranked.raw
    client.decide_many("shop", [{"unit_id": unit} for unit in UNITS])
    client.decide_many("lists", [{"unit_id": unit, "slots": 2} for unit in UNITS])
    work.report(*({"name": "lesson", "unit_id": unit, "event_id": f"e-{unit}"} for unit in UNITS))
    work.match()
    work.fire()
    salt, rows = salt_of(database_url), rows_of(database_url)
    assert {key for key, *_ in rows} == {"shop", "tips", "flags", "lists"} and len(rows) == 640
    for key, unit, name, flag, propensity, action in rows:
        assert flag == held_back(salt, unit, 0.25)
        if flag:
            assert name == "control"
            assert (action, propensity) == ("a", 1.0) or (key == "lists" and action != "a"), "lists go on below a"
    assert 15 < len({unit for _, unit, _, flag, *_ in rows if flag and unit in UNITS}) < 50
    for experiment in ("shop", "tips", "flags", "lists"):
        report = loop.audit(experiment)
        assert report.ok, report.lines()


def test_a_larger_share_keeps_those_who_were_in_it(loop: Loop, database_url: str) -> None:
    salt = salt_of(database_url)
    held = [{unit for unit in UNITS if held_back(salt, unit, share)} for share in (0.0, 0.1, 0.25, 0.5)]
    assert not held[0] and held[1] < held[2] < held[3]
    for share in (0.5, 0.1, 0.3):
        set_share(loop, share)
    assert {bytes(row[0]) for row in query(database_url, "SELECT salt FROM holdouts")} == {salt}


def test_no_decision_is_stored_that_was_planned_under_an_older_share(loop: Loop, database_url: str) -> None:
    """This process does not know of the change yet: it is told when it stores, and decides again."""
    loop.make("late", arms=ARMS, control_arm="control")
    set_share(loop, 0.45)
    answers = loop.decide("late", [{"unit_id": unit} for unit in UNITS])
    assert len(answers) == len(UNITS)
    flags = [(unit, flag) for key, unit, _, flag, *_ in rows_of(database_url) if key == "late"]
    assert all(flag == held_back(salt_of(database_url), unit, 0.45) for unit, flag in flags)


def test_postgresql_and_python_agree_about_every_unit(loop: Loop, database_url: str) -> None:
    units, salt = [f"ünit {number}" for number in range(3000)], salt_of(database_url)
    groups = store.Groups(salt, 0.1, 0.37)
    statement = store._GROUP.replace(":held_below", "%s").replace(":treated_from", "%s")
    values = groups.values()
    rows = query(
        database_url,
        f"SELECT unit, {statement} FROM unnest(CAST(%s AS text[])) unit CROSS JOIN LATERAL (SELECT substring(sha256("
        "CAST(%s AS bytea) || sha256(CAST(%s AS bytea) || convert_to(unit, 'UTF8'))) FROM 1 FOR 8) AS head) h",
        *(values[name] for name in ("held_below", "treated_from")),
        units,
        values["outer"],
        values["inner"],
    )
    for unit, name in rows:
        expected = store.HELD if held_back(salt, unit, 0.1) else None if held_back(salt, unit, 0.37) else store.TREATED
        assert name == expected


def test_units_of_the_holdout_are_in_no_result_and_nobody_learns_from_them(lab: Lab, database_url: str) -> None:
    set_share(lab, 0.4)
    lab.make("learns", arms=bandit())
    lab.play("learns", [{"unit_id": unit} for unit in UNITS], lambda *_: 1.0)
    salt = salt_of(database_url)
    free = [unit for unit in UNITS if not held_back(salt, unit, 0.4)]
    report = lab.results("learns")
    assert report["window"]["units"] == len(free) == report["window"]["settled"]
    learned = (
        "SELECT count(*) FROM training_ledger l JOIN experiments e ON e.id = l.experiment_id WHERE e.key = 'learns'"
    )
    assert query(database_url, f"{learned} AND version_id > 0") == [(len(free),)]
    assert query(database_url, f"{learned} AND version_id = 0") == [(len(UNITS) - len(free),)]
    assert lab.audit("learns").ok


@pytest.mark.parametrize(
    ("change", "back", "words"),
    [
        (
            "UPDATE holdouts SET share = 0.001 WHERE version = (SELECT max(version) FROM holdouts)",
            "UPDATE holdouts SET share = 0.4 WHERE version = (SELECT max(version) FROM holdouts)",
            "was changed",
        ),
        (
            "UPDATE decisions SET holdout = NULL WHERE holdout AND id = (SELECT min(d.id) FROM decisions d"
            " JOIN experiments e ON e.id = d.experiment_id WHERE e.key = 'learns' AND d.holdout)",
            "",
            "is in the global holdout",
        ),
    ],
)
def test_the_audit_finds_a_changed_share_and_a_changed_flag(
    loop: Loop, database_url: str, change: str, back: str, words: str
) -> None:
    query(database_url, change)
    report = loop.audit("learns")
    assert not report.ok and any(words in line for line in report.lines())
    if back:
        query(database_url, back)


def test_the_effect_of_all_shipped_experiments_has_an_interval_that_covers_it(lab: Lab, database_url: str) -> None:
    """The shipped arms earn 0.2 more per decision; every unit decides twice in one and once in the other: 0.6 per unit."""
    engine = lab.runtime.engine
    set_share(lab, 0.0)
    assert effects.effect(engine, Measured()).reason == "There is no global holdout."
    set_share(lab, 0.3)
    assert "No experiment has shipped" in effects.effect(engine, Measured()).reason
    random = np.random.default_rng(3)
    for key, times in (("one", 2), ("two", 1)):
        lab.make(key, arms=AB, control_arm="control")
        shipping.ship(engine, key, shipping.ShipRequest(arm="treated", reason="better"), "ann")
        lab.runtime.snapshots.refresh()
        bodies = [{"unit_id": f"customer-{n}"} for n in range(1500)] * times
        lab.play(key, bodies, lambda _, answer: float(random.random() < 0.4 + 0.2 * (answer["arm"] == "treated")))
    effect = effects.effect(engine, Measured())
    together, *apart = effect.lines
    assert [line.experiment for line in apart] == ["one", "two"] and together.experiment is None
    assert 350 < together.held_units < 550 and together.held_units + together.other_units == 1500
    for line, truth in ((together, 0.6), (apart[0], 0.4), (apart[1], 0.2)):
        for ends in (line.interval, line.always_valid):
            assert ends.low is not None and ends.high is not None
            assert 0 < ends.low < truth < ends.high
    assert not results.get(engine, "one").sample_ratio.alert
    assert effects.compute_due(engine) and not effects.compute_due(engine)  # the worker keeps it for a while
    lab.play("two", [{"unit_id": f"later-{n}"} for n in range(60)], lambda *_: 1.0)
    kept = effects.effect(engine, Measured())
    assert kept.lines == effect.lines and effect.computed_at < kept.computed_at
    set_share(lab, 0.4)  # whoever came in later is in neither group
    later = effects.effect(engine, Measured())
    assert later.computed_at > kept.computed_at, "what the worker kept is of another share"
    assert later.lines[0].held_units > together.held_units and later.lines[0].other_units < together.other_units
    assert later.left_out == pytest.approx(0.1)


def test_the_page_the_route_and_the_command_say_the_same(
    client: Client, admin: Browser, viewer: Browser, database_url: str, tmp_path: Path
) -> None:
    assert "40.00% of all users are held back" in viewer.get("/admin/holdout").text
    assert "Change the share" not in viewer.get("/admin/holdout").text
    page = admin.get("/admin/holdout?event=purchase&value=sum")
    assert "name the property that is summed" in page.text.lower()
    posted = admin.post("/admin/holdout", {"share": "abc", "reason": ""})
    admin.get("/admin/holdout")
    assert posted.status == 422 and "Write a number" in posted.text
    assert admin.post("/admin/holdout", {"share": "12.5", "reason": "fewer"}).status == 200
    assert client.get("/v1/holdout").body["share"] == 0.125
    effect = client.get("/v1/holdout/effect?event=purchase&value=count&window_s=60").body
    assert effect["measured"].startswith("purchase events per unit")
    assert client.get("/v1/holdout/effect?value=nothing").status == 422
    assert client.call("PUT", "/v1/holdout", {"share": 0.6, "reason": "x"}).status == 422
    printed = loopwise(tmp_path, database_url, "holdout", "--share", "0", "--reason", "over")
    assert "0.00% of all units are held back." in printed.stdout, printed.stderr
    assert "There is no holdout" in viewer.get("/admin/holdout").text
