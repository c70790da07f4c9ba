"""Sums over units of the global holdout and over all others, since experiments shipped something.

The hash that holds a unit back is computed here, too, so that the sums need no list of units: HMAC-SHA256 (RFC 2104) by means of
PostgreSQL's ``sha256``. A unit's first eight bytes are compared with a bound, as ``bandits.distribution.held_back`` does.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

from app.reporting.store.metric_sums import ArmSums
from bandits.distribution import HOLDOUT

HELD, TREATED = "holdout", "everybody else"
_BLOCK, _BITS = 64, 53


class Shipped(NamedTuple):
    """An experiment with an arm that decides for everybody."""

    experiment_id: int
    key: str
    arm: str
    since: datetime  # when it was shipped, or later, when the holdout began


class Groups(NamedTuple):
    """Who is in the holdout, by the hash of a unit."""

    salt: bytes
    always: float  # share of units that were in it all the time
    ever: float  # share of units that were in it at some time

    def values(self) -> dict[str, bytes]:
        """The parameters of ``_GROUP``."""
        key = self.salt.ljust(_BLOCK, b"\0")
        return {
            "inner": bytes(byte ^ 0x36 for byte in key) + HOLDOUT,
            "outer": bytes(byte ^ 0x5C for byte in key),
            "held_below": _bound(self.always),
            "treated_from": _bound(self.ever),
        }


class EventSum(NamedTuple):
    """What is summed of a unit's events."""

    event: str
    value: str  # a key of ``_VALUES``
    path: list[str] | None  # of the property that is summed
    window_s: float  # from the unit's first decision in one of the experiments


def _bound(share: float) -> bytes:
    """The first eight bytes of a hash lie below it exactly if the unit's number in [0, 1) lies below the share."""
    bound: int = math.ceil(share * 2**_BITS) << (64 - _BITS)
    return bound.to_bytes(8, "big")


_GROUP: Final = f"""
    CASE WHEN h.head < CAST(:held_below AS bytea) THEN '{HELD}' WHEN h.head >= CAST(:treated_from AS bytea) THEN '{TREATED}' END
"""
_UNITS: Final = """
    SELECT {experiment} AS experiment_id, o.unit_id, count(*) AS decisions, sum(o.reward) AS num,
        min(coalesce(o.opened_at, o.decided_at)) AS first
    FROM unnest(CAST(:ids AS bigint[]), CAST(:sinces AS timestamptz[])) s (experiment_id, since)
    JOIN analysed_all o ON o.experiment_id = s.experiment_id AND o.decided_at >= s.since
    GROUP BY 1, 2
"""
_EVENTS: Final = """
    SELECT u.experiment_id, u.unit_id, u.decisions, {value} AS num, u.first
    FROM units u LEFT JOIN events e ON e.unit_id = u.unit_id AND e.name = :event AND octet_length(e.event_id) > 0
        AND least(e.occurred_at, e.received_at) >= u.first
        AND least(e.occurred_at, e.received_at) < u.first + make_interval(secs => :window_s)
    WHERE u.first + make_interval(secs => :window_s) <= clock_timestamp()
    GROUP BY u.experiment_id, u.unit_id, u.decisions, u.first
"""
_VALUES: Final = {
    "happened": "(count(e.event_id) > 0)::int",
    "count": "count(e.event_id)",
    "sum": """coalesce(sum(CASE WHEN json_typeof(e.properties #> CAST(:path AS text[])) = 'number'
        THEN CASE WHEN abs((e.properties #>> CAST(:path AS text[]))::numeric) <= 1e12
            THEN (e.properties #>> CAST(:path AS text[]))::numeric::float8 END END), 0)""",
}
_SUMS: Final = """
    WITH units AS ({units}), valued AS ({valued})
    SELECT v.experiment_id, g.name AS arm, count(*)::int AS units, sum(v.decisions)::bigint AS decisions,
        avg(v.num::float8) AS mean_num, var_pop(v.num::float8) AS var_num, avg(abs(v.num::float8)) AS mean_size,
        bool_and(v.num IN (0, 1)) AS binary
    FROM valued v CROSS JOIN LATERAL (
        SELECT substring(sha256(CAST(:outer AS bytea) || sha256(CAST(:inner AS bytea) || convert_to(v.unit_id, 'UTF8')))
            FROM 1 FOR 8) AS head
    ) h CROSS JOIN LATERAL (SELECT {group} AS name) g
    GROUP BY v.experiment_id, g.name
"""


def sums(
    connection: Connection,
    shipped: Sequence[Shipped],
    groups: Groups,
    events: EventSum | None = None,
    *,
    together: bool = False,
) -> dict[int | None, list[ArmSums]]:
    """Sums over units that had a decision in these experiments since they shipped: of rewards, or of the units' events.

    :param together: over all experiments at once, under the key None; else by experiment.
    :returns: of the two groups. Units that were in the holdout for a part of the time are in neither.
    """
    units = _UNITS.format(experiment="NULL::bigint" if together else "o.experiment_id")
    valued = "SELECT * FROM units" if events is None else _EVENTS.format(value=_VALUES[events.value])
    values: dict[str, object] = {
        "ids": [row.experiment_id for row in shipped],
        "sinces": [row.since for row in shipped],
        **groups.values(),
    }
    if events is not None:
        values |= events._asdict()
    query = _SUMS.format(units=units, valued=valued, group=_GROUP)
    found: dict[int | None, list[ArmSums]] = {}
    for row in connection.execute(text(query), {name: value for name, value in values.items() if f":{name}" in query}):
        if row.arm is not None:
            found.setdefault(row.experiment_id, []).append(
                ArmSums(
                    arm=row.arm,
                    segment=None,
                    stretch=0,
                    units=row.units,
                    decisions=row.decisions,
                    mean_num=row.mean_num,
                    mean_den=1.0,
                    var_num=row.var_num,
                    var_den=0.0,
                    cov=0.0,
                    mean_size=row.mean_size,
                    binary=row.binary,
                )
            )
    return found
