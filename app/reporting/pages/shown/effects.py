"""Says how effects change over time, and what changed shares mean for a comparison."""

from app.foundation.pages.format import percent, plural, signed
from app.reporting.documents.results import Results


def effect_over_time(results: Results) -> list[str]:
    """Say of each arm whether its effect fades or grows from day to day."""
    said = []
    for effect in results.daily:
        change = effect.change_interval
        if change is None or change.low is None or change.high is None or effect.change_per_day is None:
            said.append(f"{effect.arm}: too few days to see whether the effect changes.")
            continue
        ends = f"{signed(effect.change_per_day)} a day ({signed(change.low)} to {signed(change.high)})"
        if change.low <= 0 <= change.high:
            said.append(f"{effect.arm}: no change of the effect over time is visible: {ends}.")
        else:
            said.append(f"{effect.arm}: the effect changes by {ends}. Novelty may attract or disturb for a while only.")
    return said


def shares_changed(results: Results) -> list[str]:
    """What changes of the shares mean for the comparison; nothing where the shares never changed."""
    moved = results.moved_units
    if len(results.stretches) < 2 or moved is None:
        return []
    return [
        "Shares changed while the experiment ran. Arms are compared within each stretch of constant shares, and the stretches "
        "are weighted by their units: otherwise an arm that got its units at a better time would look better.",
        f"{plural(moved.moved, 'unit')} ({percent(moved.share)}) were seen in more than one arm. "
        f"{plural(moved.left_out, 'unit')} that a change moves to another arm are left out of comparisons, whether they came "
        "back or not.",
    ]
