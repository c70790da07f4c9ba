"""The versions of an arm, for people: their pages, who put them into service, and comparisons."""

import pytest

from app.foundation.errors import NotFound
from app.registry import versions as models
from app.verification import version_history as model_history
from app.verification.version_history import compare, history, version
from tests.service import Loop, bandit, query


@pytest.fixture(scope="module")
def arm(loop: Loop) -> int:
    """Four versions of a model that first learned b, then, after a rollback to the first, c."""
    made = loop.make("history", arms=bandit("softmax", lambda_=5))
    for best in ("b", "b"):
        loop.more("history", made, 60, best)
    models.rollback(loop.runtime.engine, "history", "learned", 0, "b was a mistake", "ann")
    loop.runtime.snapshots.refresh()
    for best in ("c", "c"):
        loop.more("history", made, 60, best)
    return made


def test_the_lineage_has_parents_learned_decisions_and_who_put_each_into_service(loop: Loop, arm: int) -> None:
    page = history(loop.runtime.engine, "history")
    assert (page.arms, page.arm, page.versions, page.older) == (["learned"], "learned", 5, None)
    assert [(line.version.number, line.parent, line.serves) for line in page.lines] == [
        (4, 3, True), (3, 0, False), (2, 1, False), (1, 0, False), (0, None, False),
    ]  # fmt: skip
    assert [line.version.manifest.get("decisions", 0) for line in page.lines] == [60, 60, 60, 60, 0]
    (change,) = page.lines[-1].rollbacks
    assert (change.actor, change.reason) == ("ann", "b was a mistake")
    assert all(line.rollbacks == [] for line in page.lines[:-1])


def test_versions_are_paged_newest_first(loop: Loop, arm: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_history, "PAGE", 2)
    numbers, before = [], None
    for _ in range(3):
        page = history(loop.runtime.engine, "history", "learned", before)
        numbers.append([line.version.number for line in page.lines])
        before = page.older
    assert (numbers, before) == ([[4, 3], [2, 1], [0]], None)


def test_comparing_shows_what_differs_and_that_the_favourite_action_changed(loop: Loop, arm: int) -> None:
    comparison = compare(loop.runtime.engine, loop.settings, "history", "learned", 2, 4)
    assert comparison.contexts == model_history.CONTEXTS and comparison.differ == 1.0 and not comparison.problem
    change = {mean.action: mean.second - mean.first for mean in comparison.actions}
    assert change["c"] > 0.2
    assert change["b"] < -0.2
    assert sum(change.values()) == pytest.approx(0)
    assert comparison.actions[0].action in ("b", "c")
    paths = {difference.path for difference in comparison.documents}
    assert {"sha256", "parent", "manifest/first"} <= paths and "manifest/policy" not in paths


def test_a_version_compared_with_itself_differs_in_nothing(loop: Loop, arm: int) -> None:
    comparison = compare(loop.runtime.engine, loop.settings, "history", "learned", 3, 3)
    assert (comparison.documents, comparison.differ) == ([], 0.0)
    assert all(mean.first == mean.second for mean in comparison.actions)


def test_comparing_ends_in_time_however_slow_the_models_are(
    loop: Loop, arm: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_history, "COMPARING_S", 0.0)
    assert compare(loop.runtime.engine, loop.settings, "history", "learned", 1, 4).contexts == 1


def test_an_arm_without_decisions_has_nothing_to_compare_on(loop: Loop) -> None:
    loop.make("untouched", arms=bandit())
    comparison = compare(loop.runtime.engine, loop.settings, "untouched", "learned", 0, 0)
    assert comparison.contexts == 0 and "no context" in comparison.problem


def test_a_refused_model_is_a_reason_and_not_an_error(loop: Loop) -> None:
    made = loop.learn("refused")
    query(loop.database_url, "UPDATE model_versions SET signature = 'f' WHERE experiment_id = %s AND number = 1", made)
    comparison = compare(loop.runtime.engine, loop.settings, "refused", "learned", 0, 1)
    assert comparison.contexts == 0 and "was not signed" in comparison.problem


def test_an_experiment_without_learning_arms_has_no_history_and_unknown_versions_are_not_found(
    loop: Loop, arm: int
) -> None:
    loop.make("plain")
    assert history(loop.runtime.engine, "plain").arms == []
    for number in (99, 10**12):
        with pytest.raises(NotFound, match="no model version"):
            version(loop.runtime.engine, "history", "learned", number)
    with pytest.raises(NotFound):
        history(loop.runtime.engine, "history", "ghost")
