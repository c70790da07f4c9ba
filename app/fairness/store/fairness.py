"""Reads what measures of fairness need: sums of exposure, sums of groups of people, and the paths of some people."""

from collections.abc import Sequence
from typing import NamedTuple

from pydantic import JsonValue
from sqlalchemy import Connection, text

from app.foundation.store.fragments import ITS_OUTCOME, KNOWN_CHANCES, NOT_TRIAL, its_decision

BLOCKS = 20  # of units, for the jackknife
MOST_VALUES = 8  # of a field of people; the rest is one value
OTHER = "(other)"

# A settled decision of people who may be analysed. The newest are found through the index of times.
_NEWEST = f"""
    SELECT d.arm, d.unit_id, d.eligible, {KNOWN_CHANCES} AS chances, d.chosen, d.propensity, o.reward
    FROM (
        SELECT * FROM decisions WHERE experiment_id = :id AND {NOT_TRIAL} ORDER BY decided_at DESC LIMIT :most
    ) d JOIN analysed o ON {ITS_OUTCOME}
"""
_EXPOSURE = text(
    f"""
    SELECT n.arm, x.action, (hashtext(n.unit_id) & 1023) % {BLOCKS} AS block, sum(x.chance) AS exposed,
        count(*) FILTER (WHERE x.place = n.chosen + 1)::int AS drawn,
        coalesce(sum(n.reward / n.propensity) FILTER (WHERE x.place = n.chosen + 1), 0) AS reward,
        coalesce(sum(1 / n.propensity) FILTER (WHERE x.place = n.chosen + 1), 0) AS weight
    FROM ({_NEWEST}) n CROSS JOIN LATERAL unnest(n.eligible, n.chances) WITH ORDINALITY AS x (action, chance, place)
    WHERE n.propensity > 0 GROUP BY 1, 2, 3
    """
)
_UNITS = text(f"SELECT arm, count(DISTINCT unit_id)::int AS units FROM ({_NEWEST}) n GROUP BY arm")
_SIZE = text(
    """
    SELECT coalesce(max(cardinality(eligible)), 0)
    FROM (SELECT eligible FROM decisions WHERE experiment_id = :id ORDER BY decided_at DESC LIMIT 200) d
    """
)
_FEATURES = text(
    """
    SELECT a.value ->> 'id' AS action, a.value -> 'features' AS features
    FROM (
        SELECT actions FROM decisions WHERE experiment_id = :id AND actions IS NOT NULL ORDER BY decided_at DESC LIMIT 500
    ) d CROSS JOIN LATERAL json_array_elements(d.actions) a
    """
)
# A unit's group is its value at its first decision. A unit that was seen in two arms is in no cell.
_PEOPLE = text(
    f"""
    WITH u AS (
        SELECT o.unit_id, min(o.arm) AS arm, count(*)::float8 AS k, sum(o.reward) AS s, o.experiment_id,
            min(o.decided_at) AS decided_at,
            (array_agg(o.decision_id ORDER BY o.decided_at, o.decision_id))[1] AS decision_id
        FROM analysed o WHERE o.experiment_id = :id GROUP BY o.unit_id, o.experiment_id HAVING min(o.arm) = max(o.arm)
    ), x AS (
        SELECT u.arm, f.field, coalesce(d.context ->> f.field, '') AS value, count(*)::float8 AS units, sum(u.k) AS decisions,
            sum(u.s) AS reward, sum(u.k * u.k) AS decisions_2, sum(u.s * u.s) AS reward_2, sum(u.k * u.s) AS product
        FROM u JOIN decisions d ON {its_decision("u", "u.decided_at")} CROSS JOIN unnest(CAST(:fields AS text[])) AS f (field)
        GROUP BY 1, 2, 3
    ), ranked AS (
        SELECT field, value, row_number() OVER (PARTITION BY field ORDER BY sum(units) DESC, value) AS place
        FROM x GROUP BY 1, 2
    )
    SELECT x.arm, x.field, CASE WHEN r.place <= {MOST_VALUES} THEN x.value ELSE '{OTHER}' END AS value,
        sum(units) AS units, sum(decisions) AS decisions, sum(reward) AS reward, sum(decisions_2) AS decisions_2,
        sum(reward_2) AS reward_2, sum(product) AS product
    FROM x JOIN ranked r ON r.field = x.field AND r.value = x.value GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    """
)
# People in an order that says nothing of them, until their decisions fill the budget.
_PATHS = text(
    f"""
    WITH u AS (
        SELECT unit_id, min(arm) AS arm, least(count(*), :longest) AS n FROM analysed WHERE experiment_id = :id
        GROUP BY unit_id HAVING min(arm) = max(arm) AND count(*) >= :least
    ), s AS (
        SELECT unit_id, n, sum(n) OVER (ORDER BY md5(unit_id), unit_id) AS total FROM u
    )
    SELECT * FROM (
        SELECT d.unit_id, d.arm, d.eligible, {KNOWN_CHANCES} AS chances, d.chosen,
            row_number() OVER (PARTITION BY d.unit_id ORDER BY d.decided_at, d.id) AS place
        FROM s JOIN analysed o ON o.unit_id = s.unit_id
            JOIN decisions d ON {its_decision("o", "o.decided_at")}
        WHERE o.experiment_id = :id AND s.total <= :most
    ) p WHERE place <= :longest ORDER BY unit_id, place
    """
)


class ExposureRow(NamedTuple):
    """What an action got in an arm, among the units of one block."""

    arm: str
    action: str
    block: int
    exposed: float  # sum of logged probabilities
    drawn: int
    reward: float  # sum of reward / propensity over the decisions that drew it
    weight: float  # sum of 1 / propensity over them


class PeopleRow(NamedTuple):
    """Sums over the units of an arm with one value of a field."""

    arm: str
    field: str
    value: str  # empty: the first decision of these units has none
    units: float
    decisions: float
    reward: float
    decisions_2: float
    reward_2: float
    product: float


class PathRow(NamedTuple):
    """One decision of a person; a person's rows follow each other in time."""

    unit_id: str
    arm: str
    eligible: list[str]
    chances: list[float]
    chosen: int
    place: int  # from 1


def widest(connection: Connection, experiment_id: int) -> int:
    """The most eligible actions among the newest 200 decisions; 0 without decisions."""
    return int(connection.execute(_SIZE, {"id": experiment_id}).scalar_one())


def exposure(connection: Connection, experiment_id: int, most: int) -> list[ExposureRow]:
    """What each action got in the newest settled decisions, ``most`` at most."""
    rows = connection.execute(_EXPOSURE, {"id": experiment_id, "most": most})
    return [ExposureRow._make(row) for row in rows]


def units(connection: Connection, experiment_id: int, most: int) -> dict[str, int]:
    """By arm, the units of these decisions."""
    return {row.arm: row.units for row in connection.execute(_UNITS, {"id": experiment_id, "most": most})}


def features(connection: Connection, experiment_id: int) -> dict[str, JsonValue]:
    """By action, the newest features that calls brought along."""
    found: dict[str, JsonValue] = {}
    for action, brought in connection.execute(_FEATURES, {"id": experiment_id}):
        found.setdefault(action, brought)
    return found


def people(connection: Connection, experiment_id: int, fields: Sequence[str]) -> list[PeopleRow]:
    """Sums over units by arm and by the values of fields."""
    rows = connection.execute(_PEOPLE, {"id": experiment_id, "fields": list(fields)})
    return [PeopleRow._make(row) for row in rows]


def paths(connection: Connection, experiment_id: int, least: int, longest: int, most: int) -> list[PathRow]:
    """The first decisions, ``longest`` at most, of people with ``least`` or more; ``most`` decisions in all."""
    given = {"id": experiment_id, "least": least, "longest": longest, "most": most}
    return [PathRow._make(row) for row in connection.execute(_PATHS, given)]
