-- Documents that people handed in, and the values that were read from them. Nothing here is ever deleted: what turned
-- out wrong is withdrawn, with the name of who did it and why.

CREATE TABLE imported_document (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project text NOT NULL CHECK (project <> ''),
    name text NOT NULL CHECK (name <> ''),
    file_name text NOT NULL,
    sha256 bytea NOT NULL CHECK (octet_length(sha256) = 32),
    content bytea NOT NULL,
    mapping text NOT NULL,
    mapping_sha256 bytea NOT NULL CHECK (octet_length(mapping_sha256) = 32),
    left_out text[] NOT NULL,
    imported timestamptz NOT NULL,
    imported_by text NOT NULL CHECK (imported_by <> ''),
    withdrawn timestamptz,
    withdrawn_by text,
    withdrawn_why text,
    CHECK ((withdrawn IS NULL) = (withdrawn_by IS NULL) AND (withdrawn IS NULL) = (withdrawn_why IS NULL))
);
-- The same bytes under the same mapping count once in a project.
CREATE UNIQUE INDEX imported_document_once ON imported_document (project, sha256, mapping_sha256)
    WHERE withdrawn IS NULL;
CREATE INDEX imported_document_project ON imported_document (project, id);

CREATE TABLE imported_value (
    document bigint NOT NULL REFERENCES imported_document,
    series text NOT NULL,
    start timestamptz NOT NULL,
    "end" timestamptz NOT NULL,
    value double precision NOT NULL,
    row integer NOT NULL CHECK (row > 0),
    PRIMARY KEY (document, series, start),
    CHECK (start < "end")
);
