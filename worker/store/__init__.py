"""All SQL: the tables, and plain functions that take a Session. Callers own the transaction."""
