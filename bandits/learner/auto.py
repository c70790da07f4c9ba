"""Learns the state of `auto` and `thompson`: a fit from nothing over a log, and rounds between fits.

A fit learns the features' scale and the rewards' scale from the log, chooses how much of the log still holds, races the
candidates over growing parts of it, each part predicted before it is learned, and then learns all of it in several passes.
A round predicts with every candidate, scores the predictions, and only then learns them. Scales never come from the future
of a round; within a fit they come from the whole log, without the rewards of single decisions.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bandits.distribution import FloatArray
from bandits.examples import Example, checked_text
from bandits.learner import regressions
from bandits.learner.beliefs import RIDGES, Precision, Sums
from bandits.learner.encoder import Encoded, Encoder, Row
from bandits.learner.feature_stats import LogStats
from bandits.learner.race import Race
from bandits.learner.scaling import Scaler
from bandits.learner.state import MOST_ROWS, RewardScale, State
from bandits.learner.tokens import action_key
from bandits.learner.windows import newest_that_hold
from bandits.policy import BanditPolicy

MOST_TOKENS: Final = 20_000_000  # features of a fit; larger contexts mean fewer rows
STATS_ROWS: Final = 20_000  # rows, evenly spread, whose features are counted
LEAST_STAGE: Final = 50  # rows before the first part that is predicted
STAGES: Final = 3  # doublings of the log in the race
ENOUGH: Final = 20.0  # rows of a block from which a precision of each column may be found
SCORED: Final = 5_000  # newest rows of a part that are scored
SCORED_AT_ONCE: Final = 100  # rows between which scores fade
SPARE_BLOCKS: Final = 8  # new actions that get a block between fits, beside as many as there were
SAME: Final = 1e-9  # spread of rewards in [0, 1] below which they count as all equal
START: Final = "linear"  # serves until another is clearly better: the simplest, whose uncertainty is its own


def untrained(incumbent: str = "", earlier: int = 0, pinned: str = "") -> bytes:
    """The bytes of a learner that knows nothing.

    :param incumbent: the candidate that serves until the race shows a better one; "" for the usual first one.
    :param earlier: decisions that count as learned, although a fit will not be given them.
    :param pinned: the candidate that serves whatever the race shows, if there is one of that name; "" for none.
    """
    return State(0, earlier=earlier, incumbent=incumbent, pinned=pinned).to_bytes()


def learn(parent_bytes: bytes, policy: BanditPolicy, examples: Iterable[Example]) -> bytes:
    """The child: a fit from nothing if the parent knows nothing, otherwise a round. The same bytes every time.

    All examples are checked first. Raises `TrainingDataError` (an example) and `ModelError` (the parent).
    """
    state = State.from_bytes(parent_bytes)
    rows = [_row(index, example) for index, example in enumerate(examples)]
    if not rows:
        return parent_bytes
    return (fit if state.scaler is None else learn_round)(state, policy, rows).to_bytes()


def fit(begin: State, policy: BanditPolicy, rows: Sequence[Row]) -> State:
    """A state that has learned the newest rows, at most MOST_ROWS and MOST_TOKENS, from nothing. See `untrained`."""
    learned = begin.earlier + len(rows)
    rows = _newest(rows)
    stats = LogStats()
    for row in rows[:: math.ceil(len(rows) / STATS_ROWS)]:
        stats.add(row.shared_line, (row.action_line,))
    scaler = Scaler.learn(stats)
    actions = tuple(sorted({action_key(row.action_line) for row in rows}))
    encoder = Encoder(scaler, actions, len(actions))
    if "linear" not in encoder.beliefs:
        actions, encoder = (), Encoder(scaler, (), 0)
    table = encoder.rows(rows)
    window = newest_that_hold(table, encoder.beliefs)
    table = table.take(slice(len(rows) - window, None))
    state = replace(begin, examples=learned, fitted=learned, window=window, scale=_scale(table.rewards), scaler=scaler)
    state.actions, state.planned = actions, len(actions)
    names = candidates(encoder, policy)
    wanted = (begin.pinned, policy.pinned, begin.incumbent, START)
    served = next((name for name in wanted if name in names), names[0])
    state.race = Race.new(names, names.index(served))
    _compete(state, encoder, table, policy)
    _fit_all(state, encoder, table)
    return state


def learn_round(state: State, policy: BanditPolicy, rows: Sequence[Row]) -> State:
    """The state after a round: scored, then learned. The given state is not used any more."""
    if state.actions:
        known = set(state.actions)
        new = dict.fromkeys(key for row in rows if (key := action_key(row.action_line)) not in known)
        room = max(0, 2 * state.planned + SPARE_BLOCKS - len(known))
        state.actions += tuple([*new][:room])
        state.sums = {
            name: sums if name == "shared" else sums.grown(len(state.actions)) for name, sums in state.sums.items()
        }
    table = state.encoder().rows(rows)
    rewards = state.scale.centred(table.rewards)
    state.race.score(predictions(state, table), rewards)
    _choose(state, policy)
    _add(state.sums, table, rewards)
    state.regressions = {
        name: regressions.learn(name, parent, table.lines, rewards) for name, parent in state.regressions.items()
    }
    state.examples += len(rows)
    state.window += len(rows)
    return state


def candidates(encoder: Encoder, policy: BanditPolicy) -> tuple[str, ...]:
    """The candidates' names: beliefs, regressions, and the mean of one of each, joined by a plus sign."""
    if policy.algorithm == "thompson":
        return (encoder.beliefs[0],)
    names = [name for name in regressions.FLAGS if name != "cca" or encoder.products]
    return (*encoder.beliefs, *names, *(f"{belief}+{name}" for belief in encoder.beliefs for name in names))


def predictions(state: State, table: Encoded) -> FloatArray:
    """Centred rewards of the rows' chosen actions as each candidate predicts them, shape (m, n)."""
    single = {name: state.belief(name).means(_blocks(name, table), table.vectors[name]) for name in state.sums}
    single |= {name: regressions.predict(payload, table.lines) for name, payload in state.regressions.items()}
    believed = {name: state.scale.believable(values) for name, values in single.items()}
    return np.stack([np.mean([believed[part] for part in name.split("+")], axis=0) for name in state.race.names])


def _choose(state: State, policy: BanditPolicy) -> None:
    """Lets the race decide what serves, unless one of the candidates is pinned."""
    if not {state.pinned, policy.pinned} & {*state.race.names}:
        state.race.choose()


def _compete(state: State, encoder: Encoder, table: Encoded, policy: BanditPolicy) -> None:
    """Scores the candidates on growing parts of the log, each predicted by a fit on everything before it.

    The prior precision of each belief in a part is the one that was best in the parts before it.
    """
    n = len(table.rewards)
    borders = [border for stage in range(STAGES, -1, -1) if (border := n >> stage) >= LEAST_STAGE]
    errors = {name: np.zeros(1 + len(RIDGES)) for name in encoder.beliefs}
    for first, until in pairwise(borders):
        _fit_all(state, encoder, table.take(slice(0, first)))
        part = table.take(slice(max(first, until - SCORED), until))
        predicted, rewards = predictions(state, part), state.scale.centred(part.rewards)
        for begin in range(0, len(rewards), SCORED_AT_ONCE):
            block = slice(begin, begin + SCORED_AT_ONCE)
            state.race.score(predicted[:, block], rewards[block])
        for name, sums in state.sums.items():
            choices: tuple[Precision, ...] = (*RIDGES, sums.relevance(state.noise))
            errors[name] += [_loss(sums, precision, name, part, rewards, state.scale) for precision in choices]
            if sums.rows < ENOUGH:
                errors[name][-1] = math.inf
            state.precisions[name] = choices[int(errors[name].argmin())]
    _choose(state, policy)


def _loss(sums: Sums, precision: Precision, name: str, part: Encoded, rewards: FloatArray, scale: RewardScale) -> float:
    block = _blocks(name, part)
    known = np.flatnonzero(block >= 0)
    predicted = np.einsum("ni,ni->n", part.vectors[name][known], sums.weights(precision)[block[known]])
    return float(np.square(scale.believable(predicted) - rewards[known]).sum())


def _fit_all(state: State, encoder: Encoder, table: Encoded) -> None:
    """Replaces what every candidate knows by a fit on these rows alone."""
    rewards = state.scale.centred(table.rewards)
    needed = {part for name in state.race.names for part in name.split("+")}
    first = encoder.beliefs[0]  # also where a regression is pinned, whose uncertainty it lends
    state.sums = {name: Sums.empty(*encoder.sizes(name)) for name in encoder.beliefs if name in needed or name == first}
    _add(state.sums, table, rewards)
    for name, sums in state.sums.items():
        if isinstance(state.precisions.setdefault(name, RIDGES[0]), tuple):
            state.precisions[name] = sums.relevance(state.noise)
    state.regressions = {
        name: regressions.learn(name, None, table.lines, rewards) for name in regressions.FLAGS if name in needed
    }


def _add(beliefs: Mapping[str, Sums], table: Encoded, rewards: FloatArray) -> None:
    for name, sums in beliefs.items():
        block = _blocks(name, table)
        known = np.flatnonzero(block >= 0)
        sums.add(block[known], table.vectors[name][known], rewards[known])


def _blocks(name: str, table: Encoded) -> NDArray[np.int64]:
    return np.zeros_like(table.block) if name == "shared" else table.block


def _row(index: int, example: Example) -> Row:
    checked_text(index, example)
    return Row(example.shared_line, example.action_lines[example.chosen], 1.0 - example.cost)


def _newest(rows: Sequence[Row]) -> Sequence[Row]:
    """The newest rows that a fit can bear."""
    rows = rows[-MOST_ROWS:]
    sizes = np.array([row.shared_line.count(" ") + row.action_line.count(" ") for row in rows])
    kept = int(np.searchsorted(sizes[::-1].cumsum(), MOST_TOKENS, side="right"))
    return rows[-max(kept, 1) :]


def _scale(rewards: FloatArray) -> RewardScale:
    center, unit = float(rewards.mean()), float(rewards.std())
    if unit <= SAME:
        return RewardScale(center)
    return RewardScale(center, unit, float(rewards.min() - center) / unit, float(rewards.max() - center) / unit)
