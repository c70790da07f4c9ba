"""Looks for units and API keys that stand out, holds what they decide out of learning, and opens an incident for each.

A unit that a person released is not taken again. The rules are those of ``experiments.monitoring.anomalies``.
"""

import math
import time
from collections.abc import Sequence

from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.foundation.isolation import each_due
from app.foundation.store import latest
from app.foundation.store.engine import transaction
from app.guardian import incidents
from app.guardian.features import of_rows
from app.guardian.incidents import Anomaly
from app.guardian.store import behaviour
from app.guardian.store import quarantine as suspects
from app.guardian.store.behaviour import Row
from app.guardian.store.quarantine import Criteria
from app.registry.lookup import stored_experiment
from app.registry.store.experiments import StoredExperiment
from experiments.monitoring.anomalies import Finding

KIND = "anomalies"
RULE = "anomaly"
EVERY_S = 60.0
FACTOR = 20.0  # at most one part in so many of a worker's time
MOST = 20_000  # newest settled decisions that are looked at
MOST_AT_ONCE = 10  # suspects of one look
WORDS = {
    "decisions": "{Who} made {value:,.0f} of the newest {total:,.0f} decisions; the next busiest made {typical:,.0f}.",
    "delay": "Rewards of {who} come {value:.2g} s after the decision, those of others {typical:.2g} s.",
    "choices": "The actions that {who} gets vary by {value:.2g} bits, those of others by {typical:.2g}.",
    "rewards": "The rewards of {who} vary by {value:.2g} bits, those of others by {typical:.2g}.",
    "bursts": "{value:.0%} of the decisions of {who} come in bursts, of others {typical:.0%}.",
}


def compute_due(engine: Engine) -> list[str]:
    """Look at every experiment with new outcomes; returns the experiments' keys."""
    return each_due(engine, KIND, lambda key: look(engine, key), every_s=EVERY_S, factor=FACTOR)


def look(engine: Engine, key: str) -> int:
    """Look at the newest decisions of an experiment; returns how many suspects are new.

    :raises NotFound: no such experiment.
    """
    began = time.monotonic()
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key, lock=True)
        rows = behaviour.newest(connection, experiment.id, MOST)
        known = suspects.named(connection, experiment.id)
        new = 0
        for criteria, arm, finding, total in _found(rows):
            if new < MOST_AT_ONCE and (criteria.unit_id, criteria.key_id) not in known:
                _open(connection, experiment, arm, criteria, finding, total)
                new += 1
        summary = {"decisions": len(rows), "new": new}
        latest.put(connection, experiment.id, KIND, summary, summary, time.monotonic() - began)
    return new


def _found(rows: Sequence[Row]) -> list[tuple[Criteria, str, Finding, int]]:
    """Who stands out: units in their arm, and keys among all; with the arm and its number of decisions."""
    found = [(Criteria(rule=RULE, key_id=name), "", finding, len(rows)) for name, finding in of_rows(rows, by_key=True)]
    for arm in sorted({row.arm for row in rows}):
        here = [row for row in rows if row.arm == arm]
        found += [(Criteria(rule=RULE, unit_id=name), arm, finding, len(here)) for name, finding in of_rows(here)]
    return found


def _open(
    connection: Connection, experiment: StoredExperiment, arm: str, criteria: Criteria, finding: Finding, total: int
) -> None:
    why = words(finding, total, "a unit" if criteria.key_id is None else "an API key")
    held = ExperimentConfig.model_validate(experiment.config).bounds.quarantine
    status = "held" if held else "released"
    suspect = suspects.add(connection, experiment.id, criteria, status, why, incidents.ACTOR)
    incidents.open_anomaly(connection, experiment, Anomaly(arm, suspect, why, finding.strength, held))


def words(finding: Finding, total: int, who: str) -> str:
    """Why a unit or key stands out, without its name."""
    value, typical = finding.value, finding.typical
    if finding.feature == "delay":
        value, typical = math.exp(value), math.exp(typical)
    sentence = WORDS[finding.feature]
    return sentence.format(who=who, Who=who.capitalize(), value=value, typical=typical, total=total)
