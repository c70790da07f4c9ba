"""The sums of units that are compared: an arm within a stratum of constant shares. This module must never compute anything."""

from __future__ import annotations

from typing import Literal, NamedTuple

from experiments.sums import Moments

Kind = Literal["mean", "proportion", "ratio", "quantile", "count"]
"""Types of metrics."""


class ArmCell(NamedTuple):
    """The units of one arm in one stratum."""

    moments: Moments
    """Per unit: numerator and denominator (and more columns, which are ignored)."""
    mean_size: float
    """Mean of |numerator| per unit, metric's unit."""
    events: int | None = None
    """Units with the value 1, where every unit has 0 or 1 and a denominator of 1; None elsewhere."""


class Stratum(NamedTuple):
    """The units of two arms that were assigned with the same chances."""

    control: ArmCell
    """Units of the control."""
    treatment: ArmCell
    """Units of the other arm."""
    chance: float | None = None
    """Known chance of the treatment, given that a unit gets one of the two arms; None where it is not known."""

    @property
    def cells(self) -> tuple[ArmCell, ArmCell]:
        """Control, treatment."""
        return self.control, self.treatment

    @property
    def units(self) -> int:
        """Units of both arms."""
        return self.control.moments.n + self.treatment.moments.n
