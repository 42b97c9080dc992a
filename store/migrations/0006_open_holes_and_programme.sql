-- Records that arrived while ones before them are missing, until it is known whether those are only late.

CREATE TABLE open_hole (
    gateway text NOT NULL REFERENCES gateway,
    seq bigint NOT NULL CHECK (seq > 0),
    noticed timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (gateway, seq)
);
CREATE INDEX open_hole_noticed ON open_hole (noticed);

-- The programme whose evidence this database holds: one at most, and it never changes.
CREATE TABLE programme (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    name text NOT NULL CHECK (name <> '')
);
