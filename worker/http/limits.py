"""How large a request may be."""

from __future__ import annotations

MOST_BYTES = 1024 * 1024
# After unpacking as well.
MOST_BULK_BYTES = 64 * 1024 * 1024
# Policy files of a preview: their number, their texts in all, and the body that carries them as JSON.
MOST_FILES = 200
MOST_FILES_BYTES = 1_000_000
MOST_PREVIEW_BYTES = 4 * 1024 * 1024
# An answer to a request with an Idempotency-Key that is kept to be given again.
MOST_KEPT_BYTES = 1024 * 1024
# The request's target and its headers together.
MOST_HEADER_BYTES = 16 * 1024
