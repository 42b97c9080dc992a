-- outside a transaction
-- The events of a gateway are few among its records, and every look at a project reads them. Neither partitioned tables
-- nor hypertables can be indexed concurrently as a whole: the index is declared for the pieces to come, and then made
-- piece by piece. A piece that comes meanwhile has it already.
CREATE INDEX IF NOT EXISTS record_event ON ONLY record (gateway, seq) WHERE kind = 2;

-- each row is a statement
WITH piece AS (
    SELECT inhrelid, inhrelid::regclass AS name, relname || '_event' AS index,
           format('%I.%I', nspname, relname || '_event') AS full_index,
           (SELECT relkind = 'p' FROM pg_class WHERE oid = 'record'::regclass) AS attached
    FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE inhparent = 'record'::regclass
)
SELECT statement FROM piece
CROSS JOIN LATERAL (VALUES
    (1, format('DROP INDEX CONCURRENTLY IF EXISTS %s', full_index)),
    (2, format('CREATE INDEX CONCURRENTLY %I ON %s (gateway, seq) WHERE kind = 2', index, name)),
    (3, CASE WHEN attached THEN format('ALTER INDEX record_event ATTACH PARTITION %s', full_index) END)
) AS made (step, statement)
WHERE statement IS NOT NULL AND NOT EXISTS (
    SELECT FROM pg_index LEFT JOIN pg_inherits AS part ON part.inhrelid = indexrelid
    WHERE indrelid = piece.inhrelid AND indisvalid
      AND pg_get_indexdef(indexrelid) LIKE '% (gateway, seq) WHERE (kind = 2)'
      AND (part.inhparent = 'record_event'::regclass OR NOT attached))
ORDER BY name::text, step;

DROP INDEX CONCURRENTLY IF EXISTS incident_open;
CREATE INDEX CONCURRENTLY incident_open ON incident (gateway, kind) WHERE closed IS NULL;
