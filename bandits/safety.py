"""Decides whether a model may serve: checks its bytes before VW reads them, then what the model answers.

A model that fails a check is not loaded any further. The caller keeps the model that serves and reports the problems.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bandits.learner.state import State
from bandits.learner.vw_learner import inner_model, is_framed
from bandits.model import Predictor
from bandits.model_file import ModelError, read_header, read_weights, unseal
from bandits.policy import BanditPolicy
from bandits.vw_model import initial_model, options_problem

# VW's float32 distributions miss 1 by up to 4e-6; more than this is damage.
SUM_TOLERANCE = 1e-4


class ModelReport(NamedTuple):
    """The result of the checks of a model."""

    ok: bool  # may serve
    problems: tuple[str, ...]  # one sentence each; empty when ok
    examples: int  # examples learned according to the envelope; 0 when it cannot be read
    weights: int  # weights that are not zero; 0 when they cannot be read


def check_model(
    model_bytes: bytes,
    policy: BanditPolicy,
    canaries: Sequence[tuple[str, Sequence[str]]],
    *,
    trained: bool = True,
) -> ModelReport:
    """Checks a model's completeness, options, weights, and its distributions on canaries (shared line, action lines).

    `trained=False` allows the untrained model that `initial_model` gives. It never raises: the report says what is
    wrong.
    """
    if policy.rebuilds:
        return _check_learner(model_bytes, policy, canaries, trained=trained)
    try:
        examples, payload = unseal(_inner(model_bytes, policy))
        problem = options_problem(payload, policy)
        if problem:
            return ModelReport(False, (problem,), examples, 0)
        weights, problems = _check_weights(payload, policy)
    except ModelError as error:
        return ModelReport(False, (str(error),), 0, 0)
    # Weights alone prove nothing: where every reward was the best possible, no weight should have moved.
    if trained and (examples == 0 or payload == unseal(initial_model(policy)).payload):
        problems.append("the model has learned nothing: it is the untrained one")
    if not problems:
        problems += _check_canaries(model_bytes, policy, canaries)
    return ModelReport(not problems, tuple(problems), examples, weights)


def _inner(model_bytes: bytes, policy: BanditPolicy) -> bytes:
    framed = policy.scaling or is_framed(model_bytes)
    return inner_model(model_bytes, policy) if framed else model_bytes


def _check_learner(
    model_bytes: bytes, policy: BanditPolicy, canaries: Sequence[tuple[str, Sequence[str]]], *, trained: bool
) -> ModelReport:
    try:
        state = State.from_bytes(model_bytes)
    except ModelError as error:
        return ModelReport(False, (str(error),), 0, 0)
    numbers = [array for sums in state.sums.values() for array in (sums.gram, sums.moment)]
    problems = []
    if trained and state.scaler is None:
        problems.append("the model has learned nothing: it is the untrained one")
    if not all(np.isfinite(array).all() for array in numbers):
        problems.append("the model has sums that are not finite")
    if not problems:
        problems += _check_canaries(model_bytes, policy, canaries)
    weights = sum(int(np.count_nonzero(sums.moment)) for sums in state.sums.values())
    return ModelReport(not problems, tuple(problems), state.examples, weights)


def _check_weights(payload: bytes, policy: BanditPolicy) -> tuple[int, list[str]]:
    empty = unseal(initial_model(policy)).payload
    # The state of VW's reductions has the same size in every model of a policy; the weights begin where an empty model ends.
    state_bytes = len(empty) - read_header(empty).end
    records = read_weights(payload, read_header(payload).end + state_bytes)
    problems = []
    if not np.isfinite(records["values"]).all():
        problems.append("the model has weights that are not finite")
    index = records["index"].astype(np.int64)
    if index.size and (index[-1] >= 1 << policy.bits or (np.diff(index) <= 0).any()):
        problems.append("the model's weights are out of order or beyond its size")
    return int(np.count_nonzero(records["values"][:, 0])), problems


def _check_canaries(
    model_bytes: bytes, policy: BanditPolicy, canaries: Sequence[tuple[str, Sequence[str]]]
) -> list[str]:
    problems = []
    predictor = Predictor(model_bytes, policy)
    try:
        for index, (shared_line, action_lines) in enumerate(canaries):
            try:
                distributions = predictor.own(shared_line, action_lines)
            except ValueError as error:
                problems.append(f"canary {index}: {error}")
                continue
            for p in distributions:
                if not all(math.isfinite(x) and x >= 0.0 for x in p) or abs(math.fsum(p) - 1.0) > SUM_TOLERANCE:
                    problems.append(f"canary {index}: not a distribution: {p[:10]!r}")
    finally:
        predictor.close()
    return problems
