"""Checks of the units behind a comparison: whether a few outweigh all others, whether they moved, whose clock is wrong."""

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection

from app.registry.store.experiments import StoredExperiment
from app.reporting.comparison import stretches as shares
from app.reporting.documents.health import ClocksCheck, HeavyUnit, HeavyUnitsCheck, MovedUnitsCheck
from app.reporting.store import heavy_units
from app.reporting.store.heavy_units import ArmWeight

MOST_NAMED = 5
MIN_DECISIONS = 100  # an arm with fewer is too small to be dominated
MAX_SHARE = 0.05  # of an arm's decisions that one unit may make
FAIR_SHARES = 10  # and so many times its share if all units were alike
MAX_MOVED = 0.05


def heavy(connection: Connection, experiment_id: int) -> Iterator[HeavyUnitsCheck]:
    """Whether one unit makes so many of an arm's decisions that it decides the arm's value; the heaviest are named."""
    by_arm: dict[str, list[HeavyUnit]] = {}
    weights = {row.arm: row for row in heavy_units.weights(connection, experiment_id)}
    for row in heavy_units.heaviest(connection, experiment_id, MOST_NAMED):
        share = row.decisions / weights[row.arm].decisions
        by_arm.setdefault(row.arm, []).append(HeavyUnit(**row._asdict(), share=share))
    for arm, weight in weights.items():
        too_heavy = [unit for unit in by_arm[arm] if is_too_heavy(unit.share, weight)]
        yield HeavyUnitsCheck(
            check="heavy_units",
            group="arm",
            name=arm,
            alert=bool(too_heavy),
            text=_words(arm, weight, too_heavy),
            units=weight.units,
            effective_units=weight.effective_units,
            heaviest=too_heavy or by_arm[arm][:1],
        )


def is_too_heavy(share: float, weight: ArmWeight) -> bool:
    """Whether a unit with this share of an arm's decisions outweighs the others."""
    return weight.decisions >= MIN_DECISIONS and share > max(MAX_SHARE, FAIR_SHARES / weight.units)


def _words(arm: str, weight: ArmWeight, too_heavy: Sequence[HeavyUnit]) -> str:
    if not too_heavy:
        return f"the {weight.units} units of {arm} weigh as much as {weight.effective_units:.1f} equal ones"
    named = ", ".join(f"{unit.unit_id!r} makes {unit.share:.0%}" for unit in too_heavy)
    return (
        f"of the decisions of {arm}, {named}: its {weight.units} units weigh as much as {weight.effective_units:.1f} equal "
        "ones. Leave such units out, or let each unit count once"
    )


def moved(connection: Connection, experiment: StoredExperiment) -> Iterator[MovedUnitsCheck]:
    """How many units a change of the shares moved from arm to arm; nothing where the shares never changed."""
    stretches = shares.of_experiment(connection, experiment)
    if len(stretches) < 2:
        return
    shares.prepare(connection, experiment, stretches)
    counted = shares.moved(connection)
    text = (
        f"{counted.moved} units ({counted.share:.1%}) were seen in more than one arm, because the shares changed; "
        f"comparisons leave out {counted.left_out} units that the change moves"
    )
    yield MovedUnitsCheck(
        check="moved_units", alert=counted.share > MAX_MOVED, text=text, moved=counted.moved, share=counted.share
    )


def clocks(connection: Connection, experiment_id: int) -> ClocksCheck:
    """How many reports carry a time that cannot be."""
    counted = heavy_units.clocks(connection, experiment_id)
    text = "the times of all reports are possible"
    if counted.impossible:
        text = (
            f"{counted.impossible} of the newest {counted.reports} reports happened before their decision or after we got "
            "them: a clock is wrong, and the time when we got them counts"
        )
    return ClocksCheck(check="clocks", alert=False, text=text, **counted._asdict())
