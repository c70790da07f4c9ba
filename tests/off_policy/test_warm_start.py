"""An arm begins with what another log teaches: what it learned is shown, replayed, erased, and counted as nobody else's."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.design import experiments as definitions
from app.files.exporting import export_log
from app.files.transfer import import_log
from app.foundation.errors import Conflict, LoopwiseError, NotFound, Unprocessable
from app.learning import refit
from app.off_policy.life import warm_start, warming
from app.off_policy.life.warm_start import WarmStart, WarmStartRequest
from app.people import erasure
from app.registry.store import models
from tests.lab import Lab
from tests.page_client import Browser
from tests.service import Client, bandit, make_key, query

AUTO = [{"key": "learned", "share": 1.0, "policy": {"type": "bandit"}}]
POLICIES = {"squarecb": bandit("squarecb", bits=12), "auto": AUTO}
OLD = "old"


@pytest.fixture(scope="module")
def taught(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A log in which b pays, of 200 decisions by 40 units; and the same as an imported log."""
    made = lab.make(OLD, arms=bandit("squarecb", bits=12))
    for turn in range(2):
        bodies = [{"unit_id": f"{OLD}-{n % 40}", "context": {"n": n % 5, "page": "home"}} for n in range(100)]
        decided = lab.decide(OLD, bodies)
        lab.report([{"decision_id": one["decision_id"], "value": float(one["action"]["id"] == "b")} for one in decided])
        lab.close_windows(made)
        assert lab.train(made).number == turn + 1
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    assert export_log(lab.runtime.engine, lab.settings, OLD, path) == 200
    import_log(lab.runtime.engine, path, "imported")
    return OLD


def begin(lab: Lab, key: str, source: dict[str, Any], arm: str = "learned") -> WarmStart:
    request = WarmStartRequest.model_validate({"arm": arm, "source": source})
    asked = warm_start.ask(lab.runtime.engine, key, request, "test")
    assert asked.status == "waiting" and asked.agreement.decisions > 0
    assert warming.run_waiting(lab.runtime.engine, lab.settings) == [arm], warm_start.of_experiment(
        lab.runtime.engine, key
    )
    lab.runtime.snapshots.refresh()
    (done,) = warm_start.of_experiment(lab.runtime.engine, key)
    assert done.status == "done" and done.version == 1
    return done


def chance_of_b(lab: Lab, key: str, **context: Any) -> float:
    body = {"context": {"n": 2, "page": "home"} | context, "unit_id": "asks"}
    (answer,) = lab.decide(key, [body])
    assert answer["policy_version"] >= 1
    return float(next(one["probability"] for one in answer["ranking"] if one["id"] == "b"))


def clean(lab: Lab, *keys: str) -> None:
    for key in keys:
        report = lab.audit(key)
        assert report.ok, (key, report)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("source", ["log", "imported", "version"])
def test_an_arm_begins_with_what_a_log_teaches_and_goes_on(lab: Lab, taught: str, policy: str, source: str) -> None:
    key = f"new-{policy}-{source}"
    made = lab.make(key, arms=POLICIES[policy])
    of = {"log": {"experiment": taught}, "imported": {"experiment": "imported"}}
    done = begin(lab, key, of.get(source, {"experiment": taught, "arm": "learned", "version": 1}))
    assert done.decisions == (100 if source == "version" else 200)
    assert done.agreement.actions == ["a", "b", "c"] and done.agreement.fields_known is False
    assert chance_of_b(lab, key) > 0.6
    assert query(lab.database_url, "SELECT count(*) FROM training_ledger WHERE experiment_id = %s", made) == [(0,)]
    clean(lab, key)
    lab.more(key, made, 60, "c")
    assert lab.more(key, made, 60, "c").promoted
    before = served(lab, made)
    assert before == (done.decisions or 0) + 121
    again = refit.rebuild_now(lab.runtime.engine, lab.settings, key, "learned", "test")
    assert again is not None and again.promoted
    assert served(lab, made) == before  # what it began with is not forgotten by learning again
    clean(lab, key, *([taught] if source != "imported" else ["imported"]))


@pytest.mark.parametrize("policy", POLICIES)
def test_an_erasure_in_the_other_experiment_reaches_the_model(lab: Lab, policy: str) -> None:
    """The model is then the one that had never seen the unit: an arm that begins afterwards has the same bytes."""
    source, keys = f"source-{policy}", (f"before-{policy}", f"after-{policy}")
    other = lab.make(source, arms=bandit("squarecb", bits=12))
    lab.more(source, other, 80)
    ids = [lab.make(key, arms=POLICIES[policy]) for key in keys]
    begin(lab, keys[0], {"experiment": source})
    lab.more(keys[0], ids[0], 40)
    refit.rebuild_now(lab.runtime.engine, lab.settings, keys[0], "learned", "test")
    gone = "unit-7"
    erasure.ask(lab.runtime.engine, lab.settings, lab.caller, gone)
    assert len(erasure.run_waiting(lab.runtime.engine, lab.settings)) == 1
    begin(lab, keys[1], {"experiment": source})
    warm = [version(lab, id_, "warm") for id_ in ids]
    assert warm[0].sha256 == warm[1].sha256 and warm[0].examples == warm[1].examples == 79
    assert query(lab.database_url, "SELECT count(*) FROM warm_lessons WHERE experiment_id = %s", ids[0]) == [(79,)]
    clean(lab, source, *keys)


def served(lab: Lab, experiment_id: int) -> int:
    """What the serving version has learned, with its ancestors."""
    with lab.runtime.engine.connect() as connection:
        (serving,) = models.serving(connection, experiment_id=experiment_id)
    return serving.examples


def version(lab: Lab, experiment_id: int, kind: str) -> models.VersionInfo:
    with lab.runtime.engine.connect() as connection:
        found = models.find_kind(connection, experiment_id, "learned", kind)
    assert found is not None
    return found


def test_what_cannot_begin_is_refused_in_a_sentence(lab: Lab, taught: str) -> None:
    lab.make("strange", actions=[{"id": "x"}, {"id": "y"}], arms=bandit())
    lab.make("empty", arms=bandit())
    lab.make("fields", arms=bandit(), context_fields=[{"name": "country"}])
    lab.make("fixed", arms=[{"key": "learned", "share": 1.0, "policy": {"type": "uniform"}}])
    lab.make("closed", arms=bandit())
    definitions.move(lab.runtime.engine, "closed", "conclude", "test")
    refused: list[tuple[str, dict[str, Any], type[LoopwiseError], str]] = [
        ("strange", {"experiment": taught}, Unprocessable, "no_action_agrees"),
        ("fields", {"experiment": taught}, Unprocessable, "no_field_agrees"),
        ("fixed", {"experiment": taught}, Unprocessable, "arm_does_not_learn"),
        ("empty", {"experiment": "strange"}, Unprocessable, "nothing_to_learn"),
        ("empty", {"experiment": taught, "arm": "learned", "version": 99}, Unprocessable, "unknown_version"),
        ("empty", {"experiment": taught, "arm": "ghost"}, Unprocessable, "arm_does_not_learn"),
        ("empty", {"experiment": taught, "version": 1}, Unprocessable, "missing"),
        ("empty", {"experiment": "never"}, NotFound, "unknown_experiment"),
        ("closed", {"experiment": taught}, Conflict, "concluded"),
        (taught, {"experiment": taught}, Conflict, "arm_has_learned"),
    ]
    for key, source, kind, code in refused:
        request = WarmStartRequest.model_validate({"arm": "learned", "source": source})
        with pytest.raises(kind) as caught:
            warm_start.ask(lab.runtime.engine, key, request, "test")
        assert code in (caught.value.code, *(field.code for field in caught.value.fields)), (key, source)
    assert warming.run_waiting(lab.runtime.engine, lab.settings) == []


def test_an_arm_that_learned_in_the_meantime_keeps_what_it_learned_and_says_so(lab: Lab, taught: str) -> None:
    made = lab.make("meantime", arms=bandit())
    request = WarmStartRequest.model_validate({"arm": "learned", "source": {"experiment": taught}})
    warm_start.ask(lab.runtime.engine, "meantime", request, "test")
    lab.more("meantime", made, 40)
    assert warming.run_waiting(lab.runtime.engine, lab.settings) == []
    (failed,) = warm_start.of_experiment(lab.runtime.engine, "meantime")
    assert failed.status == "failed" and "learned already" in (failed.problem or "")
    clean(lab, "meantime")


def test_the_same_ids_in_both_logs_stay_two_decisions(lab: Lab) -> None:
    ids = [lab.make(key, arms=bandit("squarecb", bits=12)) for key in ("twin", "twin-2")]
    bodies = [{"decision_id": f"same-{n}", "context": {"n": n}} for n in range(40)]
    lab.decide("twin", bodies)
    lab.close_windows(ids[0])
    lab.train(ids[0])
    begin(lab, "twin-2", {"experiment": "twin"})
    lab.decide("twin-2", bodies)
    lab.close_windows(ids[1])
    assert lab.train(ids[1]).decisions == 40
    clean(lab, "twin", "twin-2")


def test_over_http_a_dry_run_shows_what_agrees_and_changes_nothing(
    lab: Lab, taught: str, client: Client, database_url: str
) -> None:
    lab.make("http", arms=bandit(), context_fields=[{"name": "n"}, {"name": "country"}])
    body: dict[str, Any] = {"arm": "learned", "source": {"experiment": taught}, "dry_run": True}
    route = "/v1/experiments/http/policy/warm-start"
    dry = client.post(route, body)
    assert (dry.status, dry.body["status"], dry.body["decisions"]) == (200, "possible", None)
    assert (dry.body["agreement"]["fields"], dry.body["agreement"]["new_fields"]) == (["n"], ["country"])
    assert dry.body["agreement"]["other_fields"] == ["page"]
    assert client.get(route).body == {"warm_starts": []}
    asked = client.post(route, body | {"dry_run": False})
    assert (asked.status, asked.body["status"]) == (202, "waiting")
    assert client.get(route).body["warm_starts"] == [asked.body]
    bound = make_key(database_url, "read", "manage", experiment="http")
    assert client_of(client, bound).post(route, body).status == 403  # another experiment's log is not its to read
    for wrong in (
        {"arm": 1},
        {"source": {}},
        {"source": {"experiment": taught, "version": 0}},
        {"source": []},
        {"x": 1},
    ):
        assert client.post(route, body | wrong).status == 422, wrong


def client_of(client: Client, key: str) -> Client:
    return Client(client.port, key)


def test_the_page_shows_what_agrees_before_anything_is_asked(
    lab: Lab, taught: str, editor: Browser, viewer: Browser
) -> None:
    lab.make("paged", arms=bandit())
    address = "/admin/experiments/paged/policy/warm-start"
    assert address in editor.get("/admin/experiments/paged/policy").html
    form = {"arm": "learned", "experiment": taught, "of_arm": "", "version": ""}
    seen = editor.post(address, form)
    assert seen.status == 200 and "Begin with this log" in seen.text and "Same actions" in seen.text
    assert warm_start.of_experiment(lab.runtime.engine, "paged") == []
    for wrong in (
        {"of_arm": "ghost"},
        {"version": "1"},
        {"version": "one"},
        {"of_arm": "learned", "version": "9" * 30},
    ):
        refused = editor.post(address, form | wrong)
        assert refused.status == 422 and "is-invalid" in refused.html, wrong
    done = editor.post(address, form | {"begin": "1"})
    assert "waiting for the worker" in done.text
    assert "learned" in warming.run_waiting(lab.runtime.engine, lab.settings)
    assert "began with it" in editor.get(address).text
    assert "the log of experiment old" in editor.get("/admin/experiments/paged/policy").text
    assert viewer.get(address).status == 403


def test_of_many_who_ask_at_once_one_model_is_made(lab: Lab, taught: str, client: Client, database_url: str) -> None:
    made = lab.make("rush", arms=bandit("squarecb", bits=12))
    body = {"arm": "learned", "source": {"experiment": taught}}
    with ThreadPoolExecutor(8) as pool:
        asked = [
            one.status
            for one in pool.map(lambda _: client.post("/v1/experiments/rush/policy/warm-start", body), range(8))
        ]
        assert set(asked) == {202}
        done = list(pool.map(lambda _: warming.run_waiting(lab.runtime.engine, lab.settings), range(4)))
    assert any(done)
    assert query(database_url, "SELECT count(*) FROM model_versions WHERE experiment_id = %s", made) == [(2,)]
    assert client.post("/v1/experiments/rush/policy/warm-start", body).status == 409
    clean(lab, "rush")
