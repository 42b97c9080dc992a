-- Who may read: tokens of programs, sessions of people, and the failed logins that slow down guessing.
--
-- Of a token and of a session only the SHA-256 is kept: they are 256 random bits, so a hash without salt tells nothing,
-- and a copy of this database lets nobody in.

CREATE TABLE api_token (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL CHECK (name <> ''),
    hash bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    scopes text[] NOT NULL CHECK (cardinality(scopes) > 0),
    gateways text[] CHECK (cardinality(gateways) > 0),
    created timestamptz NOT NULL,
    expires timestamptz,
    revoked timestamptz,
    used timestamptz
);
-- A name belongs to one valid token; that of a revoked one may be given again.
CREATE UNIQUE INDEX api_token_name ON api_token (name) WHERE revoked IS NULL;

CREATE TABLE web_session (
    hash bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
    user_name text NOT NULL,
    credential bytea NOT NULL,
    begun timestamptz NOT NULL,
    seen timestamptz NOT NULL
);
CREATE INDEX web_session_begun ON web_session (begun);

CREATE TABLE login_failure (
    subject bytea PRIMARY KEY CHECK (octet_length(subject) = 32),
    failures integer NOT NULL CHECK (failures > 0),
    latest timestamptz NOT NULL
);
CREATE INDEX login_failure_latest ON login_failure (latest);
