"""All SQL: the tables, and plain functions that take a Connection. Callers own the transaction."""
