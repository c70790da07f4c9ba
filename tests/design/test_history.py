"""The trail: differences, notes, and paging that shows each line once."""

import re

import pytest

from app.design import experiments
from app.design import history as trail
from app.design.history import Difference, differences
from app.foundation.errors import Unprocessable
from tests.service import ROOT, Loop


def test_differences_name_what_changed_and_nothing_else() -> None:
    before = {"a": 1, "b": {"c": [1, 2, 3], "d": "x"}, "gone": True, "same": [{"k": 1}]}
    after = {"a": 2, "b": {"c": [1, 9], "d": "x"}, "new": {"deep": 1}, "same": [{"k": 1}]}
    assert differences(before, after) == [
        Difference("a", 1, 2),
        Difference("b/c/1", 2, 9),
        Difference("b/c/2", 3, None),
        Difference("gone", True, None),
        Difference("new", None, {"deep": 1}),
    ]
    assert differences(before, before) == []
    assert differences(None, {"a": 1}) == [Difference("", None, {"a": 1})]


def test_items_of_a_list_are_compared_by_their_names() -> None:
    a, b, c = ({"key": name, "share": 0.5} for name in "abc")
    assert differences({"arms": [a, b]}, {"arms": [a, c, b | {"share": 0.4}]}) == [
        Difference("arms/b/share", 0.5, 0.4),
        Difference("arms/c", None, c),
    ]
    assert differences({"actions": [{"id": "x"}]}, {"actions": []}) == [Difference("actions/x", {"id": "x"}, None)]
    assert differences([a, b], [b, a]) == [Difference("it: order", ["a", "b"], ["b", "a"])]
    assert differences([a, a], [a]) == [Difference("1", a, None)]


def test_every_change_is_a_line_with_its_actor_and_notes_are_lines_too(loop: Loop) -> None:
    loop.make("trailed")
    experiments.change(loop.runtime.engine, loop.settings, "trailed", {"name": "Another name"}, "ada")
    trail.add_note(loop.runtime.engine, "trailed", "  We saw <b>it</b>.  ", "ada")
    page = trail.newest(loop.runtime.engine, experiment_key="trailed")
    assert [(line.change.actor, line.words) for line in page.lines] == [
        ("ada", "wrote a note"),
        ("ada", "changed the configuration"),
        ("test", "started the experiment"),
        ("test", "created the experiment"),
    ]
    assert page.lines[0].change.reason == "We saw <b>it</b>."
    assert page.lines[1].differences == [Difference("name", "", "Another name")]


def test_every_kind_of_change_has_words_of_its_own() -> None:
    source = "".join(file.read_text() for file in (ROOT / "app").rglob("*.py"))
    calls = re.findall(r"record_change\((?:[^()]|\([^()]*\))*", source)
    kinds = {kind for call in calls for kind in re.findall(r'kind="(\w+)"', call)}
    assert len(kinds) > 10 and kinds <= set(trail.WORDS)
    assert len(set(trail.WORDS.values())) == len(trail.WORDS)


def test_paging_shows_each_line_once(loop: Loop) -> None:
    loop.make("long-trail")
    for number in range(25):
        trail.add_note(loop.runtime.engine, "long-trail", f"note {number}", "ada")
    seen, before = [], None
    while True:
        page = trail.newest(loop.runtime.engine, experiment_key="long-trail", before_id=before, most=4)
        seen += [line.change.id for line in page.lines]
        if page.older is None:
            break
        before = page.older
    assert len(seen) == len(set(seen)) == 27
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize("text", ["", "   ", "x" * 10_001, "a\0b"])
def test_an_empty_or_too_long_note_is_refused(loop: Loop, text: str) -> None:
    loop.make(f"notes-{len(text)}-{text.strip()[:1] or 'none'}".replace("\0", ""))
    with pytest.raises(Unprocessable):
        trail.add_note(loop.runtime.engine, "long-trail", text, "ada")
