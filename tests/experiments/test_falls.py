"""The watch that notices a fall: its statistic is the textbook's, and worlds without a fall do not set it off."""

import json

import numpy as np
import pytest
from pydantic import TypeAdapter

from experiments.monitoring import falls
from experiments.monitoring.falls import BETS, Watch
from experiments.validation import DataError, FloatArray

THRESHOLD = 400_000.0


def filled(values: FloatArray, batch: int = 100) -> Watch:
    """A watch that has seen these values."""
    watch = Watch()
    for start in range(0, len(values), batch):
        part = values[start : start + batch]
        watch = falls.observe(watch, part, np.arange(start, start + len(part))).watch
    return watch


def test_the_statistic_is_the_sum_over_every_possible_start() -> None:
    rng = np.random.default_rng(1)
    watch, values = filled(rng.random(1000)), rng.random(300) * 0.6
    seen = falls.observe(watch, values, np.arange(300.0))
    assert seen.level is not None
    low, high = seen.level.low, seen.level.high
    by_bet = []
    for bet, before in zip(BETS, watch.evidence, strict=True):
        factors = 1 + bet * (low - values) / (high - low)
        wealth = before
        for factor in factors:
            wealth = (wealth + 1) * factor
        by_bet.append(wealth)
        starts = [np.prod(factors[start:]) for start in range(len(factors))]
        assert wealth == pytest.approx(sum(starts) + before * np.prod(factors), rel=1e-9)
    assert seen.watch.strength == pytest.approx(np.mean(by_bet), rel=1e-9)
    assert seen.strength[-1] == pytest.approx(seen.watch.strength, rel=1e-12)


def test_a_call_of_many_observations_is_many_calls_of_one_while_the_level_stays() -> None:
    rng = np.random.default_rng(2)
    watch, values = filled(rng.random(2000)), rng.random(falls.LAG - 100) * 0.5
    watch = watch._replace(recent=())
    whole = falls.observe(watch, values, np.arange(len(values))).watch
    one = watch
    for index, value in enumerate(values):
        one = falls.observe(one, [value], [index]).watch
    assert one.evidence == pytest.approx(whole.evidence, rel=1e-9)
    assert one.falls == pytest.approx(whole.falls, rel=1e-9, abs=1e-9)
    assert one.began == pytest.approx(whole.began, abs=1), "a time is that of an observation beside the restart"
    assert (one.seen, one.known) == (whole.seen, whole.known)


def test_a_watch_survives_json() -> None:
    watch = filled(np.random.default_rng(3).random(3000))
    stored = TypeAdapter(Watch)
    assert stored.validate_python(json.loads(stored.dump_json(watch))) == watch


@pytest.mark.parametrize(
    ("before", "after", "within"), [(0.7, 0.04, 40), (0.3, 0.15, 900), (0.6, 0.4, 900), (0.02, 0.0, 3000)]
)
def test_a_fall_is_noticed_and_dated(before: float, after: float, within: int) -> None:
    rng = np.random.default_rng(4)
    watch = filled((rng.random(6000) < before) * 1.0)
    fallen = (rng.random(within) < after) * 1.0
    seen = falls.observe(watch, fallen, np.arange(6000, 6000 + within), most=1.0)
    noticed = int(np.argmax(seen.strength >= THRESHOLD))
    assert seen.strength[noticed] >= THRESHOLD
    assert abs(seen.began - 6000) <= within


@pytest.mark.parametrize("world", ["rare", "half", "nearly_all", "heavy_tail", "payers", "learns", "constant"])
def test_nothing_is_noticed_where_nothing_fell(world: str) -> None:
    rng = np.random.default_rng(5)
    worlds = {
        "rare": lambda n, t: rng.random(n) < 0.02,
        "half": lambda n, t: rng.random(n) < 0.5,
        "nearly_all": lambda n, t: rng.random(n) < 0.98,
        "heavy_tail": lambda n, t: rng.pareto(2.1, n),
        "payers": lambda n, t: (rng.random(n) < 0.03) * rng.lognormal(3, 1, n),
        "learns": lambda n, t: rng.random(n) < 0.2 + 0.5 * (1 - np.exp(-t / 3000)),
        "constant": lambda n, t: np.ones(n),
    }
    for _ in range(10):
        watch = Watch()
        for start in range(0, 20_000, 200):
            seen = falls.observe(watch, worlds[world](200, start) * 1.0, np.arange(start, start + 200))
            watch = seen.watch
            assert seen.strength.max() < THRESHOLD
    if world != "constant":
        assert seen.level is not None and seen.level.low < seen.level.mean


@pytest.mark.slow
def test_the_mean_time_between_false_alarms_is_at_least_the_threshold() -> None:
    """At the boundary, a mean exactly at the level that is bet on: the average time to a small threshold is above it."""
    rng, threshold, times = np.random.default_rng(6), 200.0, []
    known = falls.Sums(1000.0, 500.0, 500.0)
    for _ in range(200):
        watch, time = Watch(known=known), 0
        while watch.strength < threshold:
            watch = falls.observe(watch, (rng.random(1) < 0.5) * 1.0, [time], most=1.0, low=0.5).watch
            watch, time = watch._replace(known=known, recent=()), time + 1
        times.append(time)
    error = np.std(times) / np.sqrt(len(times))
    assert np.mean(times) > threshold - 3 * error


@pytest.mark.parametrize("margin", [0.1, 0.5])
def test_a_constant_that_falls_is_noticed_at_once(margin: float) -> None:
    seen = falls.observe(filled(np.ones(2000)), np.zeros(60), np.arange(60.0), most=1.0, margin=margin)
    assert seen.level is not None and seen.watch.strength >= THRESHOLD


def test_a_margin_is_no_fall() -> None:
    rng = np.random.default_rng(7)
    watch, values = filled((rng.random(20_000) < 0.5) * 1.0), (rng.random(8000) < 0.44) * 1.0
    assert falls.observe(watch, values, np.arange(8000.0), margin=0.2, most=1.0).watch.strength < 1000
    assert falls.observe(watch, values, np.arange(8000.0), margin=0.02, most=1.0).watch.strength > THRESHOLD


def test_nothing_observed_changes_nothing() -> None:
    watch = filled(np.random.default_rng(9).random(1000))
    seen = falls.observe(watch, [], [])
    assert seen.watch._replace(recent=watch.recent, known=watch.known) == watch and len(seen.strength) == 0


def test_after_an_alarm_the_past_is_another_world() -> None:
    watch = falls.restarted(filled(np.random.default_rng(8).random(1000)))
    assert watch.seen == 1000 and watch.strength == 0 and falls.level_of(watch.known, 0.1) is None


@pytest.mark.parametrize(
    ("values", "times", "margin", "words"),
    [
        ([1.0, 2.0], [1.0], 0.1, "different lengths"),
        ([float("nan")], [1.0], 0.1, "value"),
        ([1.0], [1.0], -0.1, "margin"),
    ],
)
def test_wrong_input_is_refused_in_words(values: list[float], times: list[float], margin: float, words: str) -> None:
    with pytest.raises(DataError, match=words):
        falls.observe(Watch(), values, times, margin=margin)
