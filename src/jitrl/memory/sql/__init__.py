"""The system of record: one store in portable SQL, in SQLite or PostgreSQL."""
