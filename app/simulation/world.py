"""A world: who comes, what each arm really does, and what goes wrong on the way to the log. docs/simulate.md explains it.

A world states the truth, which no log knows. So a claim of a report can be compared with it.
"""

from collections.abc import Iterator, Mapping
from math import fsum
from typing import Annotated, Literal

from pydantic import Field

from app.design.experiment_config import SHARE_TOLERANCE
from app.foundation.fields import Key, Model

MAX_UNITS = 2_000_000
MAX_LOOKS = 200
Share = Annotated[float, Field(ge=0, le=1)]
Kind = Literal["binary", "count", "normal", "lognormal", "payers"]


class StretchSpec(Model):
    """Units that come while the shares are constant."""

    units: int = Field(ge=1, le=MAX_UNITS, description="Units that come, one after the other.")
    shares: dict[Key, Share] = Field(min_length=1, description="Share of each arm; together 1. 0: a staged arm.")
    factor: float = Field(default=1.0, gt=0, description="Every metric's level is multiplied by it.")
    factor_end: float | None = Field(
        default=None, gt=0, description="The factor at the end, for a drift; else `factor`."
    )


class MetricTruth(Model):
    """What a decision is worth on one metric."""

    key: Key = Field(description="Its name.")
    kind: Kind = Field(default="binary", description="How values spread around their mean; see below.")
    level: float = Field(description="Mean per decision in the control, where the factor is 1.")
    effects: dict[Key, float] = Field(default_factory=dict, description="By arm, what it adds to the control's mean.")
    spread: float = Field(default=1.0, ge=0, description="Standard deviation of a normal; sigma of a lognormal amount.")
    payers: float = Field(default=1.0, gt=0, le=1, description="Kind payers: share of decisions that pay anything.")
    per: Literal["decision", "unit"] = Field(default="decision", description="What reports divide by.")
    role: Literal["primary", "secondary", "guardrail"] = Field(default="primary", description="As of an experiment.")
    direction: Literal["increase", "decrease"] = Field(default="increase", description="Which way is better.")
    min_effect: float = Field(default=0.0, ge=0, le=10, description="A guardrail's margin, relative.")

    def effect(self, arm: str) -> float:
        """What an arm adds to the control's mean."""
        return self.effects.get(arm, 0.0)


class Visits(Model):
    """How many decisions a unit makes. Later ones fall anywhere between its first and the end of the world."""

    kind: Literal["constant", "poisson", "pareto"] = Field(default="constant", description="Law of their number.")
    mean: float = Field(default=1.0, ge=1, le=100, description="Constant (rounded) or Poisson: decisions of a unit.")
    shape: float = Field(default=2.0, gt=0.5, le=10, description="Pareto: the smaller, the heavier the tail.")
    most: int = Field(default=1000, ge=1, le=100_000, description="Pareto: no unit makes more.")
    moods: float | None = Field(
        default=None, gt=0, description="Units differ for good: level and effect times 2 Beta(moods, moods)."
    )


class Bots(Model):
    """Units that are no people."""

    units: int = Field(default=0, ge=0, le=1000, description="How many of the units are bots.")
    decisions: int = Field(default=1000, ge=1, le=100_000, description="Of each bot.")
    value: float = Field(default=0.0, description="What each of its decisions is worth.")


class Losses(Model):
    """What never arrives."""

    exposures: dict[Key, Share] = Field(default_factory=dict, description="By arm: decisions missing in the log.")
    choices: dict[Key, Share] = Field(default_factory=dict, description="By action of a learning arm: the same.")
    rewards: dict[Key, Share] = Field(default_factory=dict, description="By arm: values that never arrive.")
    late_rewards: Share = Field(default=0.0, description="Values that arrive after the reward window.")

    def kept(self, arm: str) -> float:
        """The share of an arm's values that arrive in time."""
        return (1 - self.rewards.get(arm, 0.0)) * (1 - self.late_rewards)


class Learning(Model):
    """Arms that learn which action to choose; the others always choose the first action."""

    arms: list[Key] = Field(default_factory=list, description="They learn after each look.")
    lineage_of: Key | None = Field(default=None, description="A name that all of them share: they are lineages of it.")
    actions: dict[Key, float] = Field(
        default_factory=dict, description="By action, what it adds to the first metric's mean in a learning arm."
    )
    since: dict[Key, Annotated[int, Field(ge=2, le=10)]] = Field(
        default_factory=dict,
        description="By new action, the stretch in which it comes; the others are there from 1 on.",
    )
    floor: float = Field(default=0.1, gt=0, le=1, description="Share of decisions that explore uniformly.")


class Rule(Model):
    """The decision rule, as of an experiment."""

    alpha: float = Field(default=0.05, gt=0, lt=0.5, description="Share of false alarms that is accepted.")
    min_units: int = Field(default=100, ge=2, description="Units per arm before a verdict.")
    planned_units: int | None = Field(default=None, ge=4, description="Of all arms: intervals are narrowest there.")


class World(Model):
    """One world."""

    about: str = Field(default="", max_length=500, description="What is hostile in it, in a sentence.")
    control: Key = Field(default="control", description="The arm that the others are compared with.")
    looks: int = Field(default=20, ge=1, le=MAX_LOOKS, description="Looks, equally many units apart.")
    power: Share = Field(default=0.8, description="How often what is planted must be found by the last look.")
    rule: Rule = Field(default_factory=Rule)
    stretches: list[StretchSpec] = Field(min_length=1, max_length=10)
    metrics: list[MetricTruth] = Field(min_length=1, max_length=10)
    visits: Visits = Field(default_factory=Visits)
    bots: Bots = Field(default_factory=Bots)
    lost: Losses = Field(default_factory=Losses)
    learning: Learning = Field(default_factory=Learning)

    @property
    def arms(self) -> list[str]:
        """Every arm, in the order of their first stretch."""
        return list(dict.fromkeys(arm for stretch in self.stretches for arm in stretch.shares))

    @property
    def treatments(self) -> list[str]:
        """Every arm but the control."""
        return [arm for arm in self.arms if arm != self.control]

    @property
    def actions(self) -> list[str]:
        """What an arm may show; the first is what arms without a model show."""
        return list(self.learning.actions) or ["shown"]

    @property
    def units(self) -> int:
        """Units that come in all."""
        return sum(stretch.units for stretch in self.stretches)

    @property
    def is_null(self) -> bool:
        """True when all arms are worth the same on every metric."""
        effects = (effect for metric in self.metrics for effect in metric.effects.values())
        actions = set(self.learning.actions.values())
        return not any(effects) and actions <= {0.0}


def problems(world: World) -> Iterator[str]:
    """What is wrong with a world although each of its fields is possible, a sentence each."""
    if len(world.arms) < 2:
        yield "stretches: name at least two arms in shares, for example shares = {control = 0.5, treated = 0.5}."
    if world.units > MAX_UNITS:
        yield f"stretches: {world.units} units come; give at most {MAX_UNITS}."
    yield from _of_stretches(world)
    yield from _of_names(world)
    yield from _of_learning(world)
    for index, metric in enumerate(world.metrics):
        yield from (f"metrics/{index}/{problem}" for problem in _of_metric(world, metric))


def _of_stretches(world: World) -> Iterator[str]:
    before: set[str] = set()
    for index, stretch in enumerate(world.stretches):
        total = fsum(stretch.shares.values())
        if abs(total - 1) > SHARE_TOLERANCE:
            yield f"stretches/{index}/shares: the shares sum to {total:g}; make them sum to 1."
        for arm in [world.control, *sorted(before)]:
            if arm not in stretch.shares:
                yield f"stretches/{index}/shares: {arm!r} is missing; give it a share, which may be 0."
                break
        before |= set(stretch.shares)


def _of_names(world: World) -> Iterator[str]:
    arms, actions = set(world.arms), set(world.actions)
    named: dict[str, tuple[Mapping[str, float], set[str]]] = {
        "lost/exposures": (world.lost.exposures, arms),
        "lost/rewards": (world.lost.rewards, arms),
    }
    named |= {
        "lost/choices": (world.lost.choices, actions),
        "learning/arms": (dict.fromkeys(world.learning.arms, 0.0), arms),
        "learning/since": (world.learning.since, actions),
    }
    named |= {
        f"metrics/{i}/effects": (metric.effects, arms - {world.control}) for i, metric in enumerate(world.metrics)
    }
    for place, (given, known) in named.items():
        for name in given:
            if name not in known:
                yield f"{place}: there is no {name!r} here; name one of {', '.join(sorted(known))}."
    keys = [metric.key for metric in world.metrics]
    if len(set(keys)) < len(keys):
        yield "metrics: two metrics have the same key; give each its own."
    if not any(metric.role == "primary" for metric in world.metrics):
        yield "metrics: no metric is primary; the rule decides by a primary metric."


def _of_learning(world: World) -> Iterator[str]:
    if world.learning.arms and len(world.learning.actions) < 2:
        yield "learning/actions: a learning arm needs at least two actions, for example actions = {a = 0.0, b = 0.0}."
    if world.actions[0] in world.learning.since:
        yield f"learning/since: {world.actions[0]!r} is what the other arms show; it has to be there from the start."
    if world.learning.lineage_of and len(world.learning.arms) < 2:
        yield "learning/lineage_of: one learning arm shows no spread; name at least two."
    if world.learning.actions.get(world.actions[0]):
        yield f"learning/actions: {world.actions[0]!r} is what the other arms show; what it adds has to be 0."
    if any(stretch > len(world.stretches) for stretch in world.learning.since.values()):
        yield f"learning/since: the last stretch is {len(world.stretches)}; name one that there is."


def _of_metric(world: World, metric: MetricTruth) -> Iterator[str]:
    factors = [
        factor for stretch in world.stretches for factor in (stretch.factor, stretch.factor_end) if factor is not None
    ]
    first = metric is world.metrics[0]
    extra = list(world.learning.actions.values()) if first and world.learning.arms else [0.0]
    effects = [0.0, *metric.effects.values()]
    means = [metric.level * factor + effect + more for factor in factors for effect in effects for more in extra]
    highest = max(means) * (2 if world.visits.moods else 1)
    if metric.kind == "binary" and not (min(means) >= 0 and highest <= 1):
        yield f"level: chances of this metric go from {min(means):g} to {highest:g}; keep them between 0 and 1."
    if metric.kind in ("count", "lognormal", "payers") and min(means) <= 0:
        yield f"level: means of this metric go down to {min(means):g}; keep them above 0."
    if first and world.learning.arms and metric.kind not in ("binary", "normal"):
        yield "kind: a learning arm learns from the first metric; make it binary or normal."
