"""Counts how often intervals cover the truth, and prints the counts as a Markdown table."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

RUNS_AT_ONCE = 100


class Tally:
    """Counts of covered and mean widths by name."""

    def __init__(self) -> None:
        self.hits: dict[str, list[bool]] = defaultdict(list)
        self.widths: dict[str, list[float]] = defaultdict(list)
        self.refused: dict[str, int] = defaultdict(int)

    def add(self, name: str, interval: tuple[float | None, float | None], truth: float) -> None:
        """One interval of one run; a refusal (None) is counted apart."""
        low, high = interval
        if low is None or high is None:
            self.refused[name] += 1
            return
        self.hits[name].append(low <= truth <= high)
        self.widths[name].append(high - low)

    def coverage(self, name: str) -> float:
        """Share of runs that covered."""
        return float(np.mean(self.hits[name]))


def print_tally(title: str, tallies: dict[str, Tally]) -> None:
    """One Markdown table: a row per interval, a column per setting, coverage in percent (mean width)."""
    print(f"\n#### {title}\n\n| interval | {' | '.join(tallies)} |\n|---|{'---|' * len(tallies)}")
    for name in next(iter(tallies.values())).hits:
        cells = []
        for tally in tallies.values():
            width = f" ({np.mean(tally.widths[name]):.4f})" if tally.widths[name] else ""
            refused = f", {tally.refused[name]} refused" if tally.refused[name] else ""
            cells.append(f"{100 * tally.coverage(name):.1f}{width}{refused}" if tally.hits[name] else "refused")
        print(f"| {name} | {' | '.join(cells)} |")
    print("| verdict: not identified | " + " | ".join(str(t.refused["verdict"]) for t in tallies.values()) + " |")


def chunks(runs: int) -> Iterator[int]:
    """Sizes of groups of runs that fit in memory together."""
    for start in range(0, runs, RUNS_AT_ONCE):
        yield min(RUNS_AT_ONCE, runs - start)
