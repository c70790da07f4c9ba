"""Makes the table of an evaluation: each policy's value by each estimator, and its difference to the running policy.

No policy is scored on what it learned (``app.off_policy.policies``), and a difference uses only what neither had learned.
The headline is doubly robust: the reward model of a row is fitted on earlier rows only, so with the logged propensities the
value is unbiased also on the log of a learner. A search corrects for the number of candidates
(``experiments.policy_reports.candidates``) and never names one that the log does not support.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from app.off_policy.bounds.pricing import price
from app.off_policy.documents import EvaluationResult, EvaluationWindow, PolicyLine
from app.off_policy.evaluation_request import CandidateSpec, EvaluationRequest
from app.off_policy.log_table import LogTable
from app.off_policy.policies import BASIS, Policies, Target
from app.off_policy.policy_line import impossible
from app.off_policy.predictions import calibration, predict
from app.off_policy.realised import actions, realised
from app.off_policy.search import Baseline, corrected, difference, search
from app.off_policy.valued import Sample, Valued, value
from bandits.examples import TrainingDataError
from bandits.model_file import ModelError
from experiments.off_policy import lists
from experiments.validation import DataError

NOT_POSSIBLE = (DataError, ModelError, TrainingDataError)
PER_DECISION = "the mean reward per decision that a policy would have earned on the contexts of the scored decisions"
ASSUMPTIONS = (
    "No model is scored on a decision that it learned from. An arm that learns is scored as it ran: "
    f"{BASIS['as_it_ran']}. A candidate that learns is {BASIS['trained_forward']}; what a unit forbids to learn from, and what "
    "is held out of rounds, it does not learn. A stored version is "
    f"{BASIS['later_decisions']}. A difference uses the decisions that both policies were scored on.",
    "A row's propensity is that of the platform as a whole: its unit's arm was drawn by share, then the action by that "
    "arm. Logged distributions are those that were drawn with (the audit checks it); on rows of other arms a learning arm "
    "is recomputed with the model version that it used last.",
    "The reward model of each row is fitted on earlier rows only.",
    "A value's first interval holds at every look together; all other intervals hold for one look. Where units return, both "
    "count units, and are asymptotic in their number.",
    "Standard errors are clustered by unit. The largest weight is the largest that any action of an evaluated row could "
    "have had.",
)
OF_THINNED = (
    "The log was thinned out (pdrop): each decision stands for as many as were dropped with its probability, and values are "
    "means of all of them. Intervals are asymptotic in the number of decisions that are left. Models learn each decision once.",
)
OF_DECISIONS = ("A reward depends on its own decision only.",)
OF_LISTS = (
    "A reward depends on its own action and those above it in its list only.",
    "A list counts as one: its weight at a position is the product of the weights down to it, so that a policy is valued "
    "under what it would itself have put above. Intervals of lists are asymptotic in the number of units.",
)


def evaluate(
    table: LogTable,
    policies: Policies,
    specs: list[CandidateSpec],
    request: EvaluationRequest,
    progress: Callable[[float], None],
    settled_until: str = "",
) -> EvaluationResult:
    """Evaluate the standing policies and the candidates on the later part of the log.

    :param settled_until: the log is what was settled then.
    """
    _check_thinned(table)
    early, late = table.with_arms(policies.learning()).split(request.train_share)
    bounds = policies.config.reward.min, policies.config.reward.max
    progress(0.05)
    sample = Sample(late, predict(early, late, bounds), bounds, request.alpha, settled_until)
    progress(0.2)
    standing = policies.standing(early)
    steps = len(standing) + len(specs)
    ticks = [partial(_tick, progress, 0.2 + 0.8 * step / steps, 0.8 / steps / len(late)) for step in range(steps)]
    valued = [value(sample, target, tick) for target, tick in zip(standing, ticks, strict=False)]
    candidates, refused = _candidates(sample, policies, specs, early, ticks[len(standing) :])
    # Without a learning arm, there is no running policy to compare with: the logged value takes its place.
    logged, unit = np.bincount(late.group, weights=late.reward).astype(np.float64), late.group_units
    baseline = Baseline(logged, None, unit, request.alpha, late.stands_for)
    if policies.learning():
        baseline = baseline._replace(contributions=valued[0].contributions, verdict=valued[0].verdict)
    for policy in valued + candidates:
        policy.line.against_running = difference(policy, baseline)
    searched, lines = search(candidates, baseline), [policy.line for policy in valued + candidates]
    corrected(lines, searched)
    return EvaluationResult(
        out_of_sample=True,
        estimand=lists.CASCADE if late.answers_lists else PER_DECISION,
        window=_window(early, late),
        logged_value=float(np.average(logged, weights=late.stands_for)),
        policies=[*lines, *refused],
        realised=[realised(sample, arm) for arm in policies.learning()],
        search=searched,
        calibration=calibration(late, sample.predictions, bounds),
        actions=[actions(table, arm, request.alpha) for arm in policies.learning() if arm in table.arms],
        price=None if request.price is None else price(sample, policies, request.price),
        assumptions=_assumptions(late),
    )


def _assumptions(late: LogTable) -> list[str]:
    of_cases = OF_LISTS if late.answers_lists else OF_DECISIONS
    return [*ASSUMPTIONS, *of_cases, *(() if late.stands_for is None else OF_THINNED)]


def _check_thinned(table: LogTable) -> None:
    if table.answers_lists and table.stands_for is not None:
        fix = "import a log without dropped events"
        raise DataError("the log has lists, and was thinned out unevenly (pdrop)", fix=fix)


def _window(early: LogTable, late: LogTable) -> EvaluationWindow:
    return EvaluationWindow(
        trained_on=len(early),
        evaluated_on=len(late),
        lists=int(late.group.max()) + 1 if late.answers_lists else None,
        units=int(late.unit.max()) + 1,
        first=late.rows[0].decided_at.isoformat(),
        last=late.rows[-1].decided_at.isoformat(),
    )


def _candidates(
    sample: Sample,
    policies: Policies,
    specs: list[CandidateSpec],
    early: LogTable,
    ticks: Sequence[Callable[[int], None]],
) -> tuple[list[Valued], list[PolicyLine]]:
    """The candidates that can be evaluated, and for each other candidate a line with the reason."""
    valued, refused = [], []
    for spec, tick in zip(specs, ticks, strict=True):
        target: Target | None = None
        try:
            target = policies.candidate(spec, early)
            valued.append(value(sample, target, tick))
        except NOT_POSSIBLE as error:
            refused.append(impossible(spec, str(error)))
        finally:
            if target is not None and target.predictor is not None:
                target.predictor.close()
    return valued, refused


def _tick(progress: Callable[[float], None], start: float, per_row: float, rows: int) -> None:
    progress(start + per_row * rows)
