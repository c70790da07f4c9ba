"""The whole way in a real browser: the first administrator, the wizard, the app's snippet, live figures, an evaluation, a
replay, a rollback, an export; and a viewer, who may only look.

The tests run in order on one installation: each needs the state that the last one left.
"""

import csv
import io
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.support import PASSWORD, Site, sign_in, type_id
from tests.service import engine_of, make_key, query, wait_for

KEY = "welcome-tip"
ONE = f"/admin/experiments/{KEY}"


@pytest.fixture(scope="module")
def boss(chromium: Browser, site: Site) -> Iterator[Page]:
    """The first administrator's window, open through the whole journey."""
    from app.accounts import users

    context = chromium.new_context(accept_downloads=True)
    context.set_default_timeout(20_000)
    page = context.new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    with engine_of(site.database_url) as engine:
        link = users.first_admin_link(engine)
    page.goto(f"{site.url}/admin/link/{link}")
    expect(page.get_by_role("heading", name="Welcome to Loopwise")).to_be_visible()
    page.get_by_label("Name").fill("ada@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    yield page
    context.close()
    assert [error for error in errors if "422" not in error] == []  # the test causes errors on purpose


def test_an_empty_platform_explains_itself_and_offers_the_wizard(boss: Page) -> None:
    expect(boss.get_by_role("heading", name="How Loopwise works")).to_be_visible()
    expect(boss.get_by_text("loopwise demo")).to_be_visible()
    boss.get_by_role("button", name="Define an experiment").click()
    expect(boss.get_by_label("Hypothesis")).to_be_visible()


def test_the_wizard_keeps_what_is_typed_and_explains_mistakes(boss: Page) -> None:
    boss.get_by_label("Name", exact=True).fill("Which tip <b>greets</b> people")
    type_id(boss, "Key", "not a key!")
    boss.get_by_label("Hypothesis").fill('Newcomers want "first steps"; others want news.')
    boss.locator(".wizard-buttons").get_by_role("button", name="Save", exact=True).click()
    expect(boss.locator("[id='/key-help'] .mistake")).to_be_visible()
    expect(boss.get_by_label("Key", exact=True)).to_have_value("not a key!")
    boss.get_by_label("Key", exact=True).fill(KEY)
    boss.get_by_role("button", name="Save and go on").click()


def test_actions_are_added_with_a_live_preview(boss: Page) -> None:
    for name, title in (("steps", "First steps"), ("news", "What is new"), ("quiet", "Nothing today")):
        type_id(boss, "Id", name)
        boss.get_by_label("Title", exact=True).fill(title)
        expect(boss.locator("#preview")).to_contain_text(title)
        boss.get_by_role("button", name="Add this action").click()
        expect(boss.get_by_role("button", name=f"Edit {name}")).to_be_visible()
    boss.get_by_role("button", name="Save and go on").click()


def test_shares_always_sum_to_100(boss: Page) -> None:
    shares = boss.locator("input[data-share]:visible")
    expect(shares.first).to_be_visible()
    sliders = boss.locator("input[type=range]:visible")
    expect(sliders.nth(1)).to_be_visible()  # the page's script makes them
    sliders.first.focus()
    for _ in range(10):
        boss.keyboard.press("ArrowRight")
    values = [float(share.input_value() or 0) for share in shares.all()]
    assert sum(values) == pytest.approx(100)
    boss.get_by_label("The one action").first.select_option("quiet")
    boss.get_by_role("button", name="Save and go on").click()


def test_reward_metrics_and_plan_are_filled_in(boss: Page) -> None:
    boss.get_by_label("A decision waits for reports").fill("1")
    boss.get_by_label("Unit", exact=True).select_option(label="seconds")
    boss.get_by_role("button", name="Save and work it out").click()
    expect(boss.locator("#worked li").first).to_be_visible()
    for _ in ("reward", "people", "metrics", "plan"):
        boss.get_by_role("button", name="Save and go on").click()
    expect(boss.locator("#what-happens")).to_be_visible()


def test_the_review_says_what_will_happen_and_creates_it(boss: Page, site: Site) -> None:
    told = boss.locator("#what-happens").inner_text()
    assert "control" in told and "1 second" in told
    boss.get_by_role("button", name="Create the experiment").click()
    boss.wait_for_url(f"{site.url}{ONE}/integration**")
    boss.get_by_role("button", name="Start the experiment").click()
    expect(boss.locator(".pill", has_text="running").first).to_be_visible()


def test_the_snippets_run_as_they_are_shown_and_overview_changes_by_itself(
    boss: Page, site: Site, tmp_path: Path
) -> None:
    boss.goto(f"{site.url}{ONE}/integration")
    boss.get_by_role("button", name="Make a key for this experiment").click()
    expect(boss.locator("#new-key")).to_be_visible()
    snippets = {
        name: boss.locator(f"#snippet-{name}").text_content() or "" for name in ("curl", "python", "javascript")
    }
    boss.goto(f"{site.url}{ONE}/")
    boss.evaluate("window.notReloaded = true")
    before = boss.locator("#content").inner_text()
    assert query(site.database_url, "SELECT count(*) FROM decisions") == [(0,)]
    programs = {"curl": ["bash"], "python": ["python3"], "javascript": ["node", "--input-type=module", "-"]}
    ran = 0
    for name, command in programs.items():
        if shutil.which(command[0]) is None:
            continue
        done = subprocess.run(
            command,
            check=False,
            input=snippets[name],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env=dict(os.environ),
        )
        assert done.returncode == 0, (name, done.stdout, done.stderr)
        ran += 1
    assert query(site.database_url, "SELECT count(*) FROM decisions") == [(ran,)]
    assert query(site.database_url, "SELECT count(*) FROM rewards") == [(ran,)]
    _traffic(site, 400)
    wait_for(lambda: boss.locator("#content").inner_text() != before, 30, "the update")
    expect(boss.locator("#content")).to_contain_text("decisions", timeout=30_000)
    expect(boss.locator("svg.chart").first).to_be_visible(timeout=30_000)
    assert boss.evaluate("window.notReloaded") is True


def _traffic(site: Site, count: int) -> None:
    """Send an app's traffic: decisions in several rounds, so that several model versions are trained."""
    client = site.client
    for start in range(0, count, 100):
        bodies: list[dict[str, Any]] = [
            {"unit_id": f"person-{start + n}", "context": {"visits": n % 5, "newcomer": n % 5 == 0}} for n in range(100)
        ]
        decided = client.decide_many(KEY, bodies)
        client.reward_many(
            {
                decision["decision_id"]: float(
                    decision["action"]["id"] == ("steps" if request["context"]["newcomer"] else "news")
                )
                for decision, request in zip(decided, bodies, strict=True)
            }
        )
        _wait_until_settled(site, start + 100)


def _wait_until_settled(site: Site, least: int) -> None:
    settled = "SELECT count(*) >= %s FROM outcomes"
    wait_for(lambda: query(site.database_url, settled, least)[0][0], 30, "settling")


def test_results_compare_each_arm_with_the_control(boss: Page, site: Site) -> None:
    boss.goto(f"{site.url}{ONE}/results")
    expect(boss.locator("#content")).to_contain_text("learned")
    expect(boss.locator("svg.chart").first).to_be_visible()
    assert re.search(r"[−+\d.]+%? to [−+\d.]+", boss.locator("#content").text_content() or "")


def test_a_candidate_policy_is_defined_and_evaluated_with_progress(boss: Page, site: Site) -> None:
    boss.goto(f"{site.url}{ONE}/off-policy")
    boss.locator("#define > summary").click()
    form = boss.locator("#candidate-form")
    form.get_by_label("Name of the candidate").fill("always-news")
    form.get_by_label("What it does").select_option("fixed")
    form.get_by_label("The action").select_option("news")
    form.get_by_role("button", name="Store the candidate").click()
    boss.get_by_role("button", name=re.compile("^Evaluate")).first.click()
    expect(boss.locator("#content")).to_contain_text("always-news")
    done = "SELECT 1 FROM evaluations WHERE status = 'done'"
    wait_for(lambda: query(site.database_url, done), 60, "the evaluation")
    expect(boss.locator("svg.chart").first).to_be_visible(timeout=30_000)  # the page went on by itself
    assert query(site.database_url, "SELECT DISTINCT actor FROM evaluations") == [("ada@example.org",)]


def test_a_decision_is_replayed(boss: Page, site: Site) -> None:
    boss.goto(f"{site.url}{ONE}/decisions")
    boss.locator("table a[href*='replay']").first.click()
    expect(boss.locator(".verdict")).to_contain_text("Recomputing gives the same")
    expect(boss.get_by_role("heading", name="How the action was chosen")).to_be_visible()


def test_a_model_is_rolled_back_with_a_reason(boss: Page, site: Site) -> None:
    boss.goto(f"{site.url}{ONE}/policy")
    boss.get_by_role("link", name=re.compile("[Rr]oll back")).last.click()
    boss.get_by_role("button", name="Roll back").click()
    expect(boss.locator(".mistake")).to_be_visible()  # a reason is asked for
    boss.get_by_label("Why?", exact=True).fill("We want to see the earlier one again.")
    boss.get_by_role("button", name="Roll back").click()
    line = query(site.database_url, "SELECT actor, reason FROM changes WHERE kind = 'model_rollback'")
    assert line == [("ada@example.org", "We want to see the earlier one again.")]
    boss.goto(f"{site.url}{ONE}/log")
    expect(boss.locator(".trail")).to_contain_text("We want to see the earlier one again.")


def test_results_and_decisions_are_exported(boss: Page, site: Site) -> None:
    boss.goto(f"{site.url}{ONE}/results")
    for kind, least in (("results", 1), ("decisions", 400)):
        with boss.expect_download() as waited:
            boss.locator(f"a[href*='kind={kind}'][href*='format=csv']").first.click()
        rows = list(csv.DictReader(io.StringIO(Path(waited.value.path()).read_text(encoding="utf-8"))))
        assert len(rows) >= least
    with boss.expect_download() as waited:
        boss.locator(f"a[href$='{ONE}/report']").first.click()
    report = Path(waited.value.path()).read_text(encoding="utf-8")
    assert "Which tip &lt;b&gt;greets&lt;/b&gt; people" in report and "<script" not in report


def test_a_note_is_written_and_shares_are_changed_with_an_explanation(boss: Page, site: Site) -> None:
    boss.goto(f"{site.url}{ONE}/log")
    boss.get_by_label("Write a note").fill("Newcomers <i>do</i> want first steps.")
    boss.get_by_role("button", name="Add the note").click()
    expect(boss.locator(".trail")).to_contain_text("Newcomers <i>do</i> want first steps.")
    boss.get_by_role("button", name="Change", exact=True).click()
    boss.wait_for_url("**/admin/drafts/**")
    boss.locator("nav[aria-label=Steps]").get_by_role("button", name=re.compile("Arms")).click()
    expect(boss.locator("#content")).to_contain_text("ran already")


def test_a_viewer_sees_everything_and_changes_nothing(chromium: Browser, site: Site) -> None:
    context = chromium.new_context()
    page = context.new_page()
    sign_in(page, site, "viewer", "viv")
    before = query(site.database_url, "SELECT count(*) FROM changes WHERE kind <> 'signed_in'")
    for tab in ("", "results", "off-policy", "policy", "decisions", "log", "integration"):
        answer = page.goto(f"{site.url}{ONE}/{tab}")
        assert answer is not None and answer.status == 200
        buttons = [button.inner_text() for button in page.locator("main form[method=post] button").all()]
        assert buttons == ["☆ Star"], tab  # what a person marks for themselves
    answer = page.goto(f"{site.url}/admin/users")
    assert answer is not None and answer.status == 403
    token = page.locator("input[name=csrf_token]").first.input_value()
    for address in (f"{ONE}/move", f"{ONE}/conclude", f"{ONE}/policy/rollback", "/admin/drafts", "/admin/keys"):
        answered = page.request.post(site.url + address, form={"csrf_token": token, "do": "pause", "conclusion": "x"})
        assert answered.status == 403, address
    assert query(site.database_url, "SELECT count(*) FROM changes WHERE kind <> 'signed_in'") == before
    assert query(site.database_url, "SELECT status FROM experiments WHERE key = %s", KEY) == [("running",)]
    context.close()


def test_keys_of_the_api_still_work_beside_the_pages(site: Site) -> None:
    client = site.client
    assert client.get(f"/v1/experiments/{KEY}").body["owner"] == "ada@example.org"
    assert make_key(site.database_url, "read")
