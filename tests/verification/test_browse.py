"""The log's browser: every decision on exactly one page, with any filter."""

from datetime import timedelta
from typing import Any

import pytest

from app.foundation.errors import NotFound
from app.verification.browse import DecisionPage, Search, search
from tests.service import Loop, query

COUNT = 120
ARMS = [
    {"key": "even", "share": 0.5, "policy": {"type": "uniform"}},
    {"key": "fixed", "share": 0.5, "policy": {"type": "fixed", "action": "b"}},
]


@pytest.fixture(scope="module")
def log(loop: Loop) -> list[tuple[Any, ...]]:
    """Decisions of batches, which share their times: (id, unit, arm, action, time), newest first."""
    loop.make("browsed", arms=ARMS)
    loop.make("beside")
    for batch in range(6):
        bodies = [{"decision_id": f"{batch}-{n:02}", "unit_id": f"unit-{n}"} for n in range(COUNT // 6)]
        loop.decide("browsed", bodies)
        loop.decide("beside", [{"unit_id": "unit-1"}])
    return query(
        loop.database_url,
        "SELECT d.id, unit_id, arm, eligible[chosen + 1], decided_at FROM decisions d JOIN experiments e"
        " ON e.id = d.experiment_id WHERE e.key = 'browsed' ORDER BY decided_at DESC, d.id DESC",
    )


def pages(loop: Loop, wanted: Search, most: int = 7, scanned: int = 50_000) -> tuple[list[str], list[DecisionPage]]:
    """Every page of a search, and the ids on them."""
    result_pages = [search(loop.runtime.engine, "browsed", wanted, most=most, scanned=scanned)]
    while result_pages[-1].older is not None:
        result_pages.append(
            search(loop.runtime.engine, "browsed", wanted, result_pages[-1].older, most=most, scanned=scanned)
        )
        assert len(result_pages) < 100
    return [line.id for page in result_pages for line in page.lines], result_pages


def test_paging_shows_each_decision_once_newest_first(loop: Loop, log: list[tuple[Any, ...]]) -> None:
    ids, result_pages = pages(loop, Search())
    assert ids == [row[0] for row in log] and len(ids) == COUNT
    assert all(len(page.lines) <= 7 and page.searched_back_to is None for page in result_pages)


@pytest.mark.parametrize("scanned", [50_000, 13])
@pytest.mark.parametrize(
    "wanted", [Search(arm="fixed"), Search(action="a"), Search(arm="even", action="b"), Search(arm="x")]
)
def test_an_arm_or_an_action_is_found_everywhere_however_few_rows_are_looked_through_at_once(
    loop: Loop, log: list[tuple[Any, ...]], wanted: Search, scanned: int
) -> None:
    ids, result_pages = pages(loop, wanted, scanned=scanned)
    assert ids == [row[0] for row in log if wanted.arm in ("", row[2]) and wanted.action in ("", row[3])]
    stopped = [page.searched_back_to for page in result_pages if page.searched_back_to is not None]
    assert stopped == sorted(stopped, reverse=True)
    if wanted.arm == "x":  # there are no matches, so every page but the last ends with its last row
        assert len(stopped) == (COUNT // scanned if scanned < COUNT else 0)


def test_a_unit_s_decisions_of_this_experiment_are_found(loop: Loop, log: list[tuple[Any, ...]]) -> None:
    ids, _ = pages(loop, Search(unit="unit-1"), most=2)
    assert ids == [row[0] for row in log if row[1] == "unit-1"] and len(ids) == 6


def test_a_range_of_time_includes_its_beginning_and_not_its_end(loop: Loop, log: list[tuple[Any, ...]]) -> None:
    since, until = log[70][4], log[30][4]
    ids, _ = pages(loop, Search(since=since, until=until))
    assert ids == [row[0] for row in log if since <= row[4] < until] and ids
    assert pages(loop, Search(since=log[0][4] + timedelta(seconds=1)))[0] == []


def test_an_id_finds_its_decision_and_none_of_another_experiment(loop: Loop, log: list[tuple[Any, ...]]) -> None:
    (line,) = search(loop.runtime.engine, "browsed", Search(id="3-07")).lines
    assert (line.id, line.unit_id, line.state, line.reward) == ("3-07", "unit-7", "active", None)
    (other,) = query(
        loop.database_url,
        "SELECT d.id FROM decisions d JOIN experiments e ON e.id = d.experiment_id WHERE e.key = 'beside' LIMIT 1",
    )
    assert search(loop.runtime.engine, "browsed", Search(id=other[0])).lines == []


def test_a_settled_reward_is_shown(loop: Loop, log: list[tuple[Any, ...]]) -> None:
    loop.reward([{"decision_id": "5-03", "value": 0.5}])
    (experiment_id,) = query(loop.database_url, "SELECT id FROM experiments WHERE key = 'browsed'")[0]
    loop.close_windows(experiment_id)
    for arm in ("even", "fixed"):
        loop.train(experiment_id, arm)
    (line,) = search(loop.runtime.engine, "browsed", Search(id="5-03")).lines
    assert line.reward == 0.5


def test_an_unknown_experiment_has_no_log(loop: Loop) -> None:
    with pytest.raises(NotFound):
        search(loop.runtime.engine, "ghost", Search())
