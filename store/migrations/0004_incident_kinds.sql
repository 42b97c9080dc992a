-- outside a transaction
-- Counting incidents by kind is asked for by monitoring every few seconds, whatever the table holds.
DROP INDEX CONCURRENTLY IF EXISTS incident_kind;
CREATE INDEX CONCURRENTLY incident_kind ON incident (kind);
