-- Who may send records: one-time codes, requests to be enrolled, certificates, the keys that followed the enrolled one,
-- and every decision of a person about them.

ALTER TABLE gateway ADD COLUMN revoked timestamptz;

-- Keys named by an event `key_rotated` of the chain, signed by the key before. They save looking for the event; whoever
-- proves something starts from gateway.public_key and reads the events.
CREATE TABLE gateway_key (
    gateway text NOT NULL REFERENCES gateway,
    first_seq bigint NOT NULL CHECK (first_seq > 1),
    public_key bytea NOT NULL CHECK (octet_length(public_key) = 32),
    PRIMARY KEY (gateway, first_seq)
);

CREATE TABLE enrolment_code (
    id text PRIMARY KEY,
    gateway text NOT NULL,
    secret_hash bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
    issued timestamptz NOT NULL,
    expires timestamptz NOT NULL,
    used timestamptz,
    failures integer NOT NULL DEFAULT 0
);

CREATE TABLE enrolment (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code text NOT NULL UNIQUE REFERENCES enrolment_code,
    gateway text NOT NULL,
    evidence_key bytea NOT NULL CHECK (octet_length(evidence_key) = 32),
    request bytea NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'approved', 'refused')),
    requested timestamptz NOT NULL,
    origin text NOT NULL
);
CREATE INDEX enrolment_gateway ON enrolment (gateway, id);

CREATE TABLE certificate (
    serial text PRIMARY KEY,
    gateway text NOT NULL,
    data bytea NOT NULL,
    issued timestamptz NOT NULL,
    expires timestamptz NOT NULL,
    revoked timestamptz
);
CREATE INDEX certificate_gateway ON certificate (gateway);

CREATE TABLE access_decision (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway text NOT NULL,
    kind text NOT NULL,
    actor text NOT NULL,
    detail jsonb NOT NULL,
    at timestamptz NOT NULL
);

CREATE FUNCTION refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER access_decision_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON access_decision
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
