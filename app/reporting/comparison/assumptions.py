"""What every comparison of arms assumes, in words."""

from app.design.experiment_config import ExperimentConfig
from bandits.policy import BanditPolicy, parse_policy
from experiments.arms.arm_sequence import MIN_SEQUENCE_EVENTS, MIN_SEQUENCE_UNITS

ASSUMPTIONS = (
    "Units were assigned to arms at random by a keyed hash; units, not decisions, are the independent observations.",
    "A unit's outcome does not depend on the arms of other units. A learning arm breaks this in a small way: its units "
    "share a model. The comparison is of the whole way of deciding, learning included.",
    "Only decisions whose reward window closed count; a decision without a reward in time has the declared default. A "
    "metric with a window of its own counts a decision when that window is over.",
    "Arms are compared within stretches of constant shares, and the stretches are weighted by their units. A unit counts in "
    "the arm where it was first seen; a unit that a change of shares moves to another arm is left out.",
    "The always-valid interval and p-value hold at every look together: asymptotically, from "
    f"{MIN_SEQUENCE_UNITS:.0f} effective units and {MIN_SEQUENCE_EVENTS:.0f} effective events per arm. The fixed interval and "
    "p-value hold for one look chosen beforehand.",
)
THIS_RUN = (
    "A learning arm's figures are about this run: how this model, which learned from these units, did. Another run would learn "
    "from other units and end elsewhere; these intervals do not contain that spread."
)


def of(config: ExperimentConfig) -> list[str]:
    """The assumptions of an experiment's results, each a sentence or two."""
    learns = any(isinstance(parse_policy(arm.policy), BanditPolicy) for arm in config.arms)
    return [*ASSUMPTIONS, *([THIS_RUN] if learns else [])]
