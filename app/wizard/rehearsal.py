"""The planning step's second answer: the draft as an experiment, played many times in a world that is known."""

from statistics import median

from app.design.experiment_config import ExperimentConfig
from app.foundation.pages import charts
from app.foundation.pages.charts import Figure
from app.foundation.pages.fields.kinds import Findings, Typed
from app.foundation.pages.format import number, percent, plural
from app.foundation.words import as_sentence
from app.reporting.pages.plan_answer import FIGURE, Answer
from app.simulation import rehearsal
from app.simulation.rehearsal import Expected, Played, Rehearsal
from app.simulation.world import Kind, World
from app.simulation.world_files import WorldRefused
from app.wizard.plan import typed_number

SECONDS = 4.0  # of one processor, while somebody waits
_KINDS: dict[str, Kind] = {"proportion": "binary", "mean": "normal", "count": "count"}
CAPTION = "How the simulated experiments end"
HEAD = ["First verdict", "The effect is there", "There is no effect"]


def answer(typed: Typed, config: ExperimentConfig | None) -> tuple[Answer | None, dict[str, str]]:
    """What the experiment would say, or the errors by field.

    :param config: null: the draft has errors.
    """
    expected, problems = _expected(typed, config)
    if expected is None or config is None:
        return None, problems
    try:
        return _words(config, rehearsal.rehearse(config, expected, SECONDS)), {}
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


def _words(config: ExperimentConfig, played: Rehearsal) -> Answer:
    hoped, null = played.hoped, played.null
    names = list(dict.fromkeys([*(name for name, _ in hoped.ends.most_common()), *null.ends]))
    table = [[_end(name), _share(hoped, name), _share(null, name)] for name in names]
    rows = [charts.Row(_end(name), hoped.ends[name] / hoped.simulation.runs) for name in names]
    chart = charts.bars(rows, title=CAPTION, unit="share of the runs with the effect", write=percent, high=1.0)
    figure = Figure(FIGURE, CAPTION, chart, HEAD, table)
    return Answer(_paragraphs(played), figure, _assumptions(config, played.world))


def _paragraphs(played: Rehearsal) -> list[str]:
    hoped, null = played.hoped, played.null
    units = number(hoped.simulation.units)
    shipped = sum(count for (verdict, arm), count in hoped.ends.items() if verdict == "ship" and arm in played.gaining)
    false = sum(count for (verdict, _), count in null.ends.items() if verdict)
    words = [
        f"Played {plural(hoped.simulation.runs, 'time')} with {units} users each: where the effect is there, the rule ships "
        f"an arm that has it in {percent(shipped / hoped.simulation.runs, 0)} of the runs, and where there is none, it gives "
        f"a verdict in {false} of {plural(null.simulation.runs, 'run')}."
    ]
    if hoped.units:
        words.append(f"Half of the verdicts come by {number(median(hoped.units))} users.")
    every = [line for line in hoped.simulation.claims if line.claim == "every_look"]
    if every:
        worst = min(every, key=lambda line: line.share)
        words.append(
            f"The intervals that hold at every look covered the true difference in at least {percent(worst.share, 0)} of the "
            f"runs, for each metric and arm. They promise {percent(worst.level, 0)}."
        )
    return words


def _end(name: tuple[str, str]) -> str:
    verdict, arm = name
    words = {"ship": f"ship {arm}", "stop": "stop", "review": f"review {arm}", "": "no verdict by the end"}
    return words[verdict]


def _share(played: Played, name: tuple[str, str]) -> str:
    return f"{percent(played.ends[name] / played.simulation.runs, 0)} ({played.ends[name]})"


def _assumptions(config: ExperimentConfig, world: World) -> list[str]:
    effect = world.metrics[0].effects
    better = ", ".join(effect) or "no arm"
    lines = [
        f"{better} has the effect on {world.metrics[0].key} from its first decision on; the other arms are like the control. "
        "A learning arm really begins without it.",
        "Every user decides once, nothing is lost, and the days of the rule are not counted.",
    ]
    others = [f"{metric.key} ({metric.kind}, {number(metric.level)} on average)" for metric in world.metrics[1:]]
    if others:
        lines.append(f"Nothing is known of the other metrics. They are alike in all arms: {', '.join(others)}.")
    missing = rehearsal.left_out(config, world)
    if missing:
        lines.append(f"Left out, because worlds have no such metrics, or too many: {', '.join(missing)}.")
    planned = config.decision_rule.planned_units
    if planned is None:
        lines.append(f"The rule names no planned users: {number(rehearsal.UNITS)} are played.")
    elif planned > rehearsal.MAX_UNITS:
        lines.append(f"{number(planned)} users are planned; {number(rehearsal.MAX_UNITS)} are played here.")
    return lines
