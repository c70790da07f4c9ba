"""Views for BI tools, in the schema ``bi``: what an analyst may read, in the words of the documentation, and nothing else.

They are not migrations. ``migrate`` drops them before a migration changes what they read, and makes them again. Rights are
default rights of the schema, so they outlive that.
"""

import hashlib
import re
import secrets
from typing import Final

from sqlalchemy import Connection, Engine, text

from app.foundation.errors import Conflict, FieldError
from app.foundation.fields import invalid
from app.foundation.store import platform
from app.foundation.store.engine import transaction

NAME: Final = re.compile(r"[a-z][a-z0-9_]{2,62}")
# Units without consent to be analysed, or left out of the reports, are left out here, too, as they are of `analysed`.
VIEWS: Final = {
    "experiments": """
        SELECT e.key AS experiment, c.config->>'name' AS name, e.status, e.owner, c.config->>'control_arm' AS control_arm,
            e.created_at, e.started_at, e.concluded_at, e.conclusion, e.config_version
        FROM experiments e JOIN experiment_configs c ON c.experiment_id = e.id AND c.version = e.config_version
    """,
    "arms": """
        SELECT e.key AS experiment, arm->>'key' AS arm, (arm->>'share')::float8 AS share, arm->'policy'->>'type' AS policy,
            coalesce((arm->>'fallen_back')::boolean, false) AS fallen_back,
            coalesce((arm->>'apprentice')::boolean, false) AS apprentice
        FROM experiments e JOIN experiment_configs c ON c.experiment_id = e.id AND c.version = e.config_version
        CROSS JOIN LATERAL json_array_elements(c.config->'arms') arm
    """,
    "decisions": """
        SELECT e.key AS experiment, d.id AS decision_id, d.unit_id, d.arm, d.eligible[d.chosen + 1] AS action, d.propensity,
            d.context, d.channel, d.state, d.config_version, d.policy_version, d.decided_at,
            coalesce(d.holdout, false) AS global_holdout
        FROM decisions d JOIN experiments e ON e.id = d.experiment_id
        WHERE d.erased_at IS NULL AND d.state <> 'trial' AND NOT 'analyse' = ANY(coalesce(d.withheld, ARRAY[]::text[]))
            AND NOT EXISTS (SELECT FROM restrictions r WHERE r.unit_id = d.unit_id AND 'analyse' = ANY(r.denied))
            AND NOT EXISTS (
                SELECT FROM excluded_units x WHERE x.experiment_id = d.experiment_id AND x.unit_id = d.unit_id)
    """,
    "outcomes": """
        SELECT e.key AS experiment, o.decision_id, o.unit_id, o.arm, d.eligible[d.chosen + 1] AS action, o.reward,
            o.events AS reward_events, o.decided_at, o.settled_at
        FROM analysed o JOIN experiments e ON e.id = o.experiment_id
        JOIN decisions d ON d.id = o.decision_id AND d.experiment_id = o.experiment_id AND d.decided_at = o.decided_at
    """,
    "results_by_day": """
        SELECT e.key AS experiment, o.arm, (o.decided_at AT TIME ZONE 'UTC')::date AS day, count(*) AS decisions,
            count(DISTINCT o.unit_id) AS units, count(*) FILTER (WHERE o.events > 0) AS rewarded_decisions,
            sum(o.reward) AS reward_sum, avg(o.reward) AS reward_mean, stddev_samp(o.reward) AS reward_deviation
        FROM analysed o JOIN experiments e ON e.id = o.experiment_id GROUP BY 1, 2, 3
    """,
    "verdicts": """
        SELECT e.key AS experiment, l.summary->>'metric' AS metric, l.summary->>'arm' AS best_arm,
            (l.summary->>'lift')::float8 AS lift, (l.summary->'lift_interval'->>'low')::float8 AS lift_low,
            (l.summary->'lift_interval'->>'high')::float8 AS lift_high, l.summary->>'verdict' AS verdict, l.computed_at
        FROM latest l JOIN experiments e ON e.id = l.experiment_id WHERE l.kind = 'results'
    """,
}
_VERSION: Final = hashlib.sha256(repr(VIEWS).encode()).hexdigest()[:16]


def stale(connection: Connection) -> bool:
    """Whether the views are missing, or others than these; False where this user may not make them."""
    known = connection.execute(text("SELECT obj_description(to_regnamespace('bi'), 'pg_namespace')")).scalar_one()
    may = connection.execute(text("SELECT has_database_privilege(current_database(), 'CREATE')")).scalar_one()
    return bool(may) and known != _VERSION


def drop(connection: Connection) -> None:
    """Drop the views; their schema and its rights stay."""
    if connection.execute(text("SELECT to_regnamespace('bi') IS NOT NULL")).scalar_one():
        for name in VIEWS:
            connection.execute(text(f"DROP VIEW IF EXISTS bi.{name}"))
        connection.execute(text("COMMENT ON SCHEMA bi IS NULL"))


def create(connection: Connection) -> None:
    """Make the views anew."""
    connection.execute(text("CREATE SCHEMA IF NOT EXISTS bi"))
    drop(connection)
    for name, query in VIEWS.items():
        connection.execute(text(f"CREATE VIEW bi.{name} WITH (security_barrier) AS {query}"))
    connection.execute(text(f"COMMENT ON SCHEMA bi IS '{_VERSION}'"))


def give_access(engine: Engine, name: str) -> str:
    """Make a role of PostgreSQL that may read the views and nothing else; returns its password.

    :raises Unprocessable: this is not a name.
    :raises Conflict: there is a role of that name.
    """
    if NAME.fullmatch(name) is None:
        raise invalid((FieldError("/name", "reader_name"),))
    password = secrets.token_urlsafe(24)
    with transaction(engine) as connection:
        if connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": name}).first():
            raise Conflict("reader_exists", f"There is a role {name!r} already.")
        for statement in (
            f"CREATE ROLE {name} LOGIN PASSWORD '{password}' CONNECTION LIMIT 10",
            f"ALTER ROLE {name} SET default_transaction_read_only = on",
            f"ALTER ROLE {name} SET statement_timeout = '120s'",
            f"ALTER ROLE {name} SET search_path = bi",
            f"GRANT USAGE ON SCHEMA bi TO {name}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA bi TO {name}",
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA bi GRANT SELECT ON TABLES TO {name}",
        ):
            connection.execute(text(statement))
        platform.record_change(connection, actor="cli", kind="reader_created", after={"name": name})
    return password
