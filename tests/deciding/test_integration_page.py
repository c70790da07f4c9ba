"""The programs on the integration page run unchanged. Each decides, prints what to show, and reports a reward."""

import html
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.page_client import Browser, Page
from tests.service import ROOT, Client, bandit, make_key, query

NASTY = 'it\'s "$(touch x)" `y` \\ \U0001f600 \u202e ${z} </pre>'
COMMANDS = {
    "client": [sys.executable],
    "curl": ["bash"],
    "python": [sys.executable],
    "personalizer": [sys.executable],
    "javascript": ["node"],
    "list": [sys.executable],
}
NAMES = [
    pytest.param(name, marks=pytest.mark.skipif(shutil.which(command[0]) is None, reason=f"no {command[0]} here"))
    for name, command in COMMANDS.items()
]


@pytest.fixture(scope="module", autouse=True)
def experiments(client: Client) -> None:
    actions = [
        {"id": NASTY, "features": {NASTY: True, "n": 1.5}, "payload": {"text": NASTY}},
        {"id": "b", "features": [{"x": None}]},
    ]
    client.make("snippets", actions=actions, arms=bandit(), reward={"window_s": 600.0, "max": 2.5})
    client.make("own-candidates", actions=[], arms=bandit())
    client.make("waiting", start=False)
    template = {"texts": {"en": {"title": "Hi {{ name }}", "body": "{{ lessons }} to go"}}}
    variables = [
        {"name": "name", "sample": NASTY.replace("</pre>", ""), "required": True},
        {"name": "lessons", "sample": 3, "required": True},
    ]
    for reward in ("position", "list"):
        listed = {"positions": 3, "reward": reward}
        client.make(
            f"lists-by-{reward}", actions=actions, arms=bandit(), reward={"window_s": 600.0, "max": 2.5}, lists=listed
        )
    client.make("long-lists", actions=[], lists={"positions": 50}, segments=["position", "device"])
    slots = [
        {"name": name, "place": "body", "parts": [{"id": part, "texts": {"en": f"{name} {part}"}} for part in "ab"]}
        for name in ("first", "second")
    ]
    client.make("of-parts", actions=[], composition={"slots": slots})
    client.make("speaking", actions=[{"id": "tip", "template": template}], variables=variables)


def program(page: Page, name: str) -> str:
    match = re.search(rf'<pre[^>]*id="snippet-{name}"[^>]*>(.*?)</pre>', page.html, re.S)
    assert match, name
    return html.unescape(match[1])


def run(folder: Path, name: str, text: str, key: str | None) -> Any:
    file = folder / f"program.{name}"
    file.write_text(text, encoding="utf-8")
    inherited = {variable: value for variable, value in os.environ.items() if not variable.startswith("LOOPWISE")}
    environment = inherited | {"PYTHONPATH": str(ROOT / "clients" / "python")} | ({"LOOPWISE_KEY": key} if key else {})
    command = [*COMMANDS[name], str(file)]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("experiment", ["snippets", "own-candidates"])
@pytest.mark.parametrize("name", NAMES)
def test_a_program_with_a_key_from_the_environment_runs(
    viewer: Browser, database_url: str, tmp_path: Path, experiment: str, name: str
) -> None:
    before = _rewards(database_url, experiment)
    page = viewer.get(f"/admin/experiments/{experiment}/integration")
    key = make_key(database_url, "decide", "reward", experiment=experiment)
    done = run(tmp_path, name, program(page, name), key)
    assert done.returncode == 0, done.stderr
    assert '"action"' in done.stdout if name == "curl" else "show:" in done.stdout
    after = _rewards(database_url, experiment)
    assert len(after) == len(before) + 1
    assert after[-1] == (2.5 if experiment == "snippets" else 1.0,)
    assert [path.name for path in tmp_path.iterdir()] == [f"program.{name}"]


@pytest.mark.parametrize("experiment", ["lists-by-position", "lists-by-list", "long-lists"])
@pytest.mark.parametrize("name", [param for param in NAMES if not {"personalizer", "list"} & {*param.values}])
def test_a_program_of_lists_shows_and_rewards_the_places(
    viewer: Browser, database_url: str, tmp_path: Path, name: str, experiment: str
) -> None:
    before = _rewards(database_url, experiment)
    page = viewer.get(f"/admin/experiments/{experiment}/integration")
    done = run(tmp_path, name, program(page, name), make_key(database_url, "decide", "reward", experiment=experiment))
    assert done.returncode == 0, done.stderr
    assert '"position": 2' in done.stdout or '"position":2' in done.stdout or "show: 2" in done.stdout
    new = _rewards(database_url, experiment)[len(before) :]
    assert new == (
        [(2.5,)] * 2 if experiment == "lists-by-list" else [(2.5,)] if experiment == "lists-by-position" else [(1.0,)]
    )


@pytest.mark.parametrize("name", [param for param in NAMES if not {"personalizer", "list"} & {*param.values}])
def test_a_program_of_a_composed_message_shows_the_message_and_its_parts(
    viewer: Browser, database_url: str, tmp_path: Path, name: str
) -> None:
    before = _rewards(database_url, "of-parts")
    page = viewer.get("/admin/experiments/of-parts/integration")
    done = run(tmp_path, name, program(page, name), make_key(database_url, "decide", "reward", experiment="of-parts"))
    assert done.returncode == 0, done.stderr
    assert re.search("first [ab]", done.stdout) and re.search("second [ab]", done.stdout)
    assert len(_rewards(database_url, "of-parts")) == len(before) + 1


@pytest.mark.parametrize("name", [param for param in NAMES if not {"personalizer", "list"} & {*param.values}])
def test_a_program_of_a_message_experiment_shows_the_message_for_the_sample_person(
    viewer: Browser, database_url: str, tmp_path: Path, name: str
) -> None:
    page = viewer.get("/admin/experiments/speaking/integration")
    key = make_key(database_url, "decide", "reward", experiment="speaking")
    done = run(tmp_path, name, program(page, name), key)
    assert done.returncode == 0, done.stderr
    assert "3 to go" in done.stdout and "\U0001f600" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_a_program_with_the_pages_new_key_runs_without_an_environment_variable(
    admin: Browser, tmp_path: Path, name: str
) -> None:
    page = admin.post("/admin/experiments/snippets/integration/key")
    (key,) = re.findall(r'id="new-key">(lw_[^<]+)<', page.html)
    text = program(page, name)
    assert key in text
    assert run(tmp_path, name, text, None).returncode == 0
    assert key not in admin.get("/admin/experiments/snippets/integration").html  # once


def test_the_pages_key_is_bound_to_its_experiment_and_listed_in_the_history(
    admin: Browser, database_url: str, client: Client
) -> None:
    page = admin.post("/admin/experiments/snippets/integration/key")
    (key,) = re.findall(r'id="new-key">(lw_[^<]+)<', page.html)
    bound = Client(client.port, key)
    assert bound.decide("snippets", actions=[{"id": "b"}, {"id": "c"}]).status == 201
    assert bound.decide("own-candidates", actions=[{"id": "b"}]).status == 403
    assert bound.get("/v1/experiments/snippets").status == 403
    ((actor,),) = query(
        database_url, "SELECT actor FROM changes WHERE kind = 'key_created' AND after->>'id' = %s", key[:15]
    )
    assert actor.startswith("admin")


def test_the_page_lists_what_the_app_has_to_send_and_to_show(client: Client, viewer: Browser) -> None:
    client.make(
        "asks-much",
        actions=[{"id": f"tip-{n}"} for n in range(25)],
        metrics=[
            {"key": "left", "role": "guardrail", "source": {"type": "count", "metric": "unsubscribed"}},
            {"key": "rate", "source": {"type": "ratio", "numerator": "clicks", "denominator": "seen"}},
        ],
        reward={"window_s": 7200.0, "max": 5.0},
        segments=["device"],
        context_fields=[{"name": "device"}, {"name": "plan"}],
    )
    text = viewer.get("/admin/experiments/asks-much/integration").text
    assert "May be chosen tip-0, tip-1," in text and "tip-19 and 5 more" in text
    assert "from 0 to 5, within 2 hours of the decision" in text
    assert "clicks, seen, unsubscribed: as a reward is, with its name as metric" in text
    assert "In the context device" in text and "device, plan; anything else is dropped" in text
    assert re.search(r'"context": {\s*"device": "phone",\s*"plan": "..."\s*}', text), text
    assert "what your app sends as actions" in viewer.get("/admin/experiments/own-candidates/integration").text


def test_a_list_is_shown_position_by_position_and_only_where_there_are_actions_to_rank(
    viewer: Browser, database_url: str, tmp_path: Path
) -> None:
    page = viewer.get("/admin/experiments/own-candidates/integration")
    done = run(tmp_path, "list", program(page, "list"), make_key(database_url, "decide", "reward"))
    assert done.returncode == 0, done.stderr
    assert "show: 1 " in done.stdout and "show: 2 " in done.stdout
    assert 'id="snippet-list"' not in viewer.get("/admin/experiments/speaking/integration").html


def test_the_position_that_loopwise_fills_is_no_field_of_the_apps_context(client: Client, viewer: Browser) -> None:
    for key, declared in (("fills-position", {}), ("fills-position-of-one", {"positions": 1})):
        client.make(key, **({"lists": declared} if declared else {}))
        for n in range(3):
            assert client.decide(key, f"u{n}", slots=1 if declared else 3, context={"plan": "pro"}).status == 201
        fields = client.get(f"/v1/experiments/{key}/context").body["fields"]
        assert [field["name"] for field in fields] == ["plan"]
    client.make("sends-position")
    assert client.decide("sends-position", context={"position": "3"}).status == 201
    assert client.get("/v1/experiments/sends-position/context").body["fields"][0]["name"] == "position"


def test_the_program_reports_each_metric_beside_the_reward(
    client: Client, viewer: Browser, database_url: str, tmp_path: Path
) -> None:
    client.make("reports-more", metrics=[{"key": "money", "source": {"type": "value", "metric": "spent"}}])
    page = viewer.get("/admin/experiments/reports-more/integration")
    done = run(tmp_path, "python", program(page, "python"), make_key(database_url, "decide", "reward"))
    assert done.returncode == 0, done.stderr
    reported = "SELECT DISTINCT r.metric FROM rewards r JOIN experiments e ON e.id = r.experiment_id WHERE e.key = %s"
    assert sorted(query(database_url, reported, "reports-more")) == [("reward",), ("spent",)]


def test_only_administrators_can_make_keys(viewer: Browser, editor: Browser) -> None:
    for browser in (viewer, editor):
        assert "Make a key" not in browser.get("/admin/experiments/snippets/integration").text
        assert browser.post("/admin/experiments/snippets/integration/key").status == 403


def test_the_page_reports_that_the_experiment_does_not_run(viewer: Browser, editor: Browser) -> None:
    assert "not started" in viewer.get("/admin/experiments/waiting/integration").text
    assert "Start the experiment" in editor.get("/admin/experiments/waiting/integration").text


def _rewards(database_url: str, experiment: str) -> list[Any]:
    return query(
        database_url,
        "SELECT r.value FROM rewards r JOIN decisions d ON d.id = r.decision_id JOIN experiments e ON e.id = d.experiment_id "
        "WHERE e.key = %s ORDER BY r.received_at",
        experiment,
    )


def test_programs_for_a_composed_message_send_no_actions_and_exclude_the_personalizer() -> None:
    from app.deciding.pages.snippets import snippets
    from app.design.definition_rules import parse_config

    slots = [
        {"name": name, "place": "body", "parts": [{"id": part, "texts": {"en": part}} for part in "ab"]}
        for name in ("first", "second")
    ]
    arms = [{"key": "all", "share": 1.0, "policy": {"type": "uniform"}}]
    config = parse_config({"key": "composed", "composition": {"slots": slots}, "arms": arms})
    programs = {snippet.name: snippet for snippet in snippets(config, "http://localhost")}
    assert list(programs) == ["client", "curl", "python", "javascript"]
    assert not any("actions" in snippet.text for snippet in programs.values())
