"""The planning step's second answer: the draft as an experiment, played many times in a world that is known."""

from app.design.experiment_config import ExperimentConfig
from app.foundation.pages.fields.kinds import Findings, Typed
from app.foundation.words import as_sentence
from app.reporting.pages.planning.answer import Answer
from app.reporting.pages.planning.form import typed_number
from app.simulation import rehearsal
from app.simulation.pages import rehearsal_answer
from app.simulation.rehearsal import Expected
from app.simulation.world import Kind, World
from app.simulation.world_files import WorldRefused

SECONDS = 4.0  # of one processor, while somebody waits
_KINDS: dict[str, Kind] = {"proportion": "binary", "mean": "normal", "count": "count"}


def answer(typed: Typed, config: ExperimentConfig | None) -> tuple[Answer | None, dict[str, str]]:
    """What the experiment would say, or the errors by field.

    :param config: null: the draft has errors.
    """
    expected, problems = _expected(typed, config)
    if expected is None or config is None:
        return None, problems
    try:
        return rehearsal_answer.answer(config, rehearsal.rehearse(config, expected, SECONDS)), {}
    except WorldRefused as error:
        return None, {"/plan/value": as_sentence(error.detail)}


def world(typed: Typed, config: ExperimentConfig | None) -> World | None:
    """The world to play with the command; null: what was typed does not make one.

    :raises WorldRefused: the expectation is not possible.
    """
    expected, _ = _expected(typed, config)
    return None if expected is None or config is None else rehearsal.world_of(config, expected)


def _expected(typed: Typed, config: ExperimentConfig | None) -> tuple[Expected | None, dict[str, str]]:
    findings = Findings()
    if config is None:
        findings.add("/plan/mode", "rehearse_draft")
    elif len(config.arms) < 2:
        findings.add("/plan/mode", "plan_arms")
    elif typed["mode"] != "metric":
        findings.add("/plan/mode", "rehearse_mode")
    elif typed["source"] != "typed":
        findings.add("/plan/source", "rehearse_source")
    scale = "0.01" if typed["kind"] == "proportion" else "1"
    level = typed_number(findings, typed, "value", scale, "plan_value")
    spread = typed_number(findings, typed, "std", "1", "plan_std") if typed["kind"] == "mean" else 1.0
    effect = typed_number(findings, typed, "effect", "0.01", "plan_effect")
    if findings.problems or level is None or spread is None or effect is None:
        return None, {pointer: problem.on_page() for pointer, problem in findings.problems.items()}
    return Expected(_KINDS[typed["kind"]], level, spread, effect), {}
