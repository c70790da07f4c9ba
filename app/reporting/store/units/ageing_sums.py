"""Sums of what units do step by step since their first exposure, and of their sessions from events.

The segment of a row is "step:cohort". A unit counts in a step once it was followed through all of it, as long as its
comparison lasts (see ``event_sums``), so every row of a step rests on the same time for all units. The cohort is the step of
the calendar in which a unit was first seen.
"""

from typing import Final

# Nothing is joined here: a planner that takes many units for one would join them in loops.
_OF_UNIT = "PARTITION BY arm, stretch, unit_id"
_IN_STEPS = f"""
    SELECT arm, stretch, unit_id, first, ends_at,
        floor(extract(epoch FROM first - CAST(:began AS timestamptz)) / :step_s)::int AS cohort,
        floor(extract(epoch FROM opened_at - first) / :step_s)::int AS k, sum(reward) AS total, count(*) AS decisions
    FROM (
        SELECT arm, stretch, unit_id, opened_at, reward, min(opened_at) OVER u AS first, min(ends_at) OVER u AS ends_at
        FROM scope WINDOW u AS ({_OF_UNIT})
    ) seen GROUP BY 1, 2, 3, 4, 5, 6, 7
"""
_ENDS = "least(CAST(:settled AS timestamptz), coalesce(CAST(:until AS timestamptz), 'infinity'), {row}.ends_at)"


def _step(value: str) -> str:
    return f"""
        SELECT u.arm, g.k || ':' || u.cohort AS segment, u.stretch, u.unit_id, u.decisions, {value} AS num, 1 AS den
        FROM (
            SELECT arm, stretch, unit_id, first, ends_at, cohort, sum(decisions) AS decisions, array_agg(k) AS steps,
                array_agg(total) AS totals
            FROM ({_IN_STEPS}) w GROUP BY arm, stretch, unit_id, first, ends_at, cohort
        ) u CROSS JOIN generate_series(0, CAST(:last AS int)) AS g (k)
        CROSS JOIN LATERAL (SELECT array_position(u.steps, g.k) AS place) p
        WHERE u.first + make_interval(secs => :step_s * (g.k + 1)) <= {_ENDS.format(row="u")}
    """


# Of units that were followed through all steps: the mean of some steps minus the mean of earlier ones.
_CHANGE = f"""
    SELECT w.arm, '0:' || w.cohort AS segment, w.stretch, w.unit_id, sum(w.decisions) AS decisions,
        coalesce(sum(w.total) FILTER (WHERE w.k BETWEEN :from_step AND :last), 0)
            / (CAST(:last AS int) - CAST(:from_step AS int) + 1)
        - coalesce(sum(w.total) FILTER (WHERE w.k BETWEEN :base_from AND :base_to), 0)
            / (CAST(:base_to AS int) - CAST(:base_from AS int) + 1) AS num, 1 AS den
    FROM ({_IN_STEPS}) w
    WHERE w.first + make_interval(secs => :step_s * (CAST(:last AS int) + 1)) <= {_ENDS.format(row="w")}
    GROUP BY w.arm, w.cohort, w.stretch, w.unit_id
"""
_FIRST = """
    SELECT arm, stretch, unit_id, count(*) AS decisions, min(opened_at) AS first, min(ends_at) AS ends_at,
        floor(extract(epoch FROM min(opened_at) - CAST(:began AS timestamptz)) / :step_s)::int AS cohort
    FROM scope GROUP BY arm, stretch, unit_id
"""
# A session is a run of a unit's events with gaps of at most ``gap_s``; its length is the time from its first to its last event.
_EVENTS = f"""
    SELECT f.arm, f.cohort, f.stretch, f.unit_id, f.decisions, e.at, e.at - lag(e.at) OVER (
        PARTITION BY f.arm, f.stretch, f.unit_id ORDER BY e.at) AS gap
    FROM ({_FIRST}) f LEFT JOIN LATERAL (
        SELECT least(e.occurred_at, e.received_at) AS at FROM events e WHERE e.unit_id = f.unit_id
    ) e ON e.at >= f.first AND e.at < f.first + make_interval(secs => :window_s)
    WHERE f.first + make_interval(secs => :window_s) <= least(CAST(:now AS timestamptz), f.ends_at)
"""
_IS_NEW = "(v.at IS NOT NULL AND (v.gap IS NULL OR v.gap > make_interval(secs => :gap_s)))"


def _sessions(num: str, den: str) -> str:
    return f"""
        SELECT v.arm, '0:' || v.cohort AS segment, v.stretch, v.unit_id, v.decisions, {num} AS num, {den} AS den
        FROM ({_EVENTS}) v GROUP BY v.arm, v.cohort, v.stretch, v.unit_id, v.decisions
    """


_COUNT = f"count(*) FILTER (WHERE {_IS_NEW})"
_LENGTH = "coalesce(sum(extract(epoch FROM v.gap)) FILTER (WHERE v.gap <= make_interval(secs => :gap_s)), 0)"
UNITS: Final = {
    "age/reward": _step("coalesce(u.totals[p.place], 0)"),
    "age/seen": _step("(p.place IS NOT NULL)::int"),
    "age/change": _CHANGE,
    "age/sessions": _sessions(_COUNT, "1"),
    "age/session_length": _sessions(_LENGTH, _COUNT),
}
