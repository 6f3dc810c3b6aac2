"""What examples have in common: ids, and how a list or an answer of one media type is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]
# A request's examples by their names; an answer's by status and media type.
Requests = Mapping[str, Mapping[str, Any]]
Answers = Mapping[str, Mapping[int, Mapping[str, Any]]]

BUNDLE = "sha256:4683abbb2f7d51c07e8a1b9cd3f4e5061728394a5b6c7d8e9f00112233445566"
PROPOSED = "sha256:41d041d041d041d041d041d041d041d041d041d041d041d041d041d041d041d0"
PLAN = "sha256:9b1fd0c2a6e85f3d7c4b8a190e2f6d5c4b3a29180706f5e4d3c2b1a09f8e7d6c"
COMMIT = "2368b4dc6bbd0f1e2d3c4b5a69788796a5b4c3d2"
THREAD = "thr_01a204128e7578b4b6e023cbe113467f"
OTHER = "thr_01a204128efe77c59a1b64555a76f2a8"
THEIRS = "conv_93a2eaffb9f6aef8cba4e965ea849692"
KEY = "aB3xK9pQ2mZ7"
HOLD = "hold_01a20412a1b27c3d8e4f5a6b7c8d9e0f"
SWEEP = "swp_01a20412b2c37d4e9f5a6b7c8d9e0f1a"
ERASURE = "era_01a20412c3d47e5f8a6b7c8d9e0f1a2b"
EXPORT = "exp_01a20412d4e57f6a9b7c8d9e0f1a2b3c"
PREVIEW = "prv_01a20412e5f6707b8c9d0e1f2a3b4c5d"
FINGERPRINT = "fp_5f2c91d07e3ab846"


def json(body: Any) -> Mapping[str, Any]:  # noqa: ANN401 - whatever an answer holds
    """Return an answer that is JSON."""
    return {"application/json": body}


def page(*rows: Json) -> Json:
    """Return a list of these, which does not go on."""
    ids = [one["id"] for one in rows]
    return {
        "object": "list",
        "data": list(rows),
        "first_id": ids[0],
        "last_id": ids[-1],
        "has_more": False,
    }


def lines(*rows: str) -> str:
    """Return lines as a body of x-ndjson."""
    return "".join(f"{one}\n" for one in rows)
