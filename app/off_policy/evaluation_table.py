"""One table: each policy's value by each estimator, and its difference to what runs, on the same rows.

The headline is doubly robust: the reward model of a row was fitted on earlier rows only, so with the logged
propensities its value is unbiased also on the log of a learner. Differences are paired. A search over many candidates
pays for each of them (``experiments.candidates``), and one that the log does not support is never named.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.foundation.intervals import as_json
from app.off_policy.evaluation_request import CandidateSpec, EvaluationRequest
from app.off_policy.log_table import LogTable
from app.off_policy.policies import Policies, Target, describe
from bandits import reward_model
from bandits.examples import TrainingDataError
from bandits.model_file import ModelError
from experiments import estimators, intervals
from experiments.candidates import differences, judge
from experiments.folds import forward_folds
from experiments.report import Assumptions, ModelColumns, OffPolicyReport, evaluate_rows
from experiments.results import Interval
from experiments.validation import DataError
from experiments.verdict import Status, Verdict

FOLDS = 4
NOT_NORMAL = frozenset({"rare_rewards", "unseen_weights"})  # normal intervals cover too seldom then
MIN_SIDE = 50  # evaluated decisions on each side of a comparison of prediction and outcome
HISTOGRAM = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0)
ASSUMPTIONS = (
    "The estimand is the mean reward per decision that a policy would have earned on the evaluated decisions' contexts.",
    "A row's propensity is that of the platform as a whole: its unit's arm was drawn by share, then the action by that "
    "arm. Logged distributions are those that were drawn with (the audit checks it); on rows of other arms a learning arm "
    "is recomputed with the model version that it used last. A reward depends on its own decision only.",
    "Policies that learn were trained on the earlier part; the reward model of each row on earlier rows only.",
    "Standard errors are clustered by unit. The largest weight is the largest that any action of an evaluated row could "
    "have had.",
)
FloatArray = NDArray[np.float64]


def evaluate(
    table: LogTable,
    policies: Policies,
    specs: list[CandidateSpec],
    request: EvaluationRequest,
    progress: Callable[[float], None],
) -> dict[str, Any]:
    """Evaluate the standing policies and the candidates on the later part of the log."""
    split = int(len(table) * request.train_share)
    early, late = table.part(slice(0, split)), table.part(slice(split, len(table)))
    progress(0.05)
    predictions = _predictions(early, late, policies)
    progress(0.2)
    standing, (searched, impossible) = policies.standing(early), _candidates(policies, specs, early)
    targets = standing + searched
    lines: list[dict[str, Any]] = []
    estimates: list[estimators.Estimate] = []
    verdicts: list[Verdict] = []
    for number, target in enumerate(targets):
        part = partial(_tick, progress, 0.2 + 0.8 * number / len(targets), 0.8 / len(targets) / len(late))
        line, dr, verdict = _line(late, target, predictions, policies, request.alpha, part)
        lines.append(line)
        estimates.append(dr)
        verdicts.append(verdict)
        if target.predictor is not None:
            target.predictor.close()
    # Without a learning arm there is no serving model to beat: the policies that ran stand in its place.
    running = estimates[0] if policies.learning() else estimators.logged_value(late.reward)
    for line, dr in zip(lines, estimates, strict=True):
        line["against_running"] = _difference(dr, running, late, request.alpha)
    search = _search(lines, estimates, verdicts, running, late, len(searched), request.alpha)
    lines += impossible
    first, last = late.rows[0].decided_at, late.rows[-1].decided_at
    return {
        "window": {
            "trained_on": len(early),
            "evaluated_on": len(late),
            "units": int(late.unit.max()) + 1,
            "first": first.isoformat(),
            "last": last.isoformat(),
        },
        "logged_value": float(late.reward.mean()),
        "policies": lines,
        "realised": [_realised(late, arm, predictions, policies, request.alpha) for arm in policies.learning()],
        "search": search,
        "assumptions": list(ASSUMPTIONS),
    }


def _candidates(
    policies: Policies, specs: list[CandidateSpec], early: LogTable
) -> tuple[list[Target], list[dict[str, Any]]]:
    """The candidates that can be evaluated, and a line with the reason for each that cannot."""
    targets, impossible = [], []
    for spec in specs:
        try:
            targets.append(policies.candidate(spec, early))
        except (DataError, ModelError, TrainingDataError) as error:
            impossible.append(_impossible(spec, str(error)))
    return targets, impossible


def _impossible(spec: CandidateSpec, reason: str) -> dict[str, Any]:
    """The line of a candidate of which nothing is known; it takes no part in the search."""
    unknown = dict.fromkeys(
        (
            "value",
            "interval",
            "headline",
            "effective_sample_size",
            "mean_weight",
            "max_weight",
            "overlap",
            "against_running",
        )
    )
    described = {"policy": spec.key, "text": "cannot be evaluated", "features_off": list(spec.features_off)}
    verdict = {"status": str(Status.NOT_IDENTIFIED), "reasons": [reason], "reason_codes": ["not_possible"]}
    empty = {"weight_histogram": {"edges": list(HISTOGRAM), "counts": [0] * (len(HISTOGRAM) - 1)}, "estimators": {}}
    return described | unknown | verdict | empty


def _tick(progress: Callable[[float], None], start: float, per_row: float, rows: int) -> None:
    progress(start + per_row * rows)


def _predictions(early: LogTable, late: LogTable, policies: Policies) -> FloatArray:
    """Predicted reward of every eligible action of the later rows, shape (n, K); each fold from all rows before it."""
    low, high = policies.config.reward.min, policies.config.reward.max
    found = np.zeros_like(late.logged)
    lines, rewards = early.chosen_lines(), list(early.reward)
    for fold in forward_folds(len(late), FOLDS):
        part = late.part(fold)
        model = reward_model.fit(lines, rewards)
        flat = reward_model.predict(model, part.all_lines(), low, high)
        place = 0
        for row, one in enumerate(part.rows, start=fold.start):
            size = len(one.eligible)
            found[row, :size] = flat[place : place + size]
            place += size
        lines += part.chosen_lines()
        rewards += list(part.reward)
    return found


def _line(
    late: LogTable,
    target: Target,
    predictions: FloatArray,
    policies: Policies,
    alpha: float,
    tick: Callable[[int], None],
) -> tuple[dict[str, Any], estimators.Estimate, Verdict]:
    chances = late.probabilities(target.policy, target.predictor, target.features_off, tick)
    rows = np.arange(len(late))
    q, v = predictions[rows, late.chosen], (predictions * chances).sum(axis=1)
    ours = np.minimum(chances[rows, late.chosen], 1.0)
    reward = policies.config.reward
    report = evaluate_rows(
        late.propensity,
        ours,
        late.reward,
        model=ModelColumns(q, v),
        unit=late.clusters,
        assumptions=Assumptions(alpha, _largest_weight(late, chances), (reward.min, reward.max)),
        unsupported_mass=late.unsupported(chances),
    )
    w = estimators.importance_weights(late.propensity, ours)
    return describe(target) | _as_line(report, w), estimators.dr(w, late.reward, q, v), report.verdict


def _largest_weight(late: LogTable, chances: FloatArray) -> float | None:
    """The largest weight that any action of any row could have had; null when nothing bounds it.

    Nothing does where the log tells only the chosen action's probability (an imported log), or where the target takes an
    action that could not be logged.
    """
    if np.any((chances > 0) & (late.logged <= 0)):
        return None
    weights = np.divide(chances, late.logged, out=np.zeros_like(chances), where=late.logged > 0)
    return max(float(weights.max()), 1.0)


def _as_line(report: OffPolicyReport, w: FloatArray) -> dict[str, Any]:
    shown = report.verdict.identified
    method, value, interval = _headline(report)
    return {
        "value": value if shown else None,
        "interval": as_json(interval) if shown else None,
        "headline": method if shown else None,
        "status": str(report.verdict.status),
        "reasons": [reason.sentence for reason in report.verdict.reasons],
        "reason_codes": [reason.code for reason in report.verdict.reasons],
        "effective_sample_size": report.effective_sample_size,
        "mean_weight": report.mean_weight,
        "max_weight": report.max_weight,
        "overlap": float(np.mean(w > 0)),
        "weight_histogram": {
            "edges": list(HISTOGRAM),
            "counts": np.histogram(np.clip(w, 0, HISTOGRAM[-1]), HISTOGRAM)[0].tolist(),
        },
        "estimators": {
            name: {
                "value": found.value,
                "std_error": found.std_error,
                "intervals": {kind: as_json(one) for kind, one in found.intervals.items()},
                "estimand": found.estimand,
                "reason": found.reason,
            }
            for name, found in report.estimators.items()
        },
    }


def _headline(report: OffPolicyReport) -> tuple[str, float | None, Interval]:
    """DR with its normal interval; where rewards are too rare for that, SNIPS with an interval that does not need them."""
    rare = any(reason.code in NOT_NORMAL for reason in report.verdict.reasons)
    dr, snips = report.estimators["dr"], report.estimators["snips"]
    if not rare:
        return "dr, normal", dr.value, dr.intervals["normal"]
    weighted = report.estimators["ips"].intervals
    name = "cressie_read" if weighted["cressie_read"].exists else "confidence_sequence"
    return f"snips, {name}", snips.value, weighted[name]


def _difference(
    dr: estimators.Estimate, running: estimators.Estimate, late: LogTable, alpha: float
) -> dict[str, Any] | None:
    if dr is running:
        return None
    found = estimators.difference(dr, running)
    error = intervals.standard_error(found.influence, late.clusters)
    return {
        "difference": found.value,
        "std_error": error,
        "interval": as_json(intervals.normal(found.value, error, alpha)),
    }


def _realised(late: LogTable, arm: str, predictions: FloatArray, policies: Policies, alpha: float) -> dict[str, Any]:
    """A learning arm as it really ran: its value predicted from the other arms' rows alone, and what it then earned."""
    others = np.array([row.arm != arm for row in late.rows])
    described: dict[str, Any] = {"arm": arm}
    if others.sum() < MIN_SIDE or (~others).sum() < MIN_SIDE:
        return described | {"reason": f"needs {MIN_SIDE} evaluated decisions in the arm and outside of it"}
    rest = late.without(arm)
    target, model = rest.arms[arm], predictions[others]
    rows = np.arange(len(rest))
    ours = np.minimum(target[rows, rest.chosen], 1.0)
    w = estimators.importance_weights(rest.propensity, ours)
    predicted = estimators.dr(w, rest.reward, model[rows, rest.chosen], (model * target).sum(axis=1))
    own = late.take(np.flatnonzero(~others))
    earned = estimators.logged_value(own.reward)
    errors = [
        intervals.standard_error(found.influence, part.clusters) for found, part in ((predicted, rest), (earned, own))
    ]
    gap = intervals.normal(predicted.value - earned.value, float(np.hypot(errors[0], errors[1])), alpha)
    return described | {
        "predicted": predicted.value,
        "predicted_interval": as_json(intervals.normal(predicted.value, errors[0], alpha)),
        "predicted_from": len(rest),
        "realised": earned.value,
        "realised_interval": as_json(intervals.normal(earned.value, errors[1], alpha)),
        "realised_on": len(own),
        "difference_interval": as_json(gap),
        "agrees": gap.covers(0.0),
    }


def _search(
    lines: list[dict[str, Any]],
    estimates: list[estimators.Estimate],
    verdicts: list[Verdict],
    running: estimators.Estimate,
    late: LogTable,
    count: int,
    alpha: float,
) -> dict[str, Any]:
    """The candidate that may be staged as a new arm: supported, and better than what runs after the correction."""
    start = len(lines) - count
    if not count:
        return {"candidates": [], "winner": None, "text": "no candidate is stored"}
    gaps = differences(estimates[start:], running, late.clusters)
    found = judge([line["policy"] for line in lines[start:]], gaps, verdicts[start:], alpha=alpha)
    # The paired test is a normal one: with too few rewards behind it, it finds nothing.
    rare = {line["policy"] for line in lines if NOT_NORMAL.intersection(line["reason_codes"])}
    good = [one for one in found if one.promoted and one.name not in rare]
    best = max(good, key=lambda one: one.difference, default=None)
    text = "no candidate is shown to be better than what runs"
    if best is not None:
        text = f"{best.name} is shown to be better than what runs (p {best.adjusted_p:.2g}): stage it as a new arm to be sure"
    described = [one._asdict() | {"interval": as_json(one.interval)} for one in found]
    return {"candidates": described, "winner": None if best is None else best.name, "text": text}
