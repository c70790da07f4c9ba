"""Prints figures: a name, an absolute value, a ratio."""

from statistics import median

__all__ = ["line", "median", "ratio", "title"]


def title(text: str) -> None:
    """The title of the lines below."""
    print(text, flush=True)


def line(name: str, value: str, note: str = "") -> None:
    """One figure."""
    print(f"  {name:<58}{value:>14}  {note}".rstrip(), flush=True)


def ratio(name: str, over: list[tuple[float, float]], unit: str, of: str, aim: float | None = None) -> None:
    """The medians of (ours, theirs) over the rounds, and the median of each round's own ratio, with its range."""
    ratios = sorted(ours / theirs for ours, theirs in over)
    line(of, f"{median(theirs for _, theirs in over):,.0f}{unit}")
    line(name, f"{median(ours for ours, _ in over):,.0f}{unit}")
    aimed = "" if aim is None else f", aim {aim:g}"
    line("ratio", f"{median(ratios):.2f}", f"({ratios[0]:.2f} to {ratios[-1]:.2f} in {len(ratios)} rounds{aimed})")
