"""The worked cases of precedence, read once for whoever decides by them: the function, or a database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from worker.model.clock import parse_rfc3339
from worker.model.decision import Circumstances, Erasure, Hold, HoldScope, Notice
from worker.model.ids import HoldId, ThreadId
from worker.model.thread import Kind, Thread, ThreadState
from worker.policy.document import Bundle
from worker.policy.load import load_texts

_TEXT = (Path(__file__).parents[1] / "policy" / "precedence.yaml").read_text()
VECTORS: Mapping[str, Any] = YAML(typ="safe", pure=True).load(_TEXT)
NOW = parse_rfc3339(VECTORS["now"])


def _documents() -> Iterator[str]:
    """Cut the list of policies into documents, so that the loader reads exactly what stands there."""
    listed = _TEXT.partition("\npolicies:\n")[2].partition("\ncases:\n")[0]
    for item in ("\n" + listed).split("\n- ")[1:]:
        yield "\n".join(line.removeprefix("  ") for line in item.splitlines())


def whole_bundle() -> Bundle:
    """Load all policies of the cases."""
    loaded = load_texts({"vectors.yaml": "\n---\n".join(_documents())})
    # The vectors overlap on purpose: which of two rules decides is what they are about.
    assert [str(one) for one in loaded.findings if one.code != "RP039"] == []
    assert loaded.bundle is not None
    return loaded.bundle


def name_of(case: Mapping[str, Any]) -> str:
    """Return the number and the words of a case."""
    return f"{case['n']} {case['what']}"


def thread_of(row: Mapping[str, Any]) -> Thread:
    """Make a thread from a row of a YAML table, as the tests beside policies do."""
    created_at = instant_of(row.get("created_at"))
    registered_at = instant_of(row.get("registered_at")) or created_at
    assert registered_at is not None
    return Thread(
        id=ThreadId(row["id"]),
        kind=Kind(row["kind"]),
        external_id=row.get("external_id", row["id"]),
        project=row["project"],
        owner=row["owner"],
        registered_at=registered_at,
        tags=dict(row.get("tags") or {}),
        ttl=row.get("ttl"),
        created_at=created_at,
        last_activity_at=instant_of(row.get("last_activity_at")),
        state=ThreadState(row.get("state", "live")),
    )


def instant_of(value: Any) -> datetime | None:
    """Read an instant that may be left out."""
    return None if value is None else parse_rfc3339(value)


def circumstances_of(case: Mapping[str, Any], thread: Thread) -> Circumstances:
    """Return what beside policies bears on the case."""
    scope = HoldScope(ids=(thread.id,))
    holds = (Hold(id=HoldId("hld_1"), matter=case["hold"], scope=scope),) if "hold" in case else ()
    erasures = (Erasure(at=parse_rfc3339(case["erasure"]), owner=thread.owner),) if "erasure" in case else ()
    notices: dict[ThreadId, tuple[Notice, ...]] = {}
    if "notice" in case:
        notices[thread.id] = (Notice(thread_id=thread.id, at=parse_rfc3339(case["notice"])),)
    return Circumstances(holds=holds, erasures=erasures, notices=notices)
