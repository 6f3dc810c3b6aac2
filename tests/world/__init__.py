"""A small world for scenarios: a real database, the sandbox over a real socket, the flows as they are."""
