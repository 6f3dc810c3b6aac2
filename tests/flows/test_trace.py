"""The trace of one batch in docs/engine.md: a batch that is run now leaves the same lines for each thread."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from tests.world.world import World
from worker.model.decision import HoldScope
from worker.model.thread import Kind
from worker.store.tables import attempt, work_item
from worker.store.threads import StoredThread

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "engine.md"
_ABOUT_ONE = re.compile(r"^(GET|DELETE|attempt|work_item) ([a-e])\b")

Lines = Mapping[str, Sequence[str]]


def _documented() -> tuple[Lines, Lines]:
    """Return each thread's lines of the trace, and of the log, without the thread's letter."""
    lines, entries = re.findall(r"```text\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    seen, logged = defaultdict(list), defaultdict(list)
    for line in lines.splitlines():
        what = line[16:].strip()
        about = _ABOUT_ONE.match(what)
        if about:
            seen[about[2]].append(_without(what, about[2]))
    for line in entries.splitlines():
        kind, _, letter = line.partition(" ")
        logged[letter].append(kind)
    return seen, logged


def _without(what: str, letter: str) -> str:
    return re.sub(rf" {letter}\b", "", what, count=1)


def _run(world: World) -> tuple[list[StoredThread], StoredThread]:
    due = [world.register(kind=Kind.FILE) for _ in range(4)]
    held = world.register(kind=Kind.FILE, owner="witness")
    world.register(kind=Kind.FILE, age=timedelta(days=3))
    world.sweep()
    world.hold(HoldScope(owners=("witness",)))
    assert world.drain() == Counter(done=4, spared=1)
    return due, held


def _seen(world: World, one: StoredThread) -> list[str]:
    """Return what reached the provider and what was committed, in order of time."""
    told: list[tuple[datetime, str]] = [
        (request.at, f"{request.method} -> {request.status}")
        for request in world.sandbox.requests()
        if request.path.endswith(one.thread.external_id)
    ]
    with world.database.read() as db:
        for row in db.execute(select(attempt).where(attempt.c.thread_id == one.thread.id)):
            told.append((row.armed_at, f"attempt: stage={row.stage} before={row.before} armed"))
            told.append((row.answered_at, f"attempt: answer={row.answer}"))
        [item] = db.execute(select(work_item).where(work_item.c.thread_id == one.thread.id))
    reason = f"state={item.state} attempts={item.attempts} reason={item.reason}"
    told.append((item.settled_at, f"work_item: {reason}"))
    return [what for _, what in sorted(told)]


def _expected(lines: Sequence[str]) -> list[str]:
    return [re.sub(r"^(attempt|work_item)\s*:", r"\1:", line) for line in lines]


def test_each_thread_of_a_batch_leaves_the_lines_that_the_document_shows(world: World) -> None:
    lines, logged = _documented()
    due, held = _run(world)
    assert set(lines) == set("abcde")
    gone = {letter: _expected(lines[letter]) for letter in "abce"}
    assert all(sorted(one) == sorted(gone["a"]) for one in gone.values())
    for one in due:
        # A re-read may be on its way while its DELETE's answer waits for its group.
        assert sorted(_seen(world, one)) == sorted(gone["a"])
        assert [e["type"] for e in _entries(world, one)] == [kind for kind in logged["a"] if kind != _CONTROL]
    assert _seen(world, held) == _expected(lines["d"])
    assert [e["type"] for e in _entries(world, held)] == logged["d"]
    assert {tuple(logged[letter]) for letter in "abce"} == {tuple(logged["a"])}
    assert logged["hold.placed"] == []


# It is about a project, and names the threads that it supports.
_CONTROL = "control.probed"


def _entries(world: World, one: StoredThread) -> list[dict[str, object]]:
    return [e for e in world.entries(subject=one) if e["type"] != "thread.registered"]
