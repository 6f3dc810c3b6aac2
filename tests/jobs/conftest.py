"""Jobs over a real database, as flows have it."""

from __future__ import annotations

from tests.world.databases import database_url, emptied_postgres, sqlite_template

__all__ = ["database_url", "emptied_postgres", "sqlite_template"]
