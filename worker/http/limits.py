"""How large a request may be."""

from __future__ import annotations

MOST_BYTES = 1024 * 1024
# After unpacking as well.
MOST_BULK_BYTES = 64 * 1024 * 1024
