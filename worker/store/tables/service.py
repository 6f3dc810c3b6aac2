"""Keys of the API, and small facts about the service itself."""

from __future__ import annotations

from sqlalchemy import String, Table

from worker.store.column_types import Json, UtcDateTime
from worker.store.tables.base import given, maybe, metadata

api_key = Table(
    "api_key",
    metadata,
    given("id", String(40), primary_key=True),
    given("label", String(200)),
    given("secret_sha256", String(64)),
    given("scopes", Json),
    given("projects", Json),
    given("created_at", UtcDateTime),
    maybe("expires_at", UtcDateTime),
    maybe("revoked_at", UtcDateTime),
    maybe("last_used_at", UtcDateTime),
)

fact = Table(
    "fact",
    metadata,
    # Small facts about the service itself, such as beat's last tick.
    given("name", String(80), primary_key=True),
    given("value", Json),
    given("at", UtcDateTime),
)
