-- Which records were removed because their time was over. Each row is one run without a hole: `before` is the hash of
-- the record in front of it and `hash` that of its last one, so that the chain can be followed over what is gone.

CREATE TABLE removed_run (
    gateway text NOT NULL,
    first_seq bigint NOT NULL CHECK (first_seq > 0),
    last_seq bigint NOT NULL CHECK (last_seq >= first_seq),
    before bytea NOT NULL CHECK (octet_length(before) = 32),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    first_sample timestamptz NOT NULL,
    last_sample timestamptz NOT NULL CHECK (last_sample >= first_sample),
    samples bigint NOT NULL,
    bytes bigint NOT NULL,
    policy text NOT NULL,
    removed timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (gateway, first_seq)
);
CREATE INDEX removed_run_time ON removed_run (gateway, last_sample);

CREATE FUNCTION refuse_removed_run_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER removed_run_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON removed_run
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_removed_run_change();

-- Drops the months (native partitions) or chunks that end at or before `before` and hold no row; returns their number.
CREATE FUNCTION drop_empty_pieces(name text, before timestamptz) RETURNS integer
    LANGUAGE plpgsql
    AS $$
DECLARE
    piece record;
    is_empty boolean;
    dropped integer := 0;
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = to_regclass(quote_ident(name))) = 'p' THEN
        FOR piece IN
            SELECT inhrelid::regclass AS id FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
            WHERE inhparent = to_regclass(quote_ident(name)) AND relname ~ '_\d{4}_\d{2}$'
              AND (to_date(right(relname, 7), 'YYYY_MM') + INTERVAL '1 month') AT TIME ZONE 'UTC' <= before
        LOOP
            EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s)', piece.id) INTO is_empty;
            IF is_empty THEN
                -- Detached in one transaction with the drop: who inserts meanwhile waits and makes the month anew.
                EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', piece.id);
                EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s)', piece.id) INTO is_empty;
            END IF;
            IF is_empty THEN
                EXECUTE format('ALTER TABLE %I DETACH PARTITION %s', name, piece.id);
                EXECUTE format('DROP TABLE %s', piece.id);
                dropped := dropped + 1;
            END IF;
        END LOOP;
    ELSE
        FOR piece IN
            EXECUTE 'SELECT format(''%I.%I'', chunk_schema, chunk_name)::regclass AS id, range_start, range_end'
                ' FROM timescaledb_information.chunks WHERE hypertable_name = $1 AND range_end <= $2'
            USING name, before
        LOOP
            EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s)', piece.id) INTO is_empty;
            IF is_empty THEN
                EXECUTE 'SELECT drop_chunks($1::regclass, older_than => $2, newer_than => $3)'
                USING quote_ident(name), piece.range_end, piece.range_start;
                dropped := dropped + 1;
            END IF;
        END LOOP;
    END IF;
    RETURN dropped;
END
$$;
