"""Makes the table of an evaluation: each policy's value by each estimator, and its difference to the running policy.

All policies are evaluated on the same rows. The headline is doubly robust: the reward model of a row is fitted on earlier
rows only, so with the logged propensities the value is unbiased also on the log of a learner. Differences are paired. A
search corrects for the number of candidates (``experiments.candidates``) and never names one that the log does not support.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.foundation.formats.intervals import document_of
from app.off_policy.documents import (
    EvaluationResult,
    EvaluationWindow,
    PolicyLine,
    Realised,
    Search,
    SearchLine,
    ValueDifference,
)
from app.off_policy.evaluation_request import CandidateSpec, EvaluationRequest
from app.off_policy.log_table import LogTable
from app.off_policy.policies import Policies, Target
from app.off_policy.policy_line import impossible, policy_line
from bandits import reward_model
from bandits.examples import TrainingDataError
from bandits.model_file import ModelError
from experiments import estimators, unit_sums
from experiments.candidates import Candidate, differences, judge, paired, paired_sums
from experiments.folds import earlier_means, forward_folds
from experiments.headline import not_normal, refused_difference
from experiments.report import Assumptions, ModelColumns, evaluate_rows
from experiments.validation import DataError
from experiments.verdict import Verdict

FOLDS = 4
MODEL_ROWS = 200  # rows before a fold from which a reward model is fitted
MIN_SIDE = 50  # evaluated decisions on each side of a comparison of prediction and outcome
ASSUMPTIONS = (
    "The estimand is the mean reward per decision that a policy would have earned on the evaluated decisions' contexts.",
    "A row's propensity is that of the platform as a whole: its unit's arm was drawn by share, then the action by that "
    "arm. Logged distributions are those that were drawn with (the audit checks it); on rows of other arms a learning arm "
    "is recomputed with the model version that it used last. A reward depends on its own decision only.",
    "Policies that learn were trained on the earlier part; the reward model of each row on earlier rows only.",
    "A value's first interval holds at every look together; all other intervals hold for one look. Where units return, both "
    "count units, and are asymptotic in their number.",
    "Standard errors are clustered by unit. The largest weight is the largest that any action of an evaluated row could "
    "have had.",
)
FloatArray = NDArray[np.float64]


class Running(NamedTuple):
    """What the policies are compared with."""

    dr: estimators.Estimate
    verdict: Verdict | None  # null: the logged value, which needs no weights


class Judged(NamedTuple):
    """One policy, evaluated."""

    line: PolicyLine
    dr: estimators.Estimate
    verdict: Verdict


def evaluate(
    table: LogTable,
    policies: Policies,
    specs: list[CandidateSpec],
    request: EvaluationRequest,
    progress: Callable[[float], None],
) -> EvaluationResult:
    """Evaluate the standing policies and the candidates on the later part of the log."""
    split = int(len(table) * request.train_share)
    early, late = table.part(slice(0, split)), table.part(slice(split, len(table)))
    progress(0.05)
    predictions = _predictions(early, late, policies)
    progress(0.2)
    standing, (searched, refused) = policies.standing(early), _candidates(policies, specs, early)
    targets = standing + searched
    judged: list[Judged] = []
    for number, target in enumerate(targets):
        part = partial(_tick, progress, 0.2 + 0.8 * number / len(targets), 0.8 / len(targets) / len(late))
        judged.append(_judge(late, target, predictions, policies, request.alpha, part))
        if target.predictor is not None:
            target.predictor.close()
    # Without a learning arm, there is no serving model to compare with: the logged value takes its place.
    running = Running(judged[0].dr, judged[0].verdict)
    if not policies.learning():
        running = Running(estimators.logged_value(late.reward), None)
    for policy in judged:
        policy.line.against_running = _difference(policy, running, late, request.alpha)
    return EvaluationResult(
        window=EvaluationWindow(
            trained_on=len(early),
            evaluated_on=len(late),
            units=int(late.unit.max()) + 1,
            first=late.rows[0].decided_at.isoformat(),
            last=late.rows[-1].decided_at.isoformat(),
        ),
        logged_value=float(late.reward.mean()),
        policies=[*(policy.line for policy in judged), *refused],
        realised=[_realised(late, arm, predictions, policies, request.alpha) for arm in policies.learning()],
        search=_search(judged[len(standing) :], running, late, request.alpha),
        assumptions=list(ASSUMPTIONS),
    )


def _candidates(
    policies: Policies, specs: list[CandidateSpec], early: LogTable
) -> tuple[list[Target], list[PolicyLine]]:
    """The candidates that can be evaluated, and for each other candidate a line with the reason."""
    targets, refused = [], []
    for spec in specs:
        try:
            targets.append(policies.candidate(spec, early))
        except (DataError, ModelError, TrainingDataError) as error:
            refused.append(impossible(spec, str(error)))
    return targets, refused


def _tick(progress: Callable[[float], None], start: float, per_row: float, rows: int) -> None:
    progress(start + per_row * rows)


def _predictions(early: LogTable, late: LogTable, policies: Policies) -> FloatArray:
    """Predicted reward of every eligible action of the later rows, shape (n, K).

    The model of each fold is fitted on all rows before the fold. With few rows before it, each action's mean over the
    rows before the row takes the model's place.
    """
    low, high = policies.config.reward.min, policies.config.reward.max
    predictions = np.zeros_like(late.logged)
    lines, rewards = early.chosen_lines(), list(early.reward)
    for fold in forward_folds(len(late), FOLDS):
        part = late.part(fold)
        sizes = [len(logged.eligible) for logged in part.rows]
        if len(lines) < MODEL_ROWS:
            flat = _earlier_means([early, late.part(slice(0, fold.stop))])[-sum(sizes) :]
        else:
            flat = reward_model.predict(reward_model.fit(lines, rewards), part.all_lines(), low, high)
        start = 0
        for row, size in enumerate(sizes, start=fold.start):
            predictions[row, :size] = flat[start : start + size]
            start += size
        lines += part.chosen_lines()
        rewards += list(part.reward)
    return predictions


def _earlier_means(parts: list[LogTable]) -> FloatArray:
    """The mean reward of every eligible action over earlier rows, row by row, over consecutive parts of the log."""
    rows = [row for part in parts for row in part.rows]
    rewards = np.concatenate([part.reward for part in parts])
    means = earlier_means(rewards.tolist(), [row.eligible[row.chosen] for row in rows], [row.eligible for row in rows])
    return np.concatenate([np.array(row) for row in means])


def _judge(
    late: LogTable,
    target: Target,
    predictions: FloatArray,
    policies: Policies,
    alpha: float,
    tick: Callable[[int], None],
) -> Judged:
    chances = late.probabilities(target.policy, target.predictor, target.features_off, tick)
    rows = np.arange(len(late))
    q, v = predictions[rows, late.chosen], (predictions * chances).sum(axis=1)
    target_chances = np.minimum(chances[rows, late.chosen], 1.0)
    reward = policies.config.reward
    report = evaluate_rows(
        late.propensity,
        target_chances,
        late.reward,
        model=ModelColumns(q, v),
        unit=late.clusters,
        assumptions=Assumptions(
            alpha, reward_range=(reward.min, reward.max), possible_weight=_possible_weights(late, chances)
        ),
        unsupported_mass=late.unsupported(chances),
    )
    w = estimators.importance_weights(late.propensity, target_chances)
    return Judged(policy_line(target, report, w), estimators.dr(w, late.reward, q, v), report.verdict)


def _possible_weights(late: LogTable, chances: FloatArray) -> FloatArray:
    """The largest weight that any action of each row could have had, shape (n,); infinite where weights have no bound.

    They have none when the log has only the chosen action's probability (an imported log), or when the target takes an
    action that could not be logged.
    """
    weights = np.divide(chances, late.logged, out=np.zeros_like(chances), where=late.logged > 0)
    unbounded = ((chances > 0) & (late.logged <= 0)).any(axis=1)
    return np.asarray(np.where(unbounded, np.inf, weights.max(axis=1)))


def _difference(policy: Judged, running: Running, late: LogTable, alpha: float) -> ValueDifference | None:
    """The paired difference to what runs; none where the log does not identify the policy's value."""
    if policy.dr is running.dr or not policy.verdict.identified:
        return None
    gap, clustered = paired(policy.dr, running.dr, late.clusters), late.clusters is not None
    verdicts = [policy.verdict] if running.verdict is None else [policy.verdict, running.verdict]
    refused = next((reason for each in verdicts if (reason := refused_difference(each, clustered=clustered))), None)
    sums = paired_sums(policy.dr, running.dr, late.clusters)
    return ValueDifference(
        difference=gap.difference,
        std_error=gap.std_error,
        interval=document_of(refused or unit_sums.one_look(sums, unit_sums.UNBOUNDED, alpha)),
    )


def _realised(late: LogTable, arm: str, predictions: FloatArray, policies: Policies, alpha: float) -> Realised:
    """Compare a learning arm's value as predicted from the other arms' rows with what the arm really earned."""
    others = np.array([row.arm != arm for row in late.rows])
    if others.sum() < MIN_SIDE or (~others).sum() < MIN_SIDE:
        return Realised(arm=arm, reason=f"needs {MIN_SIDE} evaluated decisions in the arm and outside of it")
    rest = late.without(arm)
    target, model = rest.arms[arm], predictions[others]
    rows = np.arange(len(rest))
    target_chances = np.minimum(target[rows, rest.chosen], 1.0)
    w = estimators.importance_weights(rest.propensity, target_chances)
    predicted = estimators.dr(w, rest.reward, model[rows, rest.chosen], (model * target).sum(axis=1))
    own = late.take(np.flatnonzero(~others))
    earned = estimators.logged_value(own.reward)
    bounds = policies.config.reward.min, policies.config.reward.max
    predicted_sums = unit_sums.mean_sums(predicted.influence + predicted.value, rest.clusters)
    earned_sums = unit_sums.mean_sums(own.reward, own.clusters)
    gap = unit_sums.independent_difference(predicted_sums, earned_sums, alpha)
    return Realised(
        arm=arm,
        predicted=predicted.value,
        predicted_interval=document_of(unit_sums.one_look(predicted_sums, bounds, alpha)),
        predicted_from=len(rest),
        realised=earned.value,
        realised_interval=document_of(unit_sums.one_look(earned_sums, bounds, alpha)),
        realised_on=len(own),
        difference_interval=document_of(gap),
        agrees=gap.covers(0.0) if gap.exists else None,
    )


def _search(judged: Sequence[Judged], running: Running, late: LogTable, alpha: float) -> Search:
    """The candidate that may be staged as a new arm: supported by the log, and better than what runs after correction."""
    if not judged:
        return Search(candidates=[], winner=None, text="no candidate is stored")
    gaps = differences([policy.dr for policy in judged], running.dr, late.clusters)
    names, verdicts = [policy.line.policy for policy in judged], [policy.verdict for policy in judged]
    if running.verdict is not None and not running.verdict.identified:
        verdicts = [running.verdict] * len(judged)  # nothing is shown to be better than an unknown value
    judgements = judge(names, gaps, verdicts, alpha=alpha)
    # The paired test assumes a normal distribution, which does not hold with few rewards: such candidates cannot win.
    rare = {policy.line.policy for policy in judged if not_normal(policy.verdict)}
    good = [candidate for candidate in judgements if candidate.promoted and candidate.name not in rare]
    best = max(good, key=lambda candidate: candidate.difference, default=None)
    text = "no candidate is shown to be better than what runs"
    if best is not None:
        text = f"{best.name} is shown to be better than what runs (p {best.adjusted_p:.2g}): stage it as a new arm to be sure"
    lines = [_search_line(candidate) for candidate in judgements]
    return Search(candidates=lines, winner=None if best is None else best.name, text=text)


def _search_line(candidate: Candidate) -> SearchLine:
    return SearchLine(
        name=candidate.name,
        difference=candidate.difference,
        std_error=candidate.std_error,
        p_value=candidate.p_value,
        adjusted_p=candidate.adjusted_p,
        interval=document_of(candidate.interval),
        promoted=candidate.promoted,
        reason=candidate.reason,
    )
