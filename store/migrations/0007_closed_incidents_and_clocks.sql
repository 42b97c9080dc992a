-- Incidents that somebody has settled; what gateways say of their clocks; retention asked for by the server's scheduler;
-- room where rows are written again and again.

-- Null while the incident is open. Who closed it and why is in incident_decision, which refuses changes.
ALTER TABLE incident ADD COLUMN closed timestamptz;

CREATE TABLE incident_decision (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident bigint NOT NULL REFERENCES incident,
    state text NOT NULL CHECK (state IN ('closed', 'open')),
    actor text NOT NULL CHECK (actor <> ''),
    reason text NOT NULL CHECK (reason <> ''),
    at timestamptz NOT NULL
);
CREATE INDEX incident_decision_incident ON incident_decision (incident, id);

CREATE TRIGGER incident_decision_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON incident_decision
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What the newest record of a gateway says of the clock it was closed by; nulls where the gateway did not know.
CREATE TABLE gateway_clock (
    gateway text PRIMARY KEY REFERENCES gateway,
    seq bigint NOT NULL CHECK (seq > 0),
    time timestamptz NOT NULL,
    synchronised boolean,
    offset_us bigint,
    error_us bigint CHECK (error_us >= 0)
) WITH (fillfactor = 50);

-- Rows that every batch writes again: with room beside them the new version needs no new entry in an index.
ALTER TABLE latest SET (fillfactor = 50);
ALTER TABLE chain_head SET (fillfactor = 50);

-- An action for the scheduler of TimescaleDB: it removes nothing itself, because only a worker can read what the
-- registered plans rest on; it has the next worker that is free do what `shopfloor ingest retention apply` does.
CREATE PROCEDURE queue_retention(job_id integer, config jsonb)
    LANGUAGE plpgsql
    SET search_path = jobs, pg_catalog
    AS $$
BEGIN
    INSERT INTO procrastinate_jobs (queue_name, task_name, lock, queueing_lock, args)
    VALUES ('default', 'retention', 'retention', 'retention', jsonb_build_object(
        'timestamp', extract(epoch FROM now())::bigint, 'keep_days', (config ->> 'keep_days')::integer))
    ON CONFLICT DO NOTHING;
END
$$;
