"""A rule is tried on the past: what it would have done is what the guardian did, or would do; and nothing is changed."""

from typing import Any

import pytest

from app.design.experiment_config import FallbackSpec
from app.foundation.errors import Conflict, NotFound, Unprocessable
from app.guardian import dry_run
from app.guardian.dry_run import DryRun
from tests.guardian.world import World
from tests.lab import Lab
from tests.page_client import Browser
from tests.service import Client, query

KEY = "past"


@pytest.fixture(scope="module")
def world(lab: Lab) -> World:
    """A rule that only told, while a release broke the arm's page for a while."""
    world = World(lab, KEY, 2, learned={"fallback": {"act": False}})
    world.turn(10)
    plain = world.reward
    world.reward = lambda mood, answer: (  # type: ignore[method-assign]
        plain(mood, answer) if answer["arm"] == "control" else float(world.rng.random() < 0.05)
    )
    world.turn(16)
    world.reward = plain  # type: ignore[method-assign]
    world.turn(14)
    return world


def _tried(world: World, rule: FallbackSpec | None = None, days: float = 30.0) -> DryRun:
    return dry_run.try_rule(world.lab.runtime.engine, KEY, "learned", rule, days)


def test_a_rule_would_have_fallen_back_once_and_come_back(world: World) -> None:
    before = query(world.lab.database_url, "SELECT count(*), max(id) FROM incidents")
    report = _tried(world, FallbackSpec())
    ((_, until),) = [(time.at, time.until) for time in report.fell_back]
    assert until is not None and report.complete and report.decisions > 2000
    assert "would have fallen back once, and would have learned again" in report.text
    assert report.learned_again and report.learned_again[0] < report.fell_back[0].at
    assert query(world.lab.database_url, "SELECT count(*), max(id) FROM incidents") == before
    assert [arm.get("fallen_back", False) for arm in _config(world)["arms"]] == [False, False]


def _config(world: World) -> dict[str, Any]:
    statement = "SELECT config FROM experiment_configs c JOIN experiments e ON e.id = c.experiment_id WHERE e.key = %s"
    return dict(query(world.lab.database_url, f"{statement} ORDER BY version DESC LIMIT 1", KEY)[0][0])


def test_the_arms_own_rule_only_tells_and_says_so(world: World) -> None:
    assert "would have told, without falling back, once" in _tried(world).text


def test_a_wide_margin_would_never_have_fallen_back(world: World) -> None:
    report = _tried(world, FallbackSpec(margin=5.0))
    assert report.fell_back == [] and "never" in report.text


def test_what_the_guardian_did_is_what_the_dry_run_says(lab: Lab) -> None:
    """The same world, with a rule that acts: the first fall is noticed at the same look."""
    acted = World(lab, "acted", 2)
    acted.turn(10)
    plain = acted.reward
    acted.reward = lambda mood, answer: (  # type: ignore[method-assign]
        plain(mood, answer) if answer["arm"] == "control" else float(acted.rng.random() < 0.05)
    )
    while not [incident for incident in acted.incidents() if incident.kind == "behind_fallback"]:
        acted.turn()
    report = dry_run.try_rule(lab.runtime.engine, "acted", "learned")
    assert len(report.fell_back) == 1 and report.fell_back[0].until is None
    newest = query(
        lab.database_url,
        "SELECT max(decided_at) FROM decisions d JOIN experiments e ON e.id = d.experiment_id WHERE e.key = 'acted'",
    )
    assert report.fell_back[0].at[:23] == newest[0][0].isoformat()[:23]


def test_only_so_much_of_the_log_is_played_and_the_report_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "MOST", 500)
    report = _tried(world)
    assert not report.complete and 0 < report.decisions <= 500
    monkeypatch.undo()
    monkeypatch.setattr(dry_run, "LIMIT_S", 0.0)
    report = _tried(world)
    assert not report.complete and report.decisions == 0 and report.since is None
    assert _tried(world, days=1e-9).text == "The arm has no settled decision of the last 1e-09 days."


def test_a_rule_that_is_not_possible_is_refused(world: World) -> None:
    with pytest.raises(NotFound):
        dry_run.try_rule(world.lab.runtime.engine, KEY, "ghost")
    with pytest.raises(Conflict):
        dry_run.try_rule(world.lab.runtime.engine, KEY, "control")
    with pytest.raises(Unprocessable):
        _tried(world, FallbackSpec(to={"type": "fixed", "action": "ghost"}))


def test_the_page_and_the_api_say_the_same(world: World, viewer: Browser, client: Client) -> None:
    page = viewer.get(f"/admin/experiments/{KEY}/health?try=learned&margin=10&probe=5&days=30")
    assert (
        page.status == 200 and "would have told, without falling back, once" in page.text and "Fallen back" in page.text
    )
    assert viewer.get(f"/admin/experiments/{KEY}/health?try=learned&margin=lots").status == 422
    assert viewer.get(f"/admin/experiments/{KEY}/health?try=learned&margin=-1").status == 422
    assert viewer.get(f"/admin/experiments/{KEY}/health?try=learned&days=0").status == 422
    answer = client.post(f"/v1/experiments/{KEY}/guardian/dry-run", {"arm": "learned", "fallback": {"margin": 0.1}})
    assert answer.status == 200 and len(answer.body["fell_back"]) == 1 and answer.body["complete"]
    assert client.post(f"/v1/experiments/{KEY}/guardian/dry-run", {"arm": "control"}).status == 409
