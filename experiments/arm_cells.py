"""The sums of units that are compared: an arm within a stratum of constant shares. This module must never compute anything."""

from __future__ import annotations

from typing import NamedTuple

from experiments.sums import Moments


class ArmCell(NamedTuple):
    """The units of one arm in one stratum."""

    moments: Moments
    """Per unit: numerator and denominator (and more columns, which are ignored)."""
    mean_size: float
    """Mean of |numerator| per unit, metric's unit."""


class Stratum(NamedTuple):
    """The units of two arms that were assigned with the same chances."""

    control: ArmCell
    """Units of the control."""
    treatment: ArmCell
    """Units of the other arm."""

    @property
    def cells(self) -> tuple[ArmCell, ArmCell]:
        """Control, treatment."""
        return self.control, self.treatment

    @property
    def units(self) -> int:
        """Units of both arms."""
        return self.control.moments.n + self.treatment.moments.n
