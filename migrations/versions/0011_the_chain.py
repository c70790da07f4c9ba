"""Links over the rows of each commit batch, and anchors that join links into a chain."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute(
        """
        CREATE SEQUENCE IF NOT EXISTS log_links_id_seq;
        CREATE TABLE IF NOT EXISTS log_links (
            id BIGINT NOT NULL PRIMARY KEY DEFAULT nextval('log_links_id_seq'),
            kind TEXT NOT NULL,
            at TIMESTAMP WITH TIME ZONE NOT NULL,
            parts JSONB NOT NULL,
            tag BYTEA NOT NULL,
            anchor BIGINT
        );
        CREATE INDEX IF NOT EXISTS log_links_at ON log_links USING brin (at, anchor) WITH (pages_per_range = 16);
        CREATE INDEX IF NOT EXISTS log_links_new ON log_links (id) WHERE anchor IS NULL;
        CREATE TABLE IF NOT EXISTS log_anchors (
            number BIGINT NOT NULL PRIMARY KEY,
            at TIMESTAMP WITH TIME ZONE NOT NULL,
            links BIGINT NOT NULL,
            hi BIGINT NOT NULL,
            lo BIGINT NOT NULL,
            tag BYTEA NOT NULL
        );
        CREATE OR REPLACE FUNCTION add_link(
            of_kind TEXT, of_time TIMESTAMP WITH TIME ZONE, sign INTEGER, experiments BIGINT[], hashes BYTEA[], chain_key BYTEA
        ) RETURNS BIGINT LANGUAGE plpgsql AS $$
        DECLARE
            number BIGINT := nextval('log_links_id_seq');
            content JSONB;
        BEGIN
            SELECT jsonb_object_agg(experiment, jsonb_build_array(
                sign * rows, substring(bits FROM 1 FOR 64)::bit(64)::bigint, substring(bits FROM 65)::bit(64)::bigint))
            INTO content FROM (
                SELECT experiment, count(*) AS rows, bit_xor(('x' || left(encode(hash, 'hex'), 32))::bit(128)) AS bits
                FROM unnest(experiments, hashes) AS u (experiment, hash) GROUP BY experiment
            ) of_experiments;
            INSERT INTO log_links (id, kind, at, parts, tag) VALUES (number, of_kind, of_time, content,
                sha256(chain_key || record_send(ROW('link', number, of_kind, of_time, content))));
            RETURN number;
        END $$;
        INSERT INTO log_anchors VALUES (0, clock_timestamp(), 0, 0, 0, '') ON CONFLICT DO NOTHING
        """
    )
