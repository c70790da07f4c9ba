"""The wizard's pages: a new experiment, errors beside their fields, two people in one draft, changes."""

import html
import json
import re
import time

from app.design import drafts
from tests.page_client import Browser, Page, signed_in
from tests.service import Client, Web, bandit, engine_of, query
from tests.wizard.drafting import Draft, complete, fields

NASTY = "\u202e<script>alert(1)</script> \"quotes' & \u05d0"


def type_purpose_and_actions(draft: Draft) -> None:
    assert draft.save("purpose", {"/name": NASTY, "/key": "tips", "/hypothesis": "b\r\nc"}, "next").address.endswith(
        "/actions"
    )
    page = draft.save(
        "actions",
        {
            "/actions/-/id": "video",
            "/actions/-/payload:title": NASTY,
            "/actions/-/payload:text": "Watch",
            "/actions/-/features:rows/0/name": "minutes",
            "/actions/-/features:rows/0/value": "3",
        },
    )
    assert "1 action" in page.text
    assert NASTY in page.text
    assert "<script>alert" not in page.html
    page = draft.save(
        "actions",
        {"/actions/-/id": "list", "/actions/-/payload:kind": "json", "/actions/-/payload": '{"steps": [1, 2]}'},
        "next",
    )
    assert page.address.endswith("/arms")


def type_arms_and_reward(draft: Draft) -> None:
    page = draft.save(
        "arms",
        {"/arms/0/policy/action": "list", "/arms/0/share": "15", "/arms:holdout": "yes", "/arms:holdout_share": "5"},
        "next",
    )
    assert page.address.endswith("/reward")
    page = draft.save(
        "reward",
        {
            "/reward/window_s": "2",
            "/reward/window_s:unit": "minutes",
            "/reward/aggregation": "sum",
            "/reward:example": "0.5 1 7",
        },
    )
    assert "7 would be refused" in page.text
    assert "the decision counts as 1." in page.text  # 0.5 + 1, cut to the largest


def type_metrics(draft: Draft) -> None:
    draft.save("metrics", do="add /metrics")
    metric = {
        "/metrics/0/key": "money",
        "/metrics/0/source/metric": "money",
        "/metrics/0/role": "guardrail",
        "/metrics/0/min_effect": "2",
    }
    assert draft.save("metrics", metric | {"/segments": "land, device"}, "next").address.endswith("/plan")


def test_the_review_says_what_will_happen(draft: Draft) -> None:
    type_purpose_and_actions(draft)
    type_arms_and_reward(draft)
    type_metrics(draft)
    page = draft.show("review")
    assert "15% get always “list”" in page.text
    assert "60% get what is learned" in page.text
    assert "window of 2 minutes" in page.text
    assert "stop when an arm makes money worse" in page.text


def test_the_wizard_makes_an_experiment_that_decides(draft: Draft, client: Client, admin: Browser) -> None:
    type_purpose_and_actions(draft)
    type_arms_and_reward(draft)
    type_metrics(draft)
    page = draft.save("review", do="publish")
    assert page.address == "/admin/experiments/tips/integration", page.text[:2000]
    made = client.get("/v1/experiments/tips").body
    assert made["name"] == NASTY
    assert made["hypothesis"] == "b\nc"
    assert made["actions"][0] == {
        "id": "video",
        "features": {"minutes": 3},
        "payload": {"title": NASTY, "text": "Watch"},
    }
    assert [(arm["key"], arm["share"]) for arm in made["arms"]] == [
        ("control", 0.15),
        ("learned", 0.6),
        ("uniform", 0.2),
        ("holdout", 0.05),
    ]
    assert made["arms"][3]["policy"] == {"type": "fixed", "action": "list"}
    assert made["reward"] == {"window_s": 120.0, "default": 0.0, "aggregation": "sum", "min": 0.0, "max": 1.0}
    assert made["metrics"][0]["min_effect"] == 0.02
    assert made["segments"] == ["land", "device"]
    assert draft.show("review").status == 404
    assert client.post("/v1/experiments/tips/start").status == 200
    assert client.decide("tips").status == 201


def test_an_untouched_draft_says_what_is_missing_and_where(draft: Draft) -> None:
    page = draft.show("review")
    assert "2 fields need fixing first" in page.text
    assert "Purpose, key : Give letters" in page.text
    assert "Arms and traffic, arm 1, action : Choose which action" in page.text
    assert re.search(r"<button[^>]*value=\"publish\"[^>]*disabled", page.html)
    page = draft.save("review", do="publish")
    assert page.status == 422
    assert "fixing first" in page.text


def test_errors_are_beside_their_fields_and_nothing_typed_is_lost(draft: Draft) -> None:
    typed = {
        "/arms/0/share": "2o",
        "/arms/1/policy/algorithm": "squarecb",
        "/arms/1/policy/exploration_floor": "0",
        "/arms/1/policy/parameters/bits": "99",
        "/arms/2/key": NASTY,
    }
    page = draft.save("arms", typed, "next")
    assert "fixing in this step" in page.text
    sent = fields(page)
    for name, value in typed.items():
        assert sent[name] in (value, [value])  # a choice is one value
    for name, words in (
        ("/arms/0/share", "Write a number"),
        ("/arms/1/policy/exploration_floor", "Give a number from 0.1% to 100%."),
        ("/arms/1/policy/parameters/bits", "Give a whole number from 10 to 22."),
        ("/arms/2/key", "Give letters"),
    ):
        beside = re.search(rf'<div id="{name}-help">(.*?)</div>', page.html, re.S)
        assert beside, name
        assert words in beside[1]
        assert re.search(rf'id="{name}"[^>]*aria-invalid="true"', page.html)
    assert fields(draft.show("arms")) == sent | {"version": sent["version"]}


def test_shares_that_do_not_sum_to_100_are_explained_without_a_script(draft: Draft) -> None:
    page = draft.save("arms", {"/arms/0/policy/action": "x", "/arms/1/share": "50"})
    assert "The shares sum to 90%; make them sum to 100%." in page.text


def test_rows_are_added_duplicated_and_removed_without_a_script(draft: Draft) -> None:
    draft.save("arms", {"/control_arm": "2"}, "copy /arms/1")
    assert [draft.fields("arms")[f"/arms/{n}/key"] for n in range(4)] == [
        ["control"],
        ["learned"],
        ["uniform"],
        ["learned-2"],
    ]
    draft.save("arms", do="remove /arms/0")
    typed = draft.fields("arms")
    assert [typed[f"/arms/{n}/key"] for n in range(3)] == [["learned"], ["uniform"], ["learned-2"]]
    assert typed["/control_arm"] == ["1"]
    assert [typed[f"/arms/{n}/share"] for n in range(3)] == [["75"], ["25"], ["0"]]  # control's 20 went to the others
    assert "/arms/3/key" not in typed
    page = draft.save("arms", do="add /arms")
    assert 'id="/arms/3/key"' in page.html
    assert 'class="mistake"' not in page.html  # a new row has no errors yet


def test_actions_are_edited_duplicated_and_removed(draft: Draft) -> None:
    draft.save("actions", {"/actions/-/id": "a", "/actions/-/payload:text": "one"})
    draft.save("actions", {"/actions/-/id": "b", "/actions/-/payload": "{", "/actions/-/payload:kind": "json"})
    page = draft.show("actions")
    assert "This is not JSON" in page.text
    rows = re.findall(r'value="edit ([0-9a-f]+)"', page.html)
    page = draft.save("actions", do=f"edit {rows[1]}")
    assert "This is not JSON" in page.html.partition('id="action"')[2]
    reopened = fields(page) | {"/actions/-/payload": '{"a": 1}', "do": "save"}
    page = draft.browser.post(f"{draft.base}/actions", reopened)
    assert "This is not JSON" not in page.text
    page = draft.save("actions", do=f"duplicate {rows[0]}")
    assert fields(page)["/actions/-/id"] == ["a-2"]
    page = draft.save("actions", do=f"drop {rows[0]}")
    assert [html.unescape(name) for name in re.findall(r'aria-label="Edit ([^"]+)"', page.html)] == ["a-2", "b"]


def test_csv_is_previewed_and_then_imported(draft: Draft, database_url: str) -> None:
    draft.save("actions", {"/actions/-/id": "a", "/actions/-/payload:text": "old"})
    draft.save("actions", {"/actions/-/id": "z", "/actions/-/payload:text": "stays"})
    address = f"{draft.base}/actions/import"
    table = f'id,text,feature.n\na,new,1\nb,"{NASTY.replace(chr(34), chr(34) * 2)}",2\n'

    def send(text: str, do: str, **more: str) -> Page:
        return draft.browser.post(
            address, {"version": draft.fields("actions")["version"], "text": text, "do": do, **more}
        )

    wrong = send(table + "b,twice,x\n", "take")
    assert (wrong.status, "Line 4: the id 'b' is in line 3 already" in wrong.text) == (422, True)
    looked = send(table, "look")
    assert "2 actions found" in looked.text
    assert "2 actions" in draft.show("actions").text  # not imported yet
    page = send(table, "take")
    assert page.address.endswith("/actions")
    ((typed,),) = query(database_url, "SELECT typed FROM drafts WHERE id = %s", int(draft.base.rpartition("/")[2]))
    assert [(row["id"], row["payload:text"]) for row in typed["document"]["actions"]] == [
        ("a", "new"),
        ("z", "stays"),
        ("b", NASTY),
    ]
    send("id\nonly\n", "take", how="replace")
    assert re.findall(r'aria-label="Edit ([^"]+)"', draft.show("actions").html) == ["only"]


def test_a_csv_file_is_uploaded(draft: Draft) -> None:
    values = {"csrf_token": draft.browser.token(), "version": draft.fields("actions")["version"][0], "do": "look"}
    for data, words in ((b"\xef\xbb\xbfid;titel\r\nx;\xc3\xa4\r\n", "1 action found"), (b"id\n\xe4\n", "not UTF-8")):
        parts = [
            f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in values.items()
        ]
        body = "".join(parts).encode() + b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        page = draft.browser.request("POST", f"{draft.base}/actions/import", body + data + b"\r\n--b--\r\n", **kind)
        assert words in page.text


def test_a_thousand_actions_stay_usable(draft: Draft) -> None:
    table = "id,text,feature.n\n" + "".join(f"action-{n},{'words ' * 20},{n}\n" for n in range(1000))
    given = {"version": draft.fields("actions")["version"], "text": table, "do": "take"}
    assert "1,000 actions" in draft.browser.post(f"{draft.base}/actions/import", given).text
    draft.save("purpose", {"/key": "many"})
    draft.save("arms", {"/arms/0/policy/action": "action-999"})
    for step in ("actions", "arms", "review"):
        began = time.monotonic()
        page = draft.show(step)
        assert page.status == 200
        assert time.monotonic() - began < 1
    assert page.text.count("Loopwise chooses among 1,000 actions") == 1
    assert "action-999" in draft.browser.get(f"{draft.base}/actions?from=950").text


def test_the_second_of_two_people_sees_the_conflict_and_loses_nothing(
    draft: Draft, web: Web, database_url: str
) -> None:
    other = Draft(signed_in(web, database_url, "editor", "ben"), f"{draft.base}/")
    mine = draft.fields("purpose") | {"/name": "Mine", "/hypothesis": "long text", "do": "next"}
    other.save("purpose", {"/name": NASTY, "/key": "theirs"})
    page = draft.browser.post(f"{draft.base}/purpose", mine)
    assert page.status == 409
    assert "ben saved this draft" in page.text
    assert NASTY in page.text
    sent = fields(page)
    assert (sent["/name"], sent["/hypothesis"]) == (["Mine"], "long text")
    assert draft.fields("purpose")["/name"] == [NASTY]  # nothing was overwritten
    assert draft.browser.post(f"{draft.base}/purpose", sent | {"do": "save"}).status in (200, 422)
    assert draft.fields("purpose")["/name"] == ["Mine"]


def test_two_people_who_add_actions_lose_neither(draft: Draft, web: Web, database_url: str) -> None:
    other = Draft(signed_in(web, database_url, "editor", "cat"), f"{draft.base}/")
    mine = draft.fields("actions") | {"/actions/-/id": "mine", "do": "save"}
    other.save("actions", {"/actions/-/id": "theirs"})
    page = draft.browser.post(f"{draft.base}/actions", mine)
    assert page.status == 409
    draft.browser.post(f"{draft.base}/actions", fields(page) | {"do": "save"})
    assert re.findall(r'aria-label="Edit ([^"]+)"', draft.show("actions").html) == ["theirs", "mine"]


def test_a_plan_is_shown_in_words_and_changes_nothing(draft: Draft, client: Client) -> None:
    plan = {"/plan/mode": "metric", "/plan/value": "10", "/plan/effect": "20", "/plan/per_day": "1000"}
    page = draft.save("plan", plan, "plan")
    assert "users in the control" in page.text
    assert re.search(r"takes about \d+ days\.", page.text)
    assert page.html.count("<svg") >= 1
    assert draft.fields("plan")["/plan/value"] == ["10"]
    page = draft.save("plan", {"/plan/mode": "bandit", "/plan/means": "0.1\n0.3\n0.2", "/plan/rounds": "2000"}, "plan")
    assert "gone to the best action (action 2)" in page.text
    for wrong, words in (
        ({"/plan/means": "0.1"}, "expected reward of two actions or more"),
        ({"/plan/means": "0.1 2"}, "outside 0 to 1"),
        ({"/plan/source": "log", "/plan/experiment": "nowhere"}, "no experiment 'nowhere'"),
        ({"/plan/mode": "metric", "/plan/source": "typed", "/plan/value": "150"}, "."),
        ({"/plan/mode": "metric", "/plan/source": "typed", "/plan/value": ""}, "Say what the control"),
    ):
        page = draft.save("plan", wrong, "plan")
        assert page.status in (200, 422)
        assert words in page.text
        assert "mistake" in page.html


def test_a_plan_takes_its_baseline_from_a_log(draft: Draft, client: Client, database_url: str) -> None:
    client.make("logged", reward={"window_s": 600.0})
    page = draft.save("plan", {"/plan/mode": "metric", "/plan/source": "log", "/plan/experiment": "logged"}, "plan")
    assert "fewer than two settled units" in page.text


def test_a_change_shows_before_and_after_and_makes_the_next_version(editor: Browser, client: Client) -> None:
    client.make("changing", arms=bandit(), start=False)
    change = Draft(editor, editor.post("/admin/experiments/changing/edit").address)
    assert "Nothing would change" in change.show("review").text
    change.save("purpose", {"/name": "Another name"})
    page = change.show("review")
    assert "configuration 2 of changing" in page.text
    assert "Another name" in page.text
    page = change.save("review", do="publish")
    assert page.address == "/admin/experiments/changing/"
    after = client.get("/v1/experiments/changing").body
    assert (after["name"], after["config_version"]) == ("Another name", 2)


def test_fixed_fields_of_a_started_experiment_are_refused_beside_them(editor: Browser, client: Client) -> None:
    client.make("ran", arms=bandit())
    change = Draft(editor, editor.post("/admin/experiments/ran/edit").address)
    assert "ran ran already" in change.show("arms").text
    page = change.save("arms", {"/arms/0/policy/algorithm": "softmax"})
    assert "add another arm with the new policy" in page.text
    page = change.save("reward", {"/reward/max": "2"})
    assert "create another experiment" in page.text
    assert re.search(r'value="publish"\s+disabled', change.show("review").html)
    page = change.save("review", do="publish")
    assert page.status == 409
    assert client.get("/v1/experiments/ran").body["config_version"] == 1


def test_a_change_from_an_older_configuration_has_to_be_reviewed_first(editor: Browser, client: Client) -> None:
    client.make("busy", start=False)
    change = Draft(editor, editor.post("/admin/experiments/busy/edit").address)
    change.save("purpose", {"/name": "Mine"})
    client.patch("/v1/experiments/busy", {"hypothesis": "By the API"})
    page = change.save("review", do="publish")
    assert page.status == 409
    assert "busy changed since this change was begun" in page.text
    assert "By the API" in page.text
    change.save("review", do="rebase")
    change.save("purpose", {"/hypothesis": "By the API"})
    assert change.save("review", do="publish").address == "/admin/experiments/busy/"
    after = client.get("/v1/experiments/busy").body
    assert (after["name"], after["hypothesis"], after["config_version"]) == ("Mine", "By the API", 3)


def test_a_taken_key_is_an_error_of_the_review(draft: Draft, client: Client) -> None:
    client.make("taken", start=False)
    complete(draft, "taken")
    page = draft.save("review", do="publish")
    assert (page.status, "choose another key" in page.text) == (409, True)
    assert draft.show("purpose").status == 200


def test_drafts_are_listed_for_those_who_may_open_them(draft: Draft, editor: Browser, viewer: Browser) -> None:
    draft.save("purpose", {"/name": "Only for editors"})
    assert "Only for editors" in editor.get("/admin/").text
    assert "Only for editors" not in viewer.get("/admin/").text
    assert viewer.get(f"{draft.base}/purpose").status == 403


def test_a_draft_is_discarded(draft: Draft) -> None:
    page = draft.browser.post(f"{draft.base}/discard", {"version": "1"})
    assert "The draft is discarded" in page.text
    assert draft.show("purpose").status == 404


def test_viewers_may_not_define_experiments(viewer: Browser, draft: Draft, client: Client) -> None:
    client.make("seen", start=False)
    for answer in (
        viewer.post("/admin/drafts"),
        viewer.post("/admin/experiments/seen/edit"),
        viewer.get(f"{draft.base}/purpose"),
        viewer.post(f"{draft.base}/purpose", {"name": "x"}),
        viewer.post(f"{draft.base}/discard", {"version": "1"}),
        viewer.get(f"{draft.base}/actions/import"),
    ):
        assert answer.status == 403


def test_texts_of_ten_thousand_characters_and_nul_are_kept_or_left_out(draft: Draft, database_url: str) -> None:
    page = draft.save("purpose", {"/key": "long", "/name": "a\0b", "/hypothesis": "\u05d0" * 10_001})
    assert "10,000 characters" in page.text
    assert len(fields(page)["/hypothesis"]) == 10_001
    with engine_of(database_url) as engine:
        kept = drafts.get(engine, int(draft.base.rpartition("/")[2])).typed
    assert kept["document"]["name"] == "ab"
    assert json.dumps(kept)
