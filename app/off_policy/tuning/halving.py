"""Chooses a few of many policies on the earlier part of a log, by successive halving (Jamieson and Talwalkar 2016).

The earlier part is cut in two by time. Every policy learns from a ninth of the first part, the newest rows, and is scored on the
second; the better third learns from a third, and the better third of those from the whole first part. Scores only choose: nothing
of the later part of the log is seen, so what the finalists earn there is valued as if nobody had searched.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, cast

import numpy as np
from pydantic import JsonValue

from app.design.experiment_config import ExperimentConfig
from app.off_policy.documents import PolicyLine, TunedLine
from app.off_policy.evaluation_request import CandidateSpec, Tune
from app.off_policy.log_table import LogTable
from app.off_policy.policies import Target
from app.off_policy.predictions import predict
from app.off_policy.tuning.space import policies
from app.off_policy.valued import MIN_SCORED, Sample, value
from bandits.examples import TrainingDataError
from bandits.model import Predictor, initial_model, learn_forward
from bandits.model_file import ModelError
from bandits.policy import BanditPolicy, Policy, policy_to_json
from experiments.validation import DataError

KEPT: Final = 3  # one of so many goes on
FEW: Final = 9  # policies that all learn from everything
MOST_SCORED: Final = 10_000  # rows of the second part
MIN_LEARNED: Final = 100
ALPHA: Final = 0.05


class Tried(NamedTuple):
    """A policy and what it was worth on the second part."""

    policy: Policy
    learned: int  # rows
    line: PolicyLine | None  # null: not tried any more
    score: float  # doubly robust; -inf: it has none
    reason: str = ""  # why it has none


@dataclass
class Halving:
    """One search."""

    config: ExperimentConfig
    first: LogTable
    sample: Sample  # of the second part
    deadline: float  # of ``time.monotonic``
    models: dict[tuple[str, str, int], bytes] = field(default_factory=dict)  # of the platform's own learners

    def run(self, wanted: Sequence[Policy], progress: Callable[[float], None]) -> list[Tried]:
        """Every policy by its last score, those that came furthest first."""
        shares = _shares(len(wanted))
        cost = [share * max(1, len(wanted) // KEPT**rung) for rung, share in enumerate(shares)]
        going, out = list(wanted), list[Tried]()
        for rung, share in enumerate(shares):
            tried = []
            for number, policy in enumerate(going):
                tried.append(self._try(policy, share))
                progress((sum(cost[:rung]) + cost[rung] * (number + 1) / len(going)) / sum(cost))
            tried.sort(key=lambda one: -one.score)
            last = rung == len(shares) - 1 or time.monotonic() > self.deadline
            kept = tried if last else [one for one in tried[: math.ceil(len(tried) / KEPT)] if one.score > -math.inf]
            out = tried[len(kept) :] + out if not last else [*tried, *out]
            if last:
                break
            going = [one.policy for one in kept]
        return out

    def _try(self, policy: Policy, share: float) -> Tried:
        learned = max(MIN_LEARNED, int(len(self.first) * share))
        if time.monotonic() > self.deadline:
            return Tried(policy, 0, None, -math.inf, "out of time")
        target, predictor = Target("tried", "", "does_not_learn", policy), None
        try:
            if isinstance(policy, BanditPolicy):
                predictor = Predictor(self._model(policy, learned), policy)
                target = target._replace(predictor=predictor)
            valued = value(self.sample, target, lambda _: None)
        except (DataError, ModelError, TrainingDataError) as error:
            return Tried(policy, learned, None, -math.inf, str(error))
        finally:
            if predictor is not None:
                predictor.close()
        score = float(np.nanmean(valued.contributions)) if np.isfinite(valued.contributions).any() else -math.inf
        return Tried(policy, learned, valued.line, score)

    def _model(self, policy: BanditPolicy, learned: int) -> bytes:
        """The model after the newest rows of the first part. The platform's own learners learn alike, however they explore."""
        key = (policy.algorithm, policy.pinned, learned)
        if key in self.models:
            return self.models[key]
        part = self.first.take(np.arange(max(0, len(self.first) - learned), len(self.first)))
        log = part.examples(self.config)
        model = learn_forward(initial_model(policy), policy, log, [len(log)])
        if policy.rebuilds:
            self.models[key] = model
        return model


def search(
    early: LogTable, config: ExperimentConfig, tune: Tune, evaluation_id: int, progress: Callable[[float], None]
) -> tuple[list[TunedLine], list[CandidateSpec]]:
    """Search; returns the leaderboard, and the finalists under names that no candidate had.

    :raises DataError: the log is too short.
    """
    prepared = halving(early, config, tune.choose_share, tune.budget_s)
    tried = prepared.run(policies(tune.space, tune.points, tune.seed, slates=config.composition is not None), progress)
    scored = [one for one in tried if one.line is not None][: tune.finalists]
    names = [f"tuned-{evaluation_id}-{place}" for place in range(1, len(scored) + 1)]
    found = [
        CandidateSpec(key=name, policy=cast(dict[str, JsonValue], policy_to_json(one.policy)))
        for name, one in zip(names, scored, strict=True)
    ]
    return leaderboard(tried, names), found


def halving(early: LogTable, config: ExperimentConfig, choose_share: float, budget_s: float) -> Halving:
    """Prepare a search on the earlier part of a log.

    :raises DataError: one of its two parts is too short.
    """
    first, second = early.split(1.0 - choose_share)
    if len(first) < MIN_LEARNED or len(second) < MIN_SCORED:
        fix = "wait for more decisions, or search with a larger max_decisions"
        raise DataError(f"{len(first)} decisions to learn from and {len(second)} to choose by are too few", fix=fix)
    if len(second) > MOST_SCORED:
        second = second.take(np.flatnonzero(second.group >= second.group[len(second) - MOST_SCORED]))
    bounds = config.reward.min, config.reward.max
    sample = Sample(second, predict(first, second, bounds), bounds, ALPHA)
    return Halving(config, first, sample, time.monotonic() + budget_s)


def leaderboard(tried: Sequence[Tried], names: Sequence[str]) -> list[TunedLine]:
    """The lines of a leaderboard, best first; the first ones are the finalists, by these names."""
    return [
        TunedLine(
            candidate=names[place] if place < len(names) else None,
            policy=policy_to_json(one.policy),
            learned=one.learned,
            value=None if one.score == -math.inf else one.score,
            std_error=_of(one.line, "dr")[1],
            ips=_of(one.line, "ips")[0],
            effective_sample_size=None if one.line is None else one.line.effective_sample_size,
            reason=one.reason,
        )
        for place, one in enumerate(tried)
    ]


def _of(line: PolicyLine | None, estimator: str) -> tuple[float | None, float | None]:
    found = None if line is None else line.estimators.get(estimator)
    return (None, None) if found is None else (found.value, found.std_error)


def _shares(policies: int) -> list[float]:
    """The share of the first part that each round learns from."""
    if policies <= FEW:
        return [1.0]
    return [1 / KEPT, 1.0] if policies <= FEW * KEPT else [1 / KEPT**2, 1 / KEPT, 1.0]
