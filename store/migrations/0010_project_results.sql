-- What was computed for each project last: the result document of its plan, so that lists of many projects open at once.
--
-- `inputs` is a hash over all that the document was computed from. After a failure the document before stays, and
-- `problem` says what failed when.

CREATE TABLE project_result (
    project text PRIMARY KEY,
    inputs bytea CHECK (octet_length(inputs) = 32),
    document text,
    computed timestamptz,
    problem text,
    tried timestamptz NOT NULL,
    CHECK ((inputs IS NULL) = (document IS NULL) AND (document IS NULL) = (computed IS NULL)),
    CHECK (document IS NOT NULL OR problem IS NOT NULL)
);
