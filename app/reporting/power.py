"""Plans an experiment: computes how many units, how long or which effect; and simulates what a bandit would do."""

import math
from collections.abc import Callable
from functools import partial

from sqlalchemy import Engine

from app.design.experiment_config import ExperimentConfig
from app.design.metric_config import QuantileSource
from app.foundation.errors import FieldError, Unprocessable
from app.foundation.fields import invalid
from app.foundation.store.engine import transaction
from app.off_policy.store import evaluations
from app.registry.lookup import stored_experiment
from app.reporting import results as reported
from app.reporting.comparison.metric_parts import units_of
from app.reporting.comparison.result_lines import moments
from app.reporting.documents.planning import ComparisonPlan, PlanAnswer, PlanBaseline, SimulatedBandit
from app.reporting.documents.results import Results
from app.reporting.planning_request import BanditPlan, MetricPlan, PowerRequest
from app.reporting.store import results
from app.reporting.store.metric_sums import ArmSums, Scope, arm_sums
from bandits.policy import FixedPolicy, parse_policy
from experiments.arms.arm_sequence import TUNED_AT
from experiments.arms.comparison import DEN, NUM, linear_variance
from experiments.designs import bandit_planning, planning
from experiments.designs.planning import Baseline
from experiments.validation import DataError

LOG_ROWS = 100_000  # newest decisions that a baseline is taken from
SIMULATED_ROUNDS = 2_000_000  # the limit of rounds times runs in one request
ONE_LOOK_ASSUMPTIONS = (
    "Two-sided test at one look chosen beforehand, equal variance in both arms, independent units.",
    "An always-valid interval needs about `sequential_factor` times the units to be as narrow.",
)
ASSUMPTIONS = {
    "metric": (
        "The test that results run: two-sided, valid at every look, equal variance in both arms, independent units. `power` is "
        "the chance that it has shown the effect by the last unit; it may show it earlier.",
        "One look chosen beforehand would need about 1 / `sequential_factor` of the units.",
    ),
    "bandit": ("Rewards are independent draws with the given means, which do not depend on context or time.",),
}


def plan(engine: Engine, request: PowerRequest) -> PlanAnswer:
    """Answer a planning question.

    :raises Unprocessable: a value is missing or impossible; the error names it.
    """
    if (request.metric is None) == (request.bandit is None):
        raise invalid((FieldError("", "metric_or_bandit"),))
    try:
        if request.bandit is not None:
            return _bandit(engine, request.bandit)
        assert request.metric is not None
        return _metric(engine, request.metric)
    except DataError as error:
        raise Unprocessable("invalid_value", error.sentence(None)) from None


def _bandit(engine: Engine, request: BanditPlan) -> PlanAnswer:
    if request.rounds * request.runs > SIMULATED_ROUNDS:
        raise invalid((FieldError("/bandit/runs", "too_many_rounds", {"limit": SIMULATED_ROUNDS}),))
    named: dict[str, float] | None = None
    if request.experiment is not None:
        named = _action_means(engine, request.experiment)
    means = list(named.values()) if named is not None else request.means
    if means is None:
        raise invalid((FieldError("/bandit/means", "no_means"),))
    design = bandit_planning.Design(
        request.rounds, request.batch, request.policy, request.floor, epsilon=request.epsilon
    )
    simulated = bandit_planning.simulate(
        means, design, seed=request.seed, runs=request.runs, reward_std=request.reward_std
    )
    return PlanAnswer(
        kind="bandit",
        method="simulation",
        assumptions=list(ASSUMPTIONS["bandit"]),
        plan=_simulated(simulated, named or means, means),
    )


def _simulated(
    simulated: bandit_planning.BanditPlan, named_means: dict[str, float] | list[float], means: list[float]
) -> SimulatedBandit:
    described = partial(
        SimulatedBandit,
        best_share=simulated.best_share,
        mean_reward=simulated.mean_reward,
        uniform_reward=simulated.uniform_reward,
        means=named_means,
    )
    if means[0] < max(means):
        return described(power=simulated.power, contrast_std=simulated.contrast_std, coverage=simulated.coverage)
    # Power is the chance to show that another action beats the control: undefined when the control is the best.
    reason = "the control (the first action) has the highest mean: no other can be shown to be better"
    return described(power=None, contrast_std=None, coverage=None, reason=reason)


def _action_means(engine: Engine, key: str) -> dict[str, float]:
    """Mean reward of each action in a stored log, weighted by 1 / propensity; the control's action first, if it is fixed."""
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        rows = evaluations.newest_choices(connection, experiment.id, LOG_ROWS)
    if not rows:
        raise DataError("the log has no settled decision", fix="type the means in, or wait")
    names = sorted({action for action, _, _ in rows})
    config = ExperimentConfig.model_validate(experiment.config)
    control = parse_policy(config.control.policy)
    if isinstance(control, FixedPolicy) and control.action in names:
        names = [control.action, *(name for name in names if name != control.action)]
    code = {name: index for index, name in enumerate(names)}
    arms = bandit_planning.arm_baselines(
        [code[action] for action, _, _ in rows],
        [propensity for _, propensity, _ in rows],
        [reward for _, _, reward in rows],
        len(names),
    )
    return {name: float(arm.mean or 0.0) for name, arm in zip(names, arms, strict=True)}


def _metric(engine: Engine, request: MetricPlan) -> PlanAnswer:
    baseline = _from_log(engine, request) if request.experiment is not None else _typed(request)
    if request.solve_for == "power":
        total = _total(request)
        effect = _effect(request, baseline)
        reached = planning.power(baseline, effect, *_sizes(request, total), _test(request))
        return _comparison(request, baseline, total, partial(ComparisonPlan, power=reached, effect=effect))
    solved = _solved(request, baseline)
    described = partial(
        ComparisonPlan,
        n_control=solved.n_control,
        n_treatment=solved.n_treatment,
        effect=solved.effect,
        relative_effect=solved.relative_effect,
        power=solved.power,
        alpha=solved.alpha,
        days=solved.days,
    )
    return _comparison(request, baseline, solved.n_control + solved.n_treatment, described)


def _solved(request: MetricPlan, baseline: Baseline) -> planning.Plan:
    """The units for an effect, or the effect for units."""
    if request.solve_for == "effect":
        return planning.minimum_detectable_effect(
            baseline,
            *_sizes(request, _total(request)),
            test=_test(request),
            wanted_power=request.power,
            units_per_day=request.units_per_day,
        )
    return planning.sample_size(
        baseline,
        _effect(request, baseline),
        test=_test(request),
        wanted_power=request.power,
        treatment_share=request.treatment_share,
        units_per_day=request.units_per_day,
    )


def _comparison(
    request: MetricPlan, baseline: Baseline, units: float, described: Callable[..., ComparisonPlan]
) -> PlanAnswer:
    test = _test(request)
    factor = planning.sequential_inflation(units, alpha=request.alpha, tuned_at=test.tuned_at)
    method = "two-sided test, valid at every look" if test.at_every_look else "two-sided test at one look"
    return PlanAnswer(
        kind="metric",
        method=f"{method} (normal and t approximations; see docs/statistics.md)",
        assumptions=list(ASSUMPTIONS["metric"] if test.at_every_look else ONE_LOOK_ASSUMPTIONS),
        plan=described(baseline=PlanBaseline(**baseline._asdict()), sequential_factor=factor),
    )


def _test(request: MetricPlan) -> planning.Test:
    return planning.Test(
        request.alpha,
        at_every_look=request.test == "always_valid",
        tuned_at=None if request.declared else TUNED_AT,
    )


def _total(request: MetricPlan) -> float:
    return _needed(request.units, "/metric/units", "no_units")


def _sizes(request: MetricPlan, total: float) -> tuple[float, float]:
    return total * (1 - request.treatment_share), total * request.treatment_share


def _effect(request: MetricPlan, baseline: Baseline) -> float:
    relative = None if request.relative_effect is None else request.relative_effect * baseline.value
    effect = relative if request.effect is None else request.effect
    return _needed(effect, "/metric/effect", "no_effect")


def _needed(value: float | None, path: str, code: str) -> float:
    if value is None:
        raise invalid((FieldError(path, code),))
    return value


def _typed(request: MetricPlan) -> Baseline:
    value = _needed(request.value, "/metric/value", "no_expected_value")
    if request.kind == "proportion":
        return planning.proportion_baseline(value, correlation=request.correlation)
    if request.kind == "count":
        return planning.count_baseline(value, dispersion=request.dispersion, correlation=request.correlation)
    std = _needed(request.std, "/metric/std", "no_deviation")
    return planning.mean_baseline(value, std, correlation=request.correlation)


def _from_log(engine: Engine, request: MetricPlan) -> Baseline:
    """The control arm's value and spread in a stored log."""
    key = request.experiment or ""
    report = reported.newest(engine, key)
    if report is not None and report.window.decisions > reported.SMALL:
        return _from_report(report, request)
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        config = ExperimentConfig.model_validate(experiment.config)
        metric = {metric.key: metric for metric in config.all_metrics()}.get(request.metric)
        if metric is None:
            raise _unknown_metric(request.metric)
        units, values = units_of(metric)
        if isinstance(metric.source, QuantileSource):
            raise DataError("a quantile is not planned from a log", fix="plan for a mean, or type its spread in")
        scope = Scope(experiment.id, results.clock(connection))
        sums = arm_sums(connection, scope, units, values, winsorize=metric.winsorize)
    control_rows = [row for row in sums if row.arm == config.control.key]
    if not control_rows or control_rows[0].units < 2 or control_rows[0].mean_den <= 0:
        raise _no_baseline()
    return _baseline(control_rows[0], request.correlation)


def _from_report(report: Results, request: MetricPlan) -> Baseline:
    """The control arm's value and spread from the newest report: summing a long log would let somebody wait."""
    metric = next((metric for metric in report.metrics if metric.metric == request.metric), None)
    if metric is None:
        raise _unknown_metric(request.metric)
    control = next((arm for arm in metric.arms if arm.arm == report.control and arm.segment is None), None)
    if control is None or control.value is None or not control.std_error:
        raise _no_baseline()
    std = control.std_error * math.sqrt(control.units)
    return planning.mean_baseline(control.value, std, correlation=request.correlation)


def _unknown_metric(key: str) -> Unprocessable:
    return invalid((FieldError("/metric/metric", "unknown_metric", {"key": key}),))


def _no_baseline() -> DataError:
    return DataError("the control arm has fewer than two settled units", fix="type the baseline in, or wait")


def _baseline(row: ArmSums, correlation: float) -> Baseline:
    std = math.sqrt(linear_variance(moments(row), NUM, DEN))
    return planning.mean_baseline(row.mean_num / row.mean_den, std, correlation=correlation)
