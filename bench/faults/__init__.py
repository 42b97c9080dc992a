"""A campaign of faults against agents, broker, ingestion and database: what is lost, what is double, how long."""
