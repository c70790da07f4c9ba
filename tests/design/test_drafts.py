"""Drafts: saved step by step, never overwritten unnoticed, made into an experiment once."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.design import drafts, experiments
from app.foundation.errors import Conflict, NotFound, Unprocessable
from tests.service import UNIFORM, definition, engine_of, query, settings


@pytest.fixture(scope="module")
def engine(database_url: str) -> Iterator[Any]:
    with engine_of(database_url) as engine:
        yield engine


def test_each_save_keeps_the_other_steps_and_counts_one_more_version(engine: Any) -> None:
    draft_id = drafts.create(engine, {}, "ann")
    drafts.save(engine, draft_id, 1, ["purpose"], {"name": "A \u202e<b>"}, "ann")
    saved = drafts.save(engine, draft_id, 2, ["reward"], {"reward": {"min": "not a number"}}, "ben")
    assert saved.typed == {
        "saved": ["purpose", "reward"],
        "document": {"name": "A \u202e<b>", "reward": {"min": "not a number"}},
    }
    assert (saved.version, saved.created_by, saved.updated_by) == (3, "ann", "ben")
    assert drafts.unfinished(engine)[0].title == "A \u202e<b>"


def test_a_save_from_an_older_version_is_refused_and_stores_nothing(engine: Any) -> None:
    draft_id = drafts.create(engine, {}, "ann")
    drafts.save(engine, draft_id, 1, ["purpose"], {"name": "Ann's"}, "ann")
    with pytest.raises(Conflict, match="saved by ann") as caught:
        drafts.save(engine, draft_id, 1, ["purpose"], {"name": "Ben's"}, "ben")
    assert caught.value.code == "draft_changed"
    assert drafts.get(engine, draft_id).typed["document"]["name"] == "Ann's"
    with pytest.raises(Conflict):
        drafts.discard(engine, draft_id, 1)


def test_a_draft_becomes_an_experiment_once_and_is_gone(engine: Any, database_url: str) -> None:
    draft_id = drafts.create(engine, {}, "ann")
    made = drafts.publish(engine, settings(database_url), draft_id, 1, definition("made-once"), "ann")
    assert (made.key, made.status, made.owner) == ("made-once", "draft", "ann")
    for call in (
        lambda: drafts.get(engine, draft_id),
        lambda: drafts.publish(engine, settings(database_url), draft_id, 1, definition("made-twice"), "ann"),
    ):
        with pytest.raises(NotFound) as caught:
            call()
        assert caught.value.code == "unknown_draft"


def test_a_draft_that_cannot_be_made_stays(engine: Any, database_url: str) -> None:
    draft_id = drafts.create(engine, {}, "ann")
    for document in (definition("bad", arms=[]), definition("made-once")):
        with pytest.raises((Unprocessable, Conflict)):
            drafts.publish(engine, settings(database_url), draft_id, 1, document, "ann")
    assert drafts.get(engine, draft_id).version == 1


def test_a_change_is_refused_until_somebody_looked_at_a_newer_configuration(engine: Any, database_url: str) -> None:
    ours = settings(database_url)
    experiments.create(engine, ours, definition("moving"), "ann")
    draft_id = drafts.create_change(engine, "moving", 1, {}, "ann")
    experiments.change(engine, ours, "moving", {"name": "By somebody else"}, "ben")
    document = definition("moving", name="Mine")
    with pytest.raises(Conflict) as caught:
        drafts.publish(engine, ours, draft_id, 1, document, "ann")
    assert caught.value.code == "experiment_changed"
    drafts.rebase(engine, draft_id, 1, 2, "ann")
    assert drafts.publish(engine, ours, draft_id, 2, document, "ann").config_version == 3
    kinds = "SELECT kind, actor FROM changes c JOIN experiments e ON e.id = c.experiment_id WHERE key = 'moving' ORDER BY c.id"
    assert query(database_url, kinds)[1:] == [("experiment_changed", "ben"), ("experiment_changed", "ann")]


def test_an_untouched_change_is_reused(engine: Any, database_url: str) -> None:
    experiments.create(engine, settings(database_url), definition("again"), "ann")
    first = drafts.create_change(engine, "again", 1, {}, "ann")
    assert drafts.create_change(engine, "again", 1, {}, "ann") == first
    others = drafts.create_change(engine, "again", 1, {}, "ben")
    drafts.save(engine, first, 1, ["purpose"], {"name": "Typed"}, "ann")
    second = drafts.create_change(engine, "again", 1, {}, "ann")
    assert len({first, others, second, drafts.create_change(engine, "again", 2, {}, "ann")}) == 4


def test_a_policy_in_other_words_is_the_same_policy_and_keeps_its_model(engine: Any, database_url: str) -> None:
    ours = settings(database_url)
    arms = [{"key": "learned", "share": 1.0, "policy": {"type": "bandit", "algorithm": "squarecb"}}]
    experiments.create(engine, ours, definition("worded", arms=arms), "ann")
    experiments.move(engine, "worded", "start", "ann")
    spelled = {"type": "bandit", "algorithm": "squarecb", "exploration_floor": 0.05, "parameters": {"gamma_scale": 10}}
    changed = experiments.change(engine, ours, "worded", {"name": "x", "arms": [arms[0] | {"policy": spelled}]}, "ann")
    assert changed.config["arms"] == arms
    versions = (
        "SELECT count(*) FROM model_versions m JOIN experiments e ON e.id = m.experiment_id WHERE e.key = 'worded'"
    )
    assert query(database_url, versions) == [(1,)]


def test_refusals_name_the_field_that_is_fixed(engine: Any, database_url: str) -> None:
    ours = settings(database_url)
    experiments.create(engine, ours, definition("fixed"), "ann")
    experiments.move(engine, "fixed", "start", "ann")
    other = [{**UNIFORM[0], "policy": {"type": "fixed", "action": "a"}}]
    with pytest.raises(Conflict) as caught:
        experiments.change(engine, ours, "fixed", {"arms": other, "reward": {"max": 2.0}}, "ann")
    assert [field.path for field in caught.value.fields] == ["/reward", "/arms/0/policy"]


def test_a_concluded_experiment_has_no_change(engine: Any, database_url: str) -> None:
    experiments.create(engine, settings(database_url), definition("over"), "ann")
    experiments.move(engine, "over", "conclude", "ann", "done")
    with pytest.raises(Conflict, match="concluded"):
        drafts.create_change(engine, "over", 1, {}, "ann")


def test_a_draft_of_endless_text_is_refused(engine: Any) -> None:
    draft_id = drafts.create(engine, {}, "ann")
    with pytest.raises(Unprocessable, match="8 megabytes"):
        drafts.save(engine, draft_id, 1, ["purpose"], {"hypothesis": "x" * 9_000_000}, "ann")
