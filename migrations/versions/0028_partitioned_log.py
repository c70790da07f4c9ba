"""The log of decisions in partitions by time, and a table of ids that keeps them unique within their experiment.

Programs of before go on meanwhile, and until they are restarted: triggers keep the table of ids for them, and their index
of ids stays for an hour (``app.foundation.store.old_keys``).
"""

from alembic import op
from sqlalchemy import text

from app.foundation.store.partitions import DEFAULT, EARLY, LIKE
from migrations import online

revision = "0028"
down_revision = "0027"

IDS = """
    CREATE TABLE IF NOT EXISTS decision_ids (decision_id TEXT NOT NULL, experiment_id BIGINT NOT NULL,
        decided_at TIMESTAMP WITH TIME ZONE NOT NULL, PRIMARY KEY (decision_id, experiment_id))
"""
# While the log is one table: every row that is stored or changed has its id there.
FOLLOW = """
    CREATE OR REPLACE FUNCTION decisions_followed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO decision_ids VALUES (NEW.id, NEW.experiment_id, NEW.decided_at) ON CONFLICT DO NOTHING;
        RETURN NULL;
    END $$
"""
FOLLOWED = """
    CREATE OR REPLACE TRIGGER decisions_followed AFTER INSERT OR UPDATE ON decisions
    FOR EACH ROW EXECUTE FUNCTION decisions_followed()
"""
# For ever: an id goes with its decision, whoever deletes that.
FORGET = """
    CREATE OR REPLACE FUNCTION decisions_deleted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        DELETE FROM decision_ids k USING gone g WHERE k.decision_id = g.id AND k.experiment_id = g.experiment_id;
        RETURN NULL;
    END $$
"""
FORGOTTEN = """
    CREATE OR REPLACE TRIGGER decisions_deleted AFTER DELETE ON decisions REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION decisions_deleted()
"""
# Once the log has partitions, programs of before store a row only if its id is new. Our own statements have just named theirs.
NAME = """
    CREATE OR REPLACE FUNCTION decisions_named() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO decision_ids VALUES (NEW.id, NEW.experiment_id, NEW.decided_at) ON CONFLICT DO NOTHING;
        IF FOUND OR EXISTS (SELECT FROM decision_ids k WHERE k.decision_id = NEW.id AND k.experiment_id = NEW.experiment_id
                AND k.decided_at = NEW.decided_at AND k.xmin = pg_current_xact_id()::xid) THEN
            RETURN NEW;
        END IF;
        RETURN NULL;
    END $$
"""
BLOCKS = 500  # of the table in one transaction: some 8,000 rows
FILL = """
    INSERT INTO decision_ids SELECT id, experiment_id, decided_at FROM decisions
    WHERE ctid >= CAST(:low AS tid) AND ctid < CAST(:high AS tid) ON CONFLICT DO NOTHING
"""
# A dump that was made in the middle of this has its rows in other blocks.
FILL_REST = """
    INSERT INTO decision_ids SELECT id, experiment_id, decided_at FROM decisions d WHERE NOT EXISTS (
        SELECT FROM decision_ids k WHERE k.decision_id = d.id AND k.experiment_id = d.experiment_id) ON CONFLICT DO NOTHING
"""
# Deleted by a program of before after its block was read and before its id was stored.
FORGET_REST = """
    DELETE FROM decision_ids k WHERE NOT EXISTS (SELECT FROM decisions d
        WHERE d.experiment_id = k.experiment_id AND d.decided_at = k.decided_at AND d.id = k.decision_id)
"""
# Nobody decides after the cut for a month at least, unless the clock steps: so the check, which spares the switch a look at
# every row, refuses nobody.
CUT = "SELECT date_trunc('month', clock_timestamp() + interval '2 months', 'UTC')::text"
CHECKED = "decisions_before_cut"
INDEXES = {
    "decisions_experiment_time": "(experiment_id, decided_at, id)",
    "decisions_unit": "(unit_id, decided_at)",
    "decisions_contacts": "(unit_id, decided_at) WHERE channel IS NOT NULL",
}

# What depends on whether decisions, or experiments that may make some, are there. Without any, the first partition ends with this
# month's begin, and there are no programs of before.
ATTACH = """
    DO $$ BEGIN
    IF EXISTS (SELECT FROM decisions_early) OR EXISTS (SELECT FROM experiments) THEN
        ALTER TABLE decisions ATTACH PARTITION decisions_early FOR VALUES FROM (MINVALUE) TO ('-cut-');
        ALTER TABLE decisions_early RENAME CONSTRAINT decisions_pkey TO decisions_early_old_key;
        EXECUTE format('COMMENT ON INDEX decisions_early_old_key IS %L', clock_timestamp());
        CREATE TRIGGER decisions_named BEFORE INSERT ON decisions FOR EACH ROW EXECUTE FUNCTION decisions_named();
    ELSE
        EXECUTE format('ALTER TABLE decisions ATTACH PARTITION decisions_early FOR VALUES FROM (MINVALUE) TO (%L)',
            date_trunc('month', clock_timestamp(), 'UTC'));
        ALTER TABLE decisions_early DROP CONSTRAINT decisions_pkey;
        DROP FUNCTION decisions_named();
    END IF; END $$
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        if not _is_partitioned():
            for statement in (IDS, FOLLOW, FORGET, NAME):
                op.execute(statement)
            online.brief(FOLLOWED, FORGOTTEN)
            _fill()
            online.replace_index("decisions_experiment_time", "decisions (experiment_id, decided_at, id)")
            _switch(_check())
        op.execute(FORGET_REST)
        op.execute("DROP FUNCTION IF EXISTS decisions_followed()")
        op.execute("ANALYZE decision_ids")
        op.execute("ANALYZE decisions")


def _is_partitioned() -> bool:
    kind = "SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass('decisions')"
    return bool(op.get_bind().execute(text(kind)).scalar_one())


def _fill() -> None:
    """Store the ids of all rows, a partition of the table at a time; a comment says how far that has come."""
    connection = op.get_bind()
    blocks = "SELECT pg_relation_size(to_regclass('decisions')) / current_setting('block_size')::int"
    most = int(connection.execute(text(blocks)).scalar_one())
    done = connection.execute(text("SELECT obj_description(to_regclass('decision_ids'), 'pg_class')")).scalar()
    for low in range(int(done or 0), most + 1, BLOCKS):
        values = {"low": f"({low},0)", "high": f"({low + BLOCKS},0)"}
        connection.execute(text(FILL), values)
        connection.execute(text(f"COMMENT ON TABLE decision_ids IS '{low}'"))
    connection.execute(text(FILL_REST))


def _check() -> str:
    """Prove that the log ends before the cut, beside the writers; returns the cut."""
    connection = op.get_bind()
    cut = str(connection.execute(text(CUT)).scalar_one())
    online.brief(
        f"ALTER TABLE decisions DROP CONSTRAINT IF EXISTS {CHECKED}",
        f"ALTER TABLE decisions ADD CONSTRAINT {CHECKED} CHECK (decided_at < '{cut}') NOT VALID",
    )
    connection.execute(text(f"ALTER TABLE decisions VALIDATE CONSTRAINT {CHECKED}"))
    return cut


def _switch(cut: str) -> None:
    """Make the table the first partition of the log, in a moment."""
    rename = [f"ALTER INDEX {name} RENAME TO {name.replace('decisions', EARLY)}" for name in INDEXES]
    index = [f"CREATE INDEX {name} ON decisions USING btree {columns}" for name, columns in INDEXES.items()]
    online.brief(
        "LOCK TABLE decisions IN ACCESS EXCLUSIVE MODE",
        "DROP TRIGGER decisions_followed ON decisions",
        "DROP TRIGGER decisions_deleted ON decisions",
        f"ALTER TABLE decisions RENAME TO {EARLY}",
        *rename,
        f"CREATE TABLE decisions ({LIKE.replace('decisions', EARLY)}) PARTITION BY RANGE (decided_at)",
        f"ALTER TABLE decisions DROP CONSTRAINT {CHECKED}",
        f"CREATE TABLE {DEFAULT} PARTITION OF decisions DEFAULT",
        *index,
        FORGOTTEN,
        ATTACH.replace("-cut-", cut),
        f"ALTER TABLE {EARLY} DROP CONSTRAINT {CHECKED}",
        "COMMENT ON TABLE decision_ids IS NULL",
    )
