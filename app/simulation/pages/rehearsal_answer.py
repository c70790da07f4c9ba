"""Puts a rehearsal into words and a figure: how the simulated experiments end, and what was assumed."""

from statistics import median

from app.design.experiment_config import ExperimentConfig
from app.foundation.pages import charts
from app.foundation.pages.charts import Figure
from app.foundation.pages.format import number, percent, plural
from app.reporting.pages.planning.answer import FIGURE, Answer
from app.simulation import rehearsal
from app.simulation.rehearsal import Played, Rehearsal
from app.simulation.world import World

CAPTION = "How the simulated experiments end"
HEAD = ["First verdict", "The effect is there", "There is no effect"]


def answer(config: ExperimentConfig, played: Rehearsal) -> Answer:
    """The answer of the wizard's planning step."""
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
