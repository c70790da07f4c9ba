"""`make faults`: each fault of `tests.faults.rows` many times to an installation under load, compared with a ledger outside.

    make faults                                       # every row 20 times, some hours
    make faults ARGS="--times 3 'kill web' backlog"    # some rows, three times each

Prints what each row showed as a line of a table, and ends with 1 if anything acknowledged was lost, learned twice or not at all,
if an audit found a difference, or if a recovery took longer than is right.
"""

import argparse
import sys
import time
from collections import Counter
from operator import attrgetter
from typing import Final

from tests.faults.rows import ROWS, Row
from tests.faults.run import one_run
from tests.faults.stage import Stage, Told, stage

TIMES: Final = 20
_silence, _longest = attrgetter("silence_s"), attrgetter("longest_s")


def main() -> int:
    """Run the rows that are named, or all."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", metavar="row", help=f"one or more of: {', '.join(row.name for row in ROWS)}"
    )
    parser.add_argument("--times", type=int, default=TIMES, help="runs of each row")
    asked = parser.parse_args()
    unknown = set(asked.names) - {row.name for row in ROWS}
    if unknown:
        parser.error(f"there is no row {min(unknown)!r}")
    rows = [row for row in ROWS if not asked.names or row.name in asked.names]
    print("| fault | runs | acknowledged | lost | recovery, s | longest silence, s | longest wait, s | clients got |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with stage() as made:
        wrong = [row.name for row in rows if _row(made, row, asked.times)]
    return int(bool(wrong))


def _row(made: Stage, row: Row, times: int) -> bool:
    """Run one row; True if something is not right."""
    runs: list[Told] = []
    problems = []
    for number in range(times):
        try:
            runs.append(one_run(made, row, f"{row.name.replace(' ', '-')}-{number}-{int(time.time())}"))
        except AssertionError as error:
            problems.append(f"{row.name}, run {number + 1}: {error}")
    statuses = Counter[str]()
    for run in runs:
        statuses.update(run.statuses)
    waits = sorted(run.recovery_s for run in runs) or [0.0]
    lost = [sentence for run in runs for sentence in run.lost]
    late = [wait for wait in waits if wait > row.right_s]
    got = ", ".join(f"{count:,} x {status}" for status, count in sorted(statuses.items()))
    recovery = f"{waits[len(waits) // 2]:.1f} ({waits[-1]:.1f})"
    acknowledged = sum(run.acknowledged for run in runs)
    silence_s, longest_s = (max((wait(run) for run in runs), default=0.0) for wait in (_silence, _longest))
    cells = [row.what, len(runs), f"{acknowledged:,}", len(lost), recovery, f"{silence_s:.1f}", f"{longest_s:.1f}", got]
    print("|", " | ".join(map(str, cells)), "|", flush=True)
    problems += lost[:10] + [f"{row.name}: a recovery took {wait:.1f} s" for wait in late]
    for problem in problems:
        print(problem, file=sys.stderr, flush=True)
    for said in dict.fromkeys(line for run in runs[:1] for line in run.said):
        print(f"    up: {said}", file=sys.stderr, flush=True)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
