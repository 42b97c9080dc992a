-- When the records of each day of a gateway were received, one row a day: of the records that came within one hour (UTC)
-- the first, so that a clock can be looked at without the records. A projection of the columns of `record`, written with
-- the intervals of the day. Days computed before have no row: whoever asks for them looks at the records.
--
-- A record is one of the day (UTC) that it begins in. `records` of those of samples lie within first_seq and last_seq:
-- where as many are stored, the row tells of all of them. The arrays have one element an hour, in the order of `seq`;
-- times are milliseconds since 1970 (UTC).

CREATE TABLE arrival_day (
    gateway text NOT NULL,
    day timestamptz NOT NULL,
    first_seq bigint NOT NULL CHECK (first_seq > 0),
    last_seq bigint NOT NULL CHECK (last_seq >= first_seq),
    records integer NOT NULL CHECK (records > 0),
    seq bigint[] NOT NULL,
    closed_ms bigint[] NOT NULL,
    received_ms bigint[] NOT NULL,
    PRIMARY KEY (gateway, day),
    CHECK (cardinality(seq) > 0 AND cardinality(closed_ms) = cardinality(seq) AND cardinality(received_ms) = cardinality(seq))
);
