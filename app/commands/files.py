"""The two commands that report on a file and need no server: `evaluate` (off-policy) and `compare` (A/B).

They parse options, call `app.files.file_evaluation` or `app.files.file_comparison`, and print. With --json they print
exactly one JSON object to stdout. If a file cannot be used, they print one sentence to stderr and exit with code 2. This
module must never compute a statistic.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
from rich.console import Console
from rich.table import Table

from app.commands.shared import Command as PlainCommand
from app.files.file_comparison import CompareRequest, compare_file
from app.files.file_evaluation import EvaluateRequest, evaluate_file, evaluation_document
from app.files.refused import FileRefused
from app.foundation.fields import JsonObject

BAD_INPUT = 2
Command = TypeVar("Command", bound=Callable[..., None])


def text_style(command: Command) -> Command:
    """Add the options that say how a CSV file writes its cells."""
    style = click.option("--delimiter", default=",", show_default=True, help="Between the cells of a CSV file.")
    mark = click.option("--decimal", type=click.Choice([".", ","]), default=".", help="Decimal mark of a CSV file.")
    return style(mark(command))


@click.command("evaluate", cls=PlainCommand)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--propensity", metavar="COLUMN", help="Logged probability of the chosen action.")
@click.option(
    "--target-probability",
    metavar="COLUMN",
    help="Target policy's probability of that action; the policy must not have learned the row.",
)
@click.option("--reward", metavar="COLUMN", help="Reward, higher is better.")
@click.option("--target", metavar="POLICY", help="Of a log: the policy to value, uniform (default) or fixed:ACTION.")
@click.option("--q", metavar="COLUMN", help="Reward model's prediction for the chosen action.")
@click.option("--v", metavar="COLUMN", help="That model's average under the target policy.")
@click.option("--unit", metavar="COLUMN", help="Unit (such as the user) whose rows depend on each other.")
@click.option("--action", metavar="COLUMN", help="Logged action, for values by action; needs --probabilities.")
@click.option(
    "--probabilities", metavar="ACTION=COLUMN,...", help="Logged distribution; the first action is compared with."
)
@click.option("--max-weight", type=float, metavar="W", help="Largest POSSIBLE weight, not the largest seen.")
@click.option("--possible-weight", metavar="COLUMN", help="Largest weight that any action of the row could have had.")
@click.option("--reward-range", type=float, nargs=2, metavar="LO HI", help="Declared range of rewards.")
@click.option("--switch-tau", type=float, metavar="T", help="Switch-DR threshold; default sqrt(rows).")
@click.option("--shrinkage-lambda", type=float, metavar="L", help="DR shrinkage; default the number of rows.")
@click.option("--clip", type=float, metavar="C", help="Clip of clipped IPS; default sqrt(rows).")
@click.option("--alpha", type=float, default=0.05, show_default=True, help="1 - confidence level.")
@text_style
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def evaluate(file: Path, as_json: bool, **options: Any) -> None:
    """Value a policy that never ran, from a FILE with one row per logged decision, in time order.

    A table (CSV, Parquet) has columns of any name, which options give. A log (JSON Lines, dsjson; with --target also a CSV or
    Parquet file that `loopwise import` reads) has fields that are known.
    """
    try:
        answer = evaluation_document(evaluate_file(file, EvaluateRequest(**options)))
    except FileRefused as error:
        fail(error)
    if as_json:
        click.echo(json.dumps(answer, allow_nan=False))
    else:
        print_evaluation(answer)


@click.command("compare", cls=PlainCommand)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--variant", required=True, metavar="COLUMN", help="Variant of each unit.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    required=True,
    metavar="NAME=KIND:COLUMN",
    help="mean:COLUMN, proportion:COLUMN, count:COLUMN, ratio:NUM/DEN or quantile(0.9):COLUMN; repeatable.",
)
@click.option(
    "--covariate",
    "covariates",
    multiple=True,
    metavar="[NAME=]COLUMN",
    help="Pre-experiment column for CUPED (NUM/DEN for ratios); without NAME= for all metrics of that form.",
)
@click.option("--control", metavar="LABEL", help='Control variant; default "control", else the first label.')
@click.option("--shares", metavar="LABEL=SHARE,...", help="Intended shares; default equal.")
@click.option(
    "--looks",
    metavar="FRACTION,...",
    help="Shares of the planned sample at the planned looks so far, this one last: group-sequential bounds.",
)
@click.option("--alpha", type=float, default=0.05, show_default=True, help="1 - confidence level.")
@text_style
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def compare(file: Path, as_json: bool, **options: Any) -> None:
    """Compare the variants of an A/B test, from a CSV or Parquet FILE with one row per unit."""
    try:
        answer = compare_file(file, CompareRequest(**options))
    except FileRefused as error:
        fail(error)
    if as_json:
        click.echo(json.dumps(answer, allow_nan=False))
    else:
        print_comparison(answer)


def fail(error: FileRefused) -> NoReturn:
    """Print the error to stderr and exit with code 2."""
    click.echo(str(error), err=True)
    sys.exit(BAD_INPUT)


def make_console() -> Console:
    """Return a console as wide as the terminal, or with 140 columns if the output goes to a file or a pipe."""
    return Console(width=None if sys.stdout.isatty() else 140)


def print_evaluation(answer: JsonObject) -> None:
    """Print the readable report, from the same document that --json prints."""
    console = make_console()
    verdict = answer["verdict"]
    level = f"{100 * (1 - answer['settings']['alpha']):g}%"
    console.print(f"Verdict: [bold]{verdict['status'].replace('_', ' ')}[/bold]", highlight=False)
    for sentence in verdict["reasons"]:
        console.print(f"  - {sentence}", highlight=False, markup=False)
    facts = (
        f"{answer['rows']} rows, mean weight {answer['mean_weight']:.4f} (1 when the log is sound), effective size "
        f"{answer['effective_sample_size']:.1f}, largest weight {answer['max_weight']:.4g}, logged reward "
        f"{answer['logged_value']:.6g}"
    )
    console.print(facts, highlight=False)
    if verdict["status"] == "not_identified":
        console.print("The log does not answer the question: the numbers below are for debugging.", highlight=False)
    else:
        _print_headline(console, answer["headline"], level)
    _print_lift(console, answer["lift"], level)
    if answer["detectable_lift"] is not None:
        text = f"Smallest lift that a log like this shows in 4 of 5 cases: {answer['detectable_lift']:.3g}"
        console.print(text, highlight=False)
    table = Table(title=f"Value of the target policy ({level} intervals)", title_justify="left")
    for heading in ("estimator", "value", "std error", "interval", "low", "high"):
        table.add_column(heading, justify="right" if heading in ("value", "std error", "low", "high") else "left")
    for name, line in answer["estimators"].items():
        _add_lines(table, name, line)
    console.print(table)
    if "actions" in answer:
        console.print(_actions_table(answer["actions"], level))
    _print_notes(console, answer)


def _actions_table(actions: JsonObject, level: str) -> Table:
    table = Table(title=f"Value of each action, always chosen ({level} intervals)", title_justify="left")
    for heading in ("action", "value", "interval", "minus the first", "interval", "note"):
        table.add_column(heading)
    for name, line in actions.items():
        gap = line["minus_first"]
        shown = ["-", "-"] if gap is None or gap["value"] is None else [f"{gap['value']:+.4g}", _range(gap["interval"])]
        value = "-" if line["value"] is None else f"{line['value']:.4g}"
        table.add_row(name, value, _range(line["interval"]), *shown, line["note"])
    return table


def _print_headline(console: Console, lead: JsonObject, level: str) -> None:
    """Print the value with its interval for every look, and the interval for one look beside it."""
    sequence, look = lead["always_valid"], lead["one_look"]
    every = f"none ({lead['always_valid_note']})" if sequence is None else f"{sequence[0]:.6g} to {sequence[1]:.6g}"
    one = f"none ({lead['one_look_note']})" if look is None else f"{look[0]:.6g} to {look[1]:.6g}"
    console.print(
        f"Value: [bold]{lead['value']:.6g}[/bold] ({lead['estimator']}), {level} interval at every look {every}; for one "
        f"pre-declared look {one} ({lead['one_look_method']})",
        highlight=False,
    )


def _print_lift(console: Console, lift: JsonObject, level: str) -> None:
    for interval in lift["intervals"].values():
        console.print(
            f"Lift over the policies that ran: {lift['value']:+.6g}, {level} interval {interval[0]:.6g} to "
            f"{interval[1]:.6g} (one pre-declared look)",
            highlight=False,
        )


def _add_lines(table: Table, name: str, line: JsonObject) -> None:
    if line["value"] is None:
        table.add_row(name, "-", "-", line["reason"])
        return
    value = f"{line['value']:.6g}"
    error = "-" if line["std_error"] is None else f"{line['std_error']:.4g}"
    if not line["intervals"]:
        table.add_row(name, value, error, "no interval: see notes")
    for index, (method, (low, high)) in enumerate(line["intervals"].items()):
        first = (name, value, error) if index == 0 else ("", "", "")
        table.add_row(*first, method, f"{low:.6g}", f"{high:.6g}")


def _print_notes(console: Console, answer: JsonObject) -> None:
    """Print each sentence once, with the names of the lines that it applies to."""
    about: dict[str, list[str]] = {sentence: [] for sentence in answer["assumptions"]}
    for name, line in answer["estimators"].items():
        notes = line["notes"] | (line["not_available"] if line["value"] is not None else {})
        for sentence in dict.fromkeys(notes.values()):
            about.setdefault(sentence, []).append(name)
    for sentence, names in about.items():
        console.print(f"  * {', '.join(names) + ': ' if names else ''}{sentence}", highlight=False, markup=False)


def print_comparison(answer: JsonObject) -> None:
    """Print the readable table, from the same document that --json prints."""
    console = make_console()
    srm = answer["srm"]
    counts = ", ".join(f"{label} {count}" for label, count in answer["variants"].items())
    console.print(f"{answer['rows']} units: {counts}; control {answer['control']}", highlight=False, markup=False)
    verdict = "ALERT, believe nothing below until it is explained" if srm["alert"] else "fine"
    console.print(f"Sample ratio: p = {srm['p_value']:.4g}, {verdict}", highlight=False)
    level = f"{100 * (1 - answer['alpha']):g}%"
    table = Table(title=f"Against control ({level} intervals)", title_justify="left")
    for heading in ("metric", "variant", "control", "treatment", "difference", "lift", "p", "p Holm", "always valid"):
        table.add_column(heading, overflow="fold")
    for line in answer["metrics"]:
        table.add_row(*_comparison_cells(line))
    console.print(table)
    for sentence in [*answer["assumptions"], *_comparison_notes(answer["metrics"])]:
        console.print(f"  * {sentence}", highlight=False, markup=False)


def _comparison_cells(line: JsonObject) -> list[str]:
    name = f"{line['metric']} (CUPED)" if line["cuped"] else line["metric"]
    if "difference" not in line:
        return [name, line["variant"], "-", "-", line["reason"], "-", "-", "-", "-"]
    lift = "-" if line["relative_lift"] is None else f"{100 * line['relative_lift']:+.2f}%"
    percent = None if line["relative_interval"] is None else [100 * end for end in line["relative_interval"]]
    sequence = line["always_valid"]
    return [
        name,
        line["variant"],
        f"{line['control']:.5g}",
        f"{line['treatment']:.5g}",
        f"{line['difference']:+.4g}\n{_range(line['interval'])}",
        f"{lift}\n{_range(percent)}",
        "-" if line["p_value"] is None else f"{line['p_value']:.4g}",
        "-" if line["p_adjusted"] is None else f"{line['p_adjusted']:.4g}",
        "-" if sequence is None else f"p {sequence['p_value']:.4g}\n{_range(sequence['interval'])}",
    ]


def _range(ends: list[float] | None) -> str:
    return "no interval" if ends is None else f"{ends[0]:.4g} to {ends[1]:.4g}"


def _comparison_notes(lines: list[JsonObject]) -> list[str]:
    notes = []
    for line in lines:
        for reason in dict.fromkeys((line["reason"], line.get("interval_reason", ""))):
            if reason:
                notes.append(f"{line['metric']}, variant {line['variant']}: {reason}")
        if line["cuped"]:
            saved = 100 * (1 - line["cuped"]["variance_ratio"])
            notes.append(f"{line['metric']}, variant {line['variant']}: CUPED took away {saved:.1f}% of the variance")
        look = line.get("planned_look")
        if look:
            bound = "no bound yet" if look["bound"] is None else f"bound {look['bound']:.3f}"
            decided = "stop: there is a difference" if look["reject"] else "go on"
            notes.append(
                f"{line['metric']}, variant {line['variant']}: planned look, z {look['z']:.3f}, {bound}, {decided}"
            )
    return notes
