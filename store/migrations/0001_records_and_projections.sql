-- Signed records, the chain heads of the gateways, and the tables that are projections of the records.
--
-- Times are timestamptz; the code speaks milliseconds since 1970 (UTC). The time tables `record` and `interval` are
-- hypertables where TimescaleDB is loaded (functions of its Apache-licensed edition only) and natively partitioned by
-- month where it is not.

DO $$
BEGIN
    -- The loader defines this setting when it was preloaded; without it CREATE EXTENSION would end the session.
    IF current_setting('timescaledb.disable_load', true) IS NOT NULL
       AND EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
    THEN
        CREATE EXTENSION IF NOT EXISTS timescaledb;
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE WARNING 'this role may not create the extension timescaledb: native partitions are used';
END
$$;

CREATE FUNCTION epoch_ms(at timestamptz) RETURNS bigint
    LANGUAGE sql STABLE STRICT PARALLEL SAFE
    AS $$ SELECT round(date_part('epoch', at) * 1000)::bigint $$;

CREATE FUNCTION create_time_table(name text, columns text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
        EXECUTE format('CREATE TABLE %I (%s)', name, columns);
        PERFORM create_hypertable(
            name::regclass, 'time'::name, chunk_time_interval => INTERVAL '30 days', create_default_indexes => false);
    ELSE
        EXECUTE format('CREATE TABLE %I (%s) PARTITION BY RANGE (time)', name, columns);
        -- A device whose clock is wild must not make partitions without end.
        EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (MINVALUE) TO (%L)',
            name || '_before_2000', name, '2000-01-01 00:00:00+00');
        EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (MAXVALUE)',
            name || '_from_2100', name, '2100-01-01 00:00:00+00');
    END IF;
END
$$;

-- Those of the months (starts, UTC) from 2000 to 2099 that have no partition yet; none for hypertables.
CREATE FUNCTION months_without_partition(name text, months timestamptz[]) RETURNS SETOF timestamptz
    LANGUAGE sql STABLE
    AS $$
    SELECT month FROM unnest(months) AS month
    WHERE (SELECT relkind FROM pg_class WHERE oid = to_regclass(quote_ident(name))) = 'p'
      AND month >= '2000-01-01 00:00:00+00' AND month < '2100-01-01 00:00:00+00'
      AND to_regclass(quote_ident(name || to_char(month AT TIME ZONE 'UTC', '_YYYY_MM'))) IS NULL
$$;

CREATE FUNCTION make_partitions(name text, months timestamptz[]) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    month timestamptz;
    partition text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('make_partitions', 0));
    FOR month IN SELECT * FROM months_without_partition(name, months) LOOP
        partition := name || to_char(month AT TIME ZONE 'UTC', '_YYYY_MM');
        -- Attaching lets others read and insert meanwhile; CREATE TABLE ... PARTITION OF would lock them out.
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)',
            partition, name);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            name, partition, month, (month AT TIME ZONE 'UTC' + INTERVAL '1 month') AT TIME ZONE 'UTC');
    END LOOP;
END
$$;

CREATE TABLE gateway (
    id text PRIMARY KEY,
    name text NOT NULL,
    public_key bytea NOT NULL CHECK (octet_length(public_key) = 32),
    added timestamptz NOT NULL DEFAULT now()
);

-- The locked row of a gateway is what orders its writers and what catches forks.
CREATE TABLE chain_head (
    gateway text PRIMARY KEY REFERENCES gateway,
    seq bigint NOT NULL CHECK (seq >= 0),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32)
);

-- No foreign key to gateway: attaching a partition would then have to lock the gateways against writing.
-- A unique index of a hypertable or a partitioned table must contain its time column.
SELECT create_time_table('record', $$
    gateway text NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    time timestamptz NOT NULL,
    first_sample timestamptz,
    last_sample timestamptz CHECK (last_sample >= first_sample),
    kind smallint NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    descriptor_hash bytea NOT NULL CHECK (octet_length(descriptor_hash) = 32),
    samples integer NOT NULL,
    data bytea STORAGE EXTERNAL NOT NULL,
    received timestamptz NOT NULL,
    CHECK ((first_sample IS NULL) = (last_sample IS NULL)),
    PRIMARY KEY (gateway, seq, time)
$$);
CREATE INDEX record_begin ON record (gateway, coalesce(first_sample, time));
CREATE INDEX record_descriptor ON record (gateway, hash) WHERE kind = 1;

-- The longest stretch of samples in one record of a gateway: how far before a range a record can begin that reaches into it.
CREATE TABLE record_span (
    gateway text PRIMARY KEY,
    longest_ms bigint NOT NULL
);

CREATE TABLE series (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    gateway text NOT NULL
);
CREATE INDEX series_gateway ON series (gateway);

SELECT create_time_table('interval', $$
    series integer NOT NULL,
    time timestamptz NOT NULL,
    first double precision,
    last double precision,
    minimum double precision,
    maximum double precision,
    sum double precision,
    count integer NOT NULL,
    mean double precision,
    increase double precision,
    coverage double precision NOT NULL CHECK (coverage BETWEEN 0 AND 1),
    states jsonb,
    PRIMARY KEY (series, time)
$$);

CREATE TABLE dirty_mark (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway text NOT NULL,
    day timestamptz NOT NULL,
    marked timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX dirty_mark_day ON dirty_mark (gateway, day);

CREATE TABLE latest (
    series integer PRIMARY KEY REFERENCES series,
    time timestamptz NOT NULL,
    value double precision,
    unit text NOT NULL,
    status integer NOT NULL,
    received timestamptz NOT NULL
);

CREATE TABLE quarantine (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    data bytea NOT NULL,
    received timestamptz NOT NULL
);

CREATE TABLE incident (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway text NOT NULL,
    kind text NOT NULL,
    seq bigint,
    detail jsonb NOT NULL,
    data bytea,
    at timestamptz NOT NULL
);
CREATE INDEX incident_gateway ON incident (gateway, id);

CREATE TABLE project_plan (
    project text NOT NULL,
    revision integer NOT NULL CHECK (revision > 0),
    plan text NOT NULL,
    plan_hash bytea NOT NULL CHECK (octet_length(plan_hash) = 32),
    registered timestamptz NOT NULL,
    PRIMARY KEY (project, revision)
);

-- Made ahead, so that right after the installation no insert has to wait for a partition.
SELECT make_partitions(name, ARRAY(
    SELECT date_trunc('month', now(), 'UTC') + ahead * INTERVAL '1 month' FROM generate_series(-1, 3) AS ahead))
FROM unnest(ARRAY['record', 'interval']) AS name;
