"""The demo: its data are what an app would have known, and all of it runs against a real installation, twice."""

import io
import itertools
from typing import Any

import pytest

from app import demo
from app.demo.crackers import BRANDS, PERMUTATION_SEED, purchases
from app.verification.audit import audit_experiment
from tests.service import engine_of, make_key, query, running_web, running_worker, settings

SOME = 700


def test_the_purchases_are_the_same_every_time() -> None:
    first, second = list(purchases()), list(purchases())
    assert first == second and len(first) == 3292 and PERMUTATION_SEED == 1994
    assert {one.bought for one in first} == set(BRANDS)
    assert len({one.number for one in first}) == len(first)


def test_a_context_knows_the_earlier_purchases_and_nothing_of_this_one_or_later() -> None:
    past: dict[str, list[str]] = {}
    for one in purchases():
        known = past.setdefault(one.household, [])
        assert one.context["purchases"] == (min(len(known), 20) / 20 if known else 0)
        if known:
            assert one.context["last"] == known[-1]
            assert one.context["share"] == {brand: round(known.count(brand) / len(known), 4) for brand in BRANDS}
            assert known.count(one.context["favourite"]) == max(map(known.count, BRANDS))
        else:
            assert set(one.context) == {"purchases"}
        for action in one.actions:
            loyalty = (known.count(action["id"]) + 0.25) / (len(known) + 1)
            assert action["features"]["loyalty"] == round(loyalty, 4)
            assert action["features"]["bought_last"] == (known[-1:] == [action["id"]])
        assert not {"bought", "reward", "choice"} & (
            {*one.context} | {name for a in one.actions for name in a["features"]}
        )
        known.append(one.bought)


def test_the_whole_demo_runs_and_goes_on_where_it_was(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = list(itertools.islice(purchases(), SOME))
    monkeypatch.setattr(demo, "purchases", lambda: iter(some))
    monkeypatch.setattr(demo, "RATE", 10_000.0)
    key = make_key(database_url)

    def audit() -> Any:
        with engine_of(database_url) as engine:
            return audit_experiment(engine, settings(database_url), demo.EXPERIMENT_KEY)

    printed = []
    with running_web(database_url) as web, running_worker(database_url, redis_url):
        for _ in range(2):
            out = io.StringIO()
            demo.run(f"http://127.0.0.1:{web.port}", key, out, audit)
            printed.append(out.getvalue())
            assert query(database_url, "SELECT count(*) FROM decisions") == [(SOME,)]
            assert query(database_url, "SELECT count(*) FROM rewards") == [(SOME,)]
    for text in printed:
        for words in (
            "What each arm earned",
            "The learned arm over time",
            "Results against best_seller",
            f"Off-policy: values on {SOME // 2} later decisions, out of sample",
            "no_household",
            "best_fixed",
            "realised",
            "audit of crackers: everything matches",
        ):
            assert words in text, text
    tables = [text[text.index("What each arm earned") : text.index("The learned arm over time")] for text in printed]
    assert tables[0] == tables[1]
    assert query(database_url, "SELECT count(*) FROM evaluations WHERE status = 'done'") == [(2,)]
    assert query(database_url, "SELECT count(*) FROM outcomes") == [(SOME,)]
