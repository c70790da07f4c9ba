"""The off-policy tab: candidates, an evaluation with its progress, the report, and what is refused."""

import re
from typing import Any

import pytest

from app.off_policy import candidate_policies, evaluations
from app.off_policy.life import attaching
from tests.page_client import Browser, signed_in
from tests.service import Loop, Web, bandit, engine_of, query, runtime_of, settings

PAGE = "/admin/experiments/offline/off-policy"
LEARNS: dict[str, Any] = {
    "/key": "bagging",
    "/policy/type": "bandit",
    "/policy/algorithm": "bag",
    "/policy/parameters/learning_rate": "0.7",
    "/policy/parameters/bags": "4",
    "/policy/parameters/bits": "12",
    "/policy/parameters/interactions": ["context*action"],
    "/features_off": ["n"],
}


@pytest.fixture(scope="module", autouse=True)
def experiment(database_url: str) -> None:
    with runtime_of(database_url) as runtime:
        loop = Loop(runtime, database_url)
        arms = [one | {"share": 0.5, "fallback": {"margin": 0.2}} for one in bandit("softmax", lambda_=3)]
        arms.append({"key": "even", "share": 0.5, "policy": {"type": "uniform"}})
        made = loop.make("offline", arms=arms, control_arm="even")
        loop.make("young")
        for turn in range(2):
            bodies = [{"unit_id": f"{turn}-{n}", "context": {"n": n % 5, "<b>": 1}} for n in range(200)]
            decided = loop.decide("offline", bodies)
            values = [(one["decision_id"], float(one["action"]["id"] == "b")) for one in decided]
            loop.reward([{"decision_id": name, "value": value} for name, value in values])
            loop.close_windows(made)
            loop.train(made)
            loop.train(made, "even")
            runtime.snapshots.refresh()


def compute(database_url: str) -> None:
    with engine_of(database_url) as engine:
        evaluations.run_waiting(engine, settings(database_url))


def stored(database_url: str) -> dict[str, Any]:
    with engine_of(database_url) as engine:
        return {spec.key: spec.model_dump(mode="json") for spec in candidate_policies.listed(engine, "offline")}


def test_a_viewer_reads_and_changes_nothing(viewer: Browser) -> None:
    page = viewer.get(PAGE)
    assert page.status == 200 and "No evaluations yet." in page.text and "Define a candidate" not in page.text
    for action in ("candidates", "remove", "evaluate", "stage"):
        assert viewer.post(f"{PAGE}/{action}", {**LEARNS, "candidate": "bagging", "share": "5"}).status == 403


def test_candidates_of_every_kind_are_stored_as_typed(editor: Browser, database_url: str) -> None:
    forms: list[dict[str, Any]] = [
        LEARNS,
        {"/key": "always-b", "/policy/type": "fixed", "/policy/action": "b"},
        {"/key": "coin", "/policy/type": "uniform"},
        {"/key": "own-rule", "/policy/type": "first_action"},
        {
            **{"/key": "bounded", "/policy/type": "bandit", "/policy/algorithm": "squarecb"},
            **{"/policy/exposure/by": "size", "/policy/exposure/least": "12.5"},
        },
        {"/key": "scaled", "/policy/type": "bandit", "/policy/algorithm": "squarecb", "/policy/scaling": "yes"},
        {"/key": "first", "/policy/type": "model", "/model/arm": "learned", "/model/version": "1"},
    ]
    for form in forms:
        page = editor.post(f"{PAGE}/candidates", form)
        assert page.status == 200 and f"The candidate {form['/key']} is stored." in page.text
    found = stored(database_url)
    assert found["bagging"]["policy"] == {
        "type": "bandit", "algorithm": "bag",
        "parameters": {"learning_rate": 0.7, "bits": 12, "bags": 4, "interactions": ["context*action"]},
    }  # fmt: skip
    assert found["bagging"]["features_off"] == ["n"]
    assert found["first"]["model"] == {"arm": "learned", "version": 1}
    assert found["scaled"]["policy"]["scaling"] is True
    assert found["own-rule"]["policy"] == {"type": "first_action"}
    assert found["bounded"]["policy"]["exposure"] == {"by": "size", "least": 0.125}
    for name in ("scaled", "own-rule", "bounded"):
        editor.post(f"{PAGE}/remove", {"candidate": name})
    assert found["always-b"]["policy"] == {"type": "fixed", "action": "b"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"/policy/parameters/learning_rate": "900"}, "Give a number from 0.0001 to 10."),
        ({"/policy/parameters/learning_rate": "nan"}, "Write a number"),
        ({"/policy/parameters/bags": "2.5"}, "Give a whole number from 2 to 32."),
        ({"/policy/exploration_floor": "0"}, "Give a number from 0.001 to 1."),
        ({"/key": "uniform"}, "names a built-in policy"),
        ({"/key": "with space"}, "Give letters, digits"),
        ({"/policy/algorithm": "magic"}, "Give one of"),
        ({"/policy/type": "magic"}, "Give one of fixed, uniform, first_action, bandit."),
        ({"/policy/parameters/interactions": ["x*y"]}, "Give a list without repeats"),
        ({"/policy/type": "fixed", "/policy/action": "zebra"}, "No action of this experiment has this id."),
        ({"/policy/type": "model", "/model/arm": "learned", "/model/version": "99"}, "has no model version 99."),
        ({"/policy/type": "model", "/model/arm": "learned", "/model/version": "one"}, "Write a whole number"),
    ],
)
def test_a_mistake_stands_beside_its_field_and_nothing_typed_is_lost(
    editor: Browser, change: dict[str, Any], words: str
) -> None:
    page = editor.post(
        f"{PAGE}/candidates", {**LEARNS, "/key": "wrong", "/policy/parameters/power_t": "0.25", **change}
    )
    assert page.status == 422 and words in page.text, page.text[-3000:]
    assert re.search(r'class="mistake"', page.html)
    assert 'name="/policy/parameters/power_t" type="text" value="0.25"' in page.html
    assert re.search(r'name="/features_off" value="n" checked', page.html)


def test_an_evaluation_is_asked_for_shows_its_progress_and_then_the_report(editor: Browser, database_url: str) -> None:
    asked = editor.post(f"{PAGE}/evaluate")
    assert "is queued and starts within seconds" in asked.text
    (where,) = re.findall(r'data-poll="([^"]+)"', asked.html)
    waiting = editor.get(where.replace("&amp;", "&"))
    assert waiting.status == 200 and "<progress" in waiting.html and "<html" not in waiting.html
    compute(database_url)
    assert editor.get(where.replace("&amp;", "&")).status == 286
    page = editor.get(PAGE)
    assert page.status == 200 and "data-poll" not in page.html
    for words in ("What each policy earns: mean reward per decision", "Values over time", "best_fixed",
                  "bagging", "4 candidates were searched",
                  "Does the reward model predict well?", "What each action is worth", "that this evaluation could have found is",
                  "which had not learned from it", "Prediction against what really happened",
                  "What all of this assumes"):  # fmt: skip
        assert words in page.text
    assert "style=" not in page.html
    assert editor.get(f"{PAGE}/progress?id=999999").status == 204
    assert editor.get(f"{PAGE}?evaluation=999999").status == 404


def test_a_refusal_is_told_in_words_instead_of_a_number(editor: Browser, database_url: str) -> None:
    """A policy that the log holds too few choices of; and a log that is too short."""
    query(
        database_url,
        'INSERT INTO candidates (experiment_id, key, definition) SELECT id, \'lost\', \'{"key": "lost", "policy": null,'
        ' "model": {"arm": "learned", "version": 99}, "features_off": []}\' FROM experiments WHERE key = \'offline\'',
    )
    editor.post(f"{PAGE}/evaluate")
    editor.post("/admin/experiments/young/off-policy/evaluate")
    compute(database_url)
    page = editor.get(PAGE)
    assert "not possible" in page.text and "no model version 99" in page.text and "refused" in page.text
    young = editor.get("/admin/experiments/young/off-policy")
    assert "has no answer" in young.text and "the log has 0 settled decisions" in young.text


def test_a_candidate_is_removed(editor: Browser, database_url: str) -> None:
    assert "The candidate lost is removed" in editor.post(f"{PAGE}/remove", {"candidate": "lost"}).text
    assert "lost" not in stored(database_url)
    assert editor.post(f"{PAGE}/remove", {"candidate": "lost"}).status == 404


def test_a_candidate_becomes_an_arm_with_a_share(editor: Browser, database_url: str) -> None:
    for share in ("250", "0", "much", "nan"):
        refused = editor.post(f"{PAGE}/stage", {"candidate": "coin", "share": share})
        assert refused.status == 422 and "Give a percentage above 0 and below 100." in refused.text
        assert f'value="{share}"' in refused.html
    done = editor.post(f"{PAGE}/stage", {"candidate": "coin", "share": "10"})
    assert done.status == 200 and "coin is an arm now" in done.text
    (arms,) = query(
        database_url,
        "SELECT c.config->'arms' FROM experiments e JOIN experiment_configs c ON c.experiment_id = e.id"
        " AND c.version = e.config_version WHERE e.key = 'offline'",
    )
    assert {arm["key"]: round(arm["share"], 6) for arm in arms[0]} == {"learned": 0.45, "even": 0.45, "coin": 0.1}
    assert arms[0][0]["fallback"]["margin"] == 0.2  # of other arms, nothing but the share changes


def test_a_candidate_that_learns_becomes_an_arm_with_the_model_that_was_valued(
    editor: Browser, database_url: str
) -> None:
    assert "It begins with the very model that evaluation" in editor.get(PAGE).text
    waits = editor.post(f"{PAGE}/stage", {"candidate": "bagging", "share": "10"})
    assert waits.status == 200 and "the worker learns the model that was valued" in waits.text
    with engine_of(database_url) as engine:
        assert attaching.run_waiting(engine, settings(database_url)) == ["bagging"]
    versions = editor.get("/admin/experiments/offline/policy?arm=bagging").text
    assert "the model that evaluation" in versions and "from the decisions of all arms" in versions


def test_what_may_be_done_is_said_of_the_experiment_as_it_is_now(editor: Browser, database_url: str) -> None:
    """A staged candidate is an arm; a concluded experiment takes none; no sentence tells of another time."""
    page = editor.get(PAGE)
    assert "It is an arm of the experiment now." in page.text
    assert "serves now" not in page.text and "Stage it as a new arm" not in page.text
    query(database_url, "UPDATE experiments SET status = 'concluded' WHERE key = 'offline'")
    assert "The experiment is concluded: it takes no new arm." in editor.get(PAGE).text
    query(database_url, "UPDATE experiments SET status = 'running' WHERE key = 'offline'")


def test_a_stretch_of_the_log_is_asked_for_and_a_wrong_one_is_refused(editor: Browser, database_url: str) -> None:
    for since, until, words in (
        ("never", "", "Write a time such as"),
        ("2026-02-01", "2026-01-01", "Give a time after"),
    ):
        refused = editor.post(f"{PAGE}/evaluate", {"since": since, "until": until})
        assert refused.status == 422 and words in refused.text and "Nothing is evaluated." in refused.text
        assert f'value="{since}"' in refused.html
    editor.post(f"{PAGE}/evaluate", {"since": "2020-01-01", "until": "2020-02-01"})
    compute(database_url)
    assert "the log has 0 settled decisions from 2020-01-01T00:00:00" in editor.get(PAGE).text


def test_an_evaluation_from_before_the_rule_names_no_winner(editor: Browser, database_url: str) -> None:
    query(
        database_url,
        "UPDATE evaluations SET result = result - 'out_of_sample' WHERE id = (SELECT max(id) FROM evaluations"
        " WHERE status = 'done')",
    )
    assert "too good to be true: evaluate again" in editor.get(PAGE).text


def test_an_analyst_evaluates_and_steers_nothing(web: Web, database_url: str) -> None:
    analyst = signed_in(web, database_url, "analyst")
    page = analyst.get(PAGE)
    assert "Define a candidate" in page.text and "Stage as a new arm" not in page.text
    assert analyst.post(f"{PAGE}/evaluate", {"since": "", "until": ""}).status == 200
    for address in (
        f"{PAGE}/stage",
        "/admin/experiments/offline/move",
        "/admin/experiments/offline/ship",
        "/admin/drafts",
    ):
        assert analyst.post(address, {"do": "pause", "candidate": "bagging"}).status == 403, address
    assert analyst.get("/admin/users").status == 403


def test_a_person_searches_for_a_better_policy_and_sees_what_was_tried(
    editor: Browser, viewer: Browser, database_url: str
) -> None:
    assert viewer.post(f"{PAGE}/search", {"points": "4"}).status == 403
    wrong = editor.post(f"{PAGE}/search", {"points": "1"})
    assert wrong.status == 422 and "greater than or equal to 2" not in wrong.text
    assert editor.post(f"{PAGE}/search", {"points": "4"}).status == 200
    compute(database_url)
    page = editor.get(PAGE)
    assert "What was tried" in page.text and len(re.findall(r"tuned-\d+-\d", page.text)) >= 3
    assert {name for name in stored(database_url) if name.startswith("tuned-")}
