"""Sums of a unit's own events, within a window from its first exposure.

An event names a unit and no decision. So it belongs to the arm of the unit's first decision, and only what happened after that
decision's windows opened counts. An event happened when it says, but never after we got it. It counts if we got it before its
unit is counted: a unit's value is final from then on, and a later report does not change it. The primary key of ``events`` keeps
a repeated event from counting twice.
"""

from typing import Final

LARGEST: Final = "1e12"  # a property beyond it is no amount

# A unit is followed as long as its comparison lasts: one whose window reaches beyond a change of shares that ends it is left out,
# whatever it does.
_FIRST = """
    SELECT arm, segment, stretch, unit_id, count(*) AS decisions, min(opened_at) AS first,
        min(opened_at) + make_interval(secs => :window_s) AS closes, min(ends_at) AS ends_at
    FROM scope GROUP BY arm, segment, stretch, unit_id
"""
_HAPPENED = "least(e.occurred_at, e.received_at)"
_COUNTED_AT = "f.closes + make_interval(secs => :late_s)"
_IN_WINDOW = f"""
    e.unit_id = f.unit_id AND e.name = :event AND octet_length(e.event_id) > 0
    AND {_HAPPENED} >= f.first AND {_HAPPENED} < f.closes
"""
_IS_NUMBER = "json_typeof(e.properties #> CAST(:path AS text[])) = 'number'"
_AMOUNT = f"""
    CASE WHEN {_IS_NUMBER} THEN CASE WHEN abs((e.properties #>> CAST(:path AS text[]))::numeric) <= {LARGEST}
        THEN (e.properties #>> CAST(:path AS text[]))::numeric::float8 END END
"""


def _units(value: str) -> str:
    return f"""
        SELECT f.arm, f.segment, f.stretch, f.unit_id, f.decisions, {value} AS num, 1 AS den
        FROM ({_FIRST}) f LEFT JOIN events e ON {_IN_WINDOW} AND e.received_at <= {_COUNTED_AT}
        WHERE f.closes <= f.ends_at AND (CAST(:open AS boolean) OR {_COUNTED_AT} <= :as_of)
        GROUP BY f.arm, f.segment, f.stretch, f.unit_id, f.decisions
    """


UNITS: Final = {  # by the kind of sum: one row per unit, from the outcomes ``scope`` of one experiment
    "event/happened": _units("(count(e.event_id) > 0)::int"),
    "event/count": _units("count(e.event_id)"),
    "event/sum": _units(f"coalesce(sum({_AMOUNT}), 0)"),
}
COUNTS: Final = f"""
    WITH scope AS ({{scope}}), f AS ({_FIRST})
    SELECT (SELECT count(*) FROM f WHERE {_COUNTED_AT} > :as_of)::int AS waiting,
        (count(*) FILTER (WHERE e.received_at > {_COUNTED_AT}))::int AS late,
        (count(*) FILTER (WHERE CAST(:path AS text[]) IS NOT NULL AND {_AMOUNT} IS NULL))::int AS unreadable
    FROM f JOIN events e ON {_IN_WINDOW}
"""
