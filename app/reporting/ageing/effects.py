"""Each arm against the control, step by step since the first exposure, by cohort, and over windows of events."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from app.design.metric_config import EventSource, MetricSpec, ValueSource
from app.foundation.formats.intervals import IntervalDocument, document_of
from app.reporting.comparison import metric_parts as parts
from app.reporting.comparison import result_lines as lines
from app.reporting.comparison import stretches as shares
from app.reporting.comparison.computation import Computation
from app.reporting.comparison.result_lines import Compared, Pair, StratumKey
from app.reporting.documents.long_term import AgeChange, AgeCurve, AgeLine
from app.reporting.store import metric_sums
from app.reporting.store.metric_sums import ArmSums, Values
from experiments.arms import ageing
from experiments.arms.ageing import CHANGES, Ageing
from experiments.results import Interval, missing

DAY_S = 86_400.0
WINDOWS_S = tuple(days * DAY_S for days in (1, 3, 7, 14, 28, 56, 90, 180))
SESSION_DAYS = 7.0
GAP_S = 1800.0
MOST_COHORTS = 12
_METRIC = MetricSpec(key="age", source=ValueSource(type="value", metric="age", per="unit"))  # no bounds are known


class Steps(NamedTuple):
    """The steps that an experiment is old enough for."""

    step_s: float
    last: int  # the step until which curves go
    followed: int  # the step through which two thirds of the units were followed; 0: none after the first
    began: datetime

    def values(self, computation: Computation) -> dict[str, str | float | list[str] | None]:
        """The parameters of sums by step."""
        settled = computation.as_of - timedelta(seconds=computation.config.reward.window_s)
        until = None if computation.until is None else computation.until.isoformat()
        return {
            "step_s": self.step_s,
            "began": self.began.isoformat(),
            "last": self.last,
            "settled": settled.isoformat(),
            "until": until,
            "now": computation.as_of.isoformat(),
        }


def curves(computation: Computation, steps: Steps) -> list[AgeCurve]:
    """Effects on the reward and on coming back by step, on the first step by cohort, on events by window, on sessions."""
    values = steps.values(computation)
    found: list[AgeCurve] = []
    cohorts: list[AgeLine] = []
    by_step: dict[str, list[AgeLine]] = {"reward": [], "seen": []}
    windows: dict[str, list[AgeLine]] = {}
    sessions: dict[str, list[AgeLine]] = {"sessions": [], "session_length": []}
    for arm in _others(computation):
        for kind, drawn in by_step.items():
            rows = _sums(computation, arm, f"age/{kind}", values)
            for step in sorted({_step(row) for row in rows}):
                of_step = [row for row in rows if _step(row) == step]
                drawn.append(_line(computation, arm, float(step), compared(computation, arm, of_step)))
            if kind == "reward":
                cohorts += _cohorts(computation, arm, [row for row in rows if _step(row) == 0])
        for metric in computation.config.metrics:
            if isinstance(metric.source, EventSource):
                windows.setdefault(metric.name or metric.key, []).extend(_windows(computation, arm, metric, steps))
        session = {"window_s": SESSION_DAYS * DAY_S, "gap_s": GAP_S}
        for kind, drawn in sessions.items():
            rows = _sums(computation, arm, f"age/{kind}", {**values, **session})
            drawn.append(_line(computation, arm, SESSION_DAYS * DAY_S, compared(computation, arm, rows)))
    found += [AgeCurve(kind="reward", name="reward", lines=by_step["reward"])]
    found += [AgeCurve(kind="seen", name="seen again", lines=by_step["seen"])]
    found += [AgeCurve(kind="cohorts", name="reward in the first step", lines=cohorts)]
    found += [AgeCurve(kind="window", name=name, lines=drawn) for name, drawn in windows.items()]
    found += [
        AgeCurve(kind="sessions", name="sessions per unit", lines=sessions["sessions"]),
        AgeCurve(kind="session_length", name="length of a session", lines=sessions["session_length"]),
    ]
    return [curve for curve in found if any(line.units for line in curve.lines)]


def changes(computation: Computation, steps: Steps) -> list[AgeChange]:
    """What becomes of each arm's effect: novelty, wear-out, growth, a shift between cohorts, or nothing that is shown."""
    return [_change(computation, steps, arm) for arm in _others(computation)]


def compared(computation: Computation, arm: str, rows: Sequence[ArmSums], together: int = CHANGES) -> Compared:
    """An arm against the control, within strata of constant shares and equal cohorts."""
    stretches, pair = computation.stretches, (arm, computation.config.control.key)
    ends = shares.ends(stretches, pair)

    def stratum(row: ArmSums) -> StratumKey:
        chance = shares.chance(stretches, pair, row.stretch, ends.by_stretch[row.stretch])
        return StratumKey(chance, row.segment)

    return lines.compare(computation.config, _METRIC, Pair(*pair, None), rows, stratum, together)


def _change(computation: Computation, steps: Steps, arm: str) -> AgeChange:
    values, last = steps.values(computation), steps.followed
    none = missing("two thirds of the units have to be followed for a step after their first one")
    first, further, first_effect = none, missing("needs two steps after the first one"), None
    if last >= 1:
        spans = {"last": last, "from_step": 1, "base_from": 0, "base_to": 0}
        first = _together(compared(computation, arm, _sums(computation, arm, "age/change", {**values, **spans})))
        rows = [row for row in _sums(computation, arm, "age/reward", {**values, "last": 0}) if _step(row) == 0]
        first_effect = compared(computation, arm, rows).line.difference
    if last >= 2:
        middle = 1 + last // 2
        spans = {"last": last, "from_step": middle, "base_from": 1, "base_to": middle - 1}
        further = _together(compared(computation, arm, _sums(computation, arm, "age/change", {**values, **spans})))
    shift = _between_cohorts(computation, arm, _sums(computation, arm, "age/reward", {**values, "last": 0}))
    found = Ageing(first, further, shift)
    return AgeChange(
        arm=arm,
        control=computation.config.control.key,
        verdict=ageing.judge(found),
        steps=last,
        first_effect=first_effect,
        first=document_of(first),
        further=document_of(further),
        cohorts=document_of(shift),
        calendar_ruled_out=ageing.rules_calendar_out(found),
    )


def _between_cohorts(computation: Computation, arm: str, rows: Sequence[ArmSums]) -> Interval:
    """The first step's effect in the later half of the cohorts minus that in the earlier half."""
    sizes: dict[int, int] = {}
    for row in rows:
        sizes[_cohort(row)] = sizes.get(_cohort(row), 0) + row.units
    if len(sizes) < 2:
        return missing("all units came in one step of the calendar")
    seen, border = 0, max(sizes)
    for cohort in sorted(sizes):
        if seen and 2 * seen >= sum(sizes.values()):
            border = cohort
            break
        seen += sizes[cohort]
    halves = [
        [row for row in rows if _cohort(row) >= border],
        [row for row in rows if _cohort(row) < border],
    ]
    later, earlier = (_together(compared(computation, arm, half, 2 * CHANGES)) for half in halves)
    return ageing.apart(later, earlier)


def _cohorts(computation: Computation, arm: str, rows: Sequence[ArmSums]) -> list[AgeLine]:
    cohorts = sorted({_cohort(row) for row in rows})[-MOST_COHORTS:]
    return [
        _line(
            computation,
            arm,
            float(cohort),
            compared(computation, arm, [row for row in rows if _cohort(row) == cohort]),
        )
        for cohort in cohorts
    ]


def _windows(computation: Computation, arm: str, metric: MetricSpec, steps: Steps) -> list[AgeLine]:
    age_s = (computation.as_of - steps.began).total_seconds()
    units, values = parts.units_of(metric)
    drawn = []
    for window_s in [window for window in WINDOWS_S if window <= age_s]:
        rows = _sums(computation, arm, units, {**values, "window_s": window_s})
        drawn.append(_line(computation, arm, window_s, compared(computation, arm, rows)))
    return drawn


def _sums(computation: Computation, arm: str, units: str, values: Values) -> list[ArmSums]:
    pair = (arm, computation.config.control.key)
    ends = shares.ends(computation.stretches, pair)
    if not any(ends.by_stretch):
        return []
    scope = computation.scope(ends)._replace(segment=None)
    rows = metric_sums.arm_sums(computation.connection, scope, units, values)
    return [row for row in rows if row.arm in pair]


def _others(computation: Computation) -> list[str]:
    return [arm for arm in computation.arms if arm != computation.config.control.key]


def _step(row: ArmSums) -> int:
    return int((row.segment or "0:0").split(":")[0])


def _cohort(row: ArmSums) -> int:
    return int((row.segment or "0:0").split(":")[1])


def _together(found: Compared) -> Interval:
    ends: IntervalDocument = found.line.always_valid.simultaneous_interval or found.line.always_valid.interval
    return Interval(ends.low, ends.high) if ends.low is not None else missing(ends.reason)


def _line(computation: Computation, arm: str, at: float, found: Compared) -> AgeLine:
    line = found.line
    units: Mapping[str, int] = line.units or {}
    return AgeLine(
        arm=arm,
        control=computation.config.control.key,
        at=at,
        units=sum(units.values()),
        control_value=line.control_value,
        arm_value=line.arm_value,
        difference=line.difference,
        interval=line.always_valid.interval,
        one_look=line.interval,
    )
