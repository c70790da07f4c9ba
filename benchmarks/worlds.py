"""How often each claim of the product is right in the worlds that come with Loopwise. Needs no server.

``python -m benchmarks worlds`` prints docs/statistics.md's table: 500 runs of each world, 2,000 of those with rare and
skewed values. ``python -m benchmarks.worlds --runs 40 ramp drift`` plays some of them.
"""

import argparse
from collections.abc import Sequence

from app.simulation import world_files
from app.simulation.report import ClaimLine, Simulation
from app.simulation.simulate import simulate

RUNS = 500
MORE_RUNS = 2000
HARD = ("holdout", "rare", "rare_5", "payers", "heavy_tails")
COLUMNS = {
    "every look": "every_look",
    "one look": "one_look",
    "lift, every look": "lift_every_look",
    "lift, one look": "lift_one_look",
    "p, every look": "p_every_look",
    "p, one look": "p_one_look",
    "value, every look": "value_every_look",
    "value, one look": "value_one_look",
}
HEAD = f"| world | runs | {' | '.join(COLUMNS)} | width | verdicts | checks | not met |"


def measure(names: Sequence[str] = (), runs: int | None = None) -> None:
    """Print a row of the table for each world."""
    print(f"{HEAD}\n|{'---|' * HEAD.count(' |')}", flush=True)
    for name in names or world_files.names():
        count = runs or (MORE_RUNS if name in HARD else RUNS)
        print(_row(simulate(world_files.load(name), name=name, runs=count, seed=1)), flush=True)


def _row(answer: Simulation) -> str:
    cells = [f"`{answer.world}`", f"{answer.runs:,}", *(_worst(answer, code) for code in COLUMNS.values())]
    cells.append(_width(answer))
    cells.append(_listed([line for line in answer.claims if line.claim in ("no_verdict", "no_wrong_ship", "decides")]))
    checks = [line for line in answer.claims if line.claim.endswith(("_quiet", "_alarms", "_refused"))]
    cells.append(_listed([*checks, *(line for line in answer.claims if line.claim == "lineages_one_look")]))
    cells.append(", ".join(f"{line.claim} {line.metric} {line.arm}".strip() for line in answer.missed) or "none")
    return f"| {' | '.join(cells)} |"


def _worst(answer: Simulation, code: str) -> str:
    """The lowest share of all comparisons."""
    shares = [line.share for line in answer.claims if line.claim == code]
    return f"{min(shares):.1%}" if shares else ""


def _width(answer: Simulation) -> str:
    notes = [line.note.split()[0] for line in answer.claims if line.claim == "every_look" and "times" in line.note]
    ends = dict.fromkeys(sorted(notes, key=float)[index] for index in (0, -1)) if notes else ["never open"]
    return " to ".join(ends)


def _listed(lines: Sequence[ClaimLine]) -> str:
    return ", ".join(f"{line.claim.replace('_', ' ')} {line.share:.1%}" for line in lines)


def main() -> None:
    """Measure the worlds that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worlds", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help="worlds; default: all")
    parser.add_argument("--runs", type=int, help="of each world")
    arguments = parser.parse_args()
    measure(arguments.names, arguments.runs)


if __name__ == "__main__":
    main()
