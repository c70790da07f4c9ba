"""Sums of each unit, kept from report to report; an outcome that changes or goes makes those of its experiment stale."""

from alembic import op

from migrations import online

revision = "0018"
down_revision = "0017"

# Whoever changes or deletes outcomes waits for a report that counts them at the moment, and then makes its sums stale. The
# sums of the units go at once: nothing of a unit may stay that was erased.
CHANGED = """
    CREATE OR REPLACE FUNCTION outcomes_changed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE unit_sum_states SET stale = true WHERE experiment_id IN (SELECT experiment_id FROM gone);
        DELETE FROM unit_sums u USING (SELECT DISTINCT experiment_id, unit_id FROM gone) g
        WHERE u.experiment_id = g.experiment_id AND u.unit_id = g.unit_id;
        RETURN NULL;
    END $$
"""
TRIGGER = """
    CREATE OR REPLACE TRIGGER {name} AFTER {event} ON outcomes REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION outcomes_changed()
"""


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE IF NOT EXISTS unit_sums (
            experiment_id BIGINT NOT NULL,
            unit_id TEXT NOT NULL,
            arm TEXT NOT NULL,
            decisions BIGINT NOT NULL,
            reward DOUBLE PRECISION NOT NULL,
            first_at TIMESTAMPTZ NOT NULL,
            last_at TIMESTAMPTZ NOT NULL,
            PRIMARY KEY (experiment_id, unit_id, arm)
        ) WITH (fillfactor = 80)
        """
    )
    op.execute(
        """
        CREATE TABLE IF NOT EXISTS unit_sum_states (
            experiment_id BIGINT PRIMARY KEY,
            created_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
            built_at TIMESTAMPTZ,
            settled_before TIMESTAMPTZ,
            decided_before TIMESTAMPTZ,
            newest_at TIMESTAMPTZ,
            stale BOOLEAN NOT NULL DEFAULT true,
            ahead BOOLEAN NOT NULL DEFAULT false
        )
        """
    )
    op.execute(CHANGED)
    with op.get_context().autocommit_block():
        online.brief(*(TRIGGER.format(name=f"outcomes_{event.lower()}", event=event) for event in ("UPDATE", "DELETE")))
