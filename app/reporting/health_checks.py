"""Checks whether the log can be trusted: compares units with shares and choices with propensities, and counts missing rewards.

If a check fails here, no other number of the experiment may be believed. So each check says in words what is wrong.
"""

import time
from collections.abc import Iterator

import numpy as np
from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.foundation.isolation import each_due
from app.foundation.store import latest
from app.foundation.store.engine import transaction
from app.registry.lookup import stored_experiment
from app.registry.store import models
from app.reporting import unit_checks
from app.reporting.comparison import sample_ratio
from app.reporting.documents.health import (
    Check,
    ChoicesCheck,
    ConcentrationCheck,
    Health,
    MissingRewardsCheck,
    ModelCheck,
    SampleRatioCheck,
    StoredHealth,
)
from app.reporting.results import check_segment
from app.reporting.store import choices, results
from app.reporting.store.choices import Choice
from experiments.logs.choices import ChoiceBalance, ChoiceSums, balance_by_group, choice_sums, merge_choices
from experiments.logs.health import concentration, missing_rewards

KIND = "health"
FACTOR = 50.0  # computing takes at most 1 / FACTOR of a worker's time
NEWEST = 200_000  # decisions whose choices are checked
MAX_GROUPS = 30  # arms, model versions and segments whose choices are checked, the largest first
CHOICES_OK = "choices match their logged propensities"


def get(engine: Engine, key: str, *, segment: str | None = None) -> Health:
    """Compute all health checks of an experiment.

    :param segment: a declared context field; choices are also checked for each of its values.
    :raises NotFound: no such experiment.
    :raises Unprocessable: a segment that was not declared.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        check_segment(experiment, segment)
        config = ExperimentConfig.model_validate(experiment.config)
        rewards = choices.open_rewards(connection, experiment.id)
        until = results.horizon(connection, experiment.id)
        results.give_memory(connection)
        seen = results.overview(connection, experiment.id, until)
        ratio = sample_ratio.check(connection, experiment, config, seen, until)
        checks: list[Check] = [
            SampleRatioCheck(check="sample_ratio", **ratio.given()),
            *_choices(connection, experiment.id, segment),
            _missing(connection, experiment.id),
            *unit_checks.heavy(connection, experiment.id),
            *unit_checks.moved(connection, experiment),
            unit_checks.clocks(connection, experiment.id),
            *_models(connection, experiment.id),
        ]
    return Health(
        experiment=key,
        ok=not any(check.alert for check in checks),
        checks=checks,
        waiting_for_rewards=rewards.waiting,
        late_rewards=rewards.late,
        assumptions=[
            f"Choices are those of the newest {NEWEST:,} activated decisions; counts of units are of settled ones.",
            "The anytime p-value holds however often this page is read, and alone raises an alert; the one-look p-value holds "
            "for one look.",
        ],
    )


def stored(engine: Engine, key: str) -> StoredHealth | None:
    """The newest checks that the worker stored; null when it stored none yet.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        latest_checks = latest.get(connection, stored_experiment(connection, key).id, KIND)
    if latest_checks is None:
        return None
    return StoredHealth(**Health.model_validate(latest_checks.body).given(), computed_at=latest_checks.computed_at)


def compute_due(engine: Engine, every_s: float) -> list[str]:
    """Compute and store the checks that are due; returns the experiments' keys."""
    return each_due(engine, KIND, lambda key: compute(engine, key), every_s=every_s, factor=FACTOR)


def compute(engine: Engine, key: str) -> None:
    """Compute and store the checks of an experiment."""
    began = time.monotonic()
    health = get(engine, key)
    with transaction(engine) as connection:
        experiment_id = stored_experiment(connection, key).id
        seconds = time.monotonic() - began
        latest.put(connection, experiment_id, KIND, health.summary().as_json(), health.as_json(), seconds)


def _choices(
    connection: Connection, experiment_id: int, segment: str | None
) -> list[ChoicesCheck | ConcentrationCheck]:
    """Compare choices with propensities: per arm, per model version, and per value of a segment field."""
    names: dict[str, int] = {}
    sums: dict[tuple[str, str], ChoiceSums] = {}
    counts: dict[str, dict[str, int]] = {}
    for rows in choices.newest(connection, experiment_id, segment, NEWEST):
        for row in rows:
            for name in row.eligible:
                names.setdefault(name, len(names))
            taken = counts.setdefault(row.arm, {})
            taken[row.eligible[row.chosen]] = taken.get(row.eligible[row.chosen], 0) + 1
        for group, members in _grouped(rows).items():
            sums[group] = _merged(sums.get(group), members, names)
    largest = sorted(sums, key=lambda group: -sums[group].n)[:MAX_GROUPS]
    balances = balance_by_group([sums[group] for group in largest])
    return [
        *(_choice_check(group, balance, list(names)) for group, balance in zip(largest, balances, strict=True)),
        *(_concentration(arm, taken) for arm, taken in sorted(counts.items())),
    ]


def _grouped(rows: list[Choice]) -> dict[tuple[str, str], list[Choice]]:
    groups: dict[tuple[str, str], list[Choice]] = {}
    for row in rows:
        groups.setdefault(("arm", row.arm), []).append(row)
        groups.setdefault(("model version", f"{row.arm}@{row.policy_version}"), []).append(row)
        if row.segment is not None:
            groups.setdefault(("segment", row.segment), []).append(row)
    return groups


def _merged(before: ChoiceSums | None, rows: list[Choice], names: dict[str, int]) -> ChoiceSums:
    chances = np.zeros((len(rows), len(names)))
    chosen = np.empty(len(rows), dtype=np.int64)
    for index, row in enumerate(rows):
        codes = [names[name] for name in row.eligible]
        chances[index, codes] = row.distribution
        chosen[index] = codes[row.chosen]
    new = choice_sums(chosen, chances)
    return new if before is None else merge_choices(_widened(before, len(names)), new)


def _widened(sums: ChoiceSums, size: int) -> ChoiceSums:
    """The same sums over more actions; actions that were not seen before have zeros."""
    more = size - len(sums.chosen)
    return sums._replace(
        chosen=np.pad(sums.chosen, (0, more)),
        expected=np.pad(sums.expected, (0, more)),
        covariance=np.pad(sums.covariance, ((0, more), (0, more))),
        log_bets=np.pad(sums.log_bets, ((0, more), (0, 0))),
    )


def _choice_check(group: tuple[str, str], balance: ChoiceBalance, names: list[str]) -> ChoicesCheck:
    kind, name = group
    deviations = [
        (arm.z, action, arm.ratio) for arm, action in zip(balance.arms, names, strict=False) if arm.z is not None
    ]
    worst = max(deviations, key=lambda deviation: abs(deviation[0])) if deviations else None
    text = CHOICES_OK
    if balance.alert and worst is not None and worst[2] is not None:
        text = (
            f"choices do not match their propensities: action {worst[1]!r} was chosen {worst[2]:.3f} times as often as "
            "they say"
        )
    return ChoicesCheck(
        check="choices",
        group=kind,
        name=name,
        alert=bool(balance.alert),
        text=text,
        decisions=balance.n,
        p_value=balance.p_value,
        anytime_p_value=balance.anytime_p_value,
    )


def _concentration(arm: str, taken: dict[str, int]) -> ConcentrationCheck:
    shown = concentration(list(taken.values()))
    return ConcentrationCheck(
        check="concentration",
        group="arm",
        name=arm,
        alert=False,
        text=f"as if {shown.effective_number:.1f} of {len(taken)} actions were shown equally often",
        largest_share=shown.top_share,
        gini=shown.gini,
    )


def _missing(connection: Connection, experiment_id: int) -> MissingRewardsCheck:
    counts = results.rewarded_per_arm(connection, experiment_id)
    if not counts:
        return MissingRewardsCheck(check="missing_rewards", alert=False, text="no decision is settled yet", share={})
    comparison = missing_rewards([row.settled for row in counts], [row.rewarded for row in counts])
    return MissingRewardsCheck(
        check="missing_rewards",
        # When an app reports only successes, a better arm misses fewer rewards: a difference is worth a look, not an alert.
        alert=False,
        text="the arms differ in how often a reward is missing" if comparison.alert else "the arms miss rewards alike",
        share={row.arm: float(value) for row, value in zip(counts, comparison.rate, strict=True)},
        p_value=comparison.p_value,
        differs=bool(comparison.alert),
    )


def _models(connection: Connection, experiment_id: int) -> Iterator[ModelCheck]:
    for row in models.serving(connection, experiment_id=experiment_id):
        text = (
            f"version {row.number} serves" if row.problem is None else f"the newest round does not serve: {row.problem}"
        )
        yield ModelCheck(check="model", group="arm", name=row.arm, alert=row.problem is not None, text=text)
