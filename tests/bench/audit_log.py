"""A log of any size, with all that a deletion leaves: from registered to graded, with read and control."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert, update

from tests.bench.tasks import Measured, peak
from worker.audit import bodies
from worker.audit.bodies import Graded, Intent, Tried
from worker.audit.entry import Entry
from worker.audit.envelope import Leaf, make_leaf
from worker.audit.merkle import Frontier
from worker.audit.note import Ed25519Signer
from worker.flows.export import export
from worker.flows.seal import Sealer
from worker.flows.tile import lay_tiles
from worker.model.clock import SystemClock
from worker.model.decision import Decision, Outcome
from worker.model.evidence import Class, Control, Observation, Pass, Step, fold, grade
from worker.model.ids import ThreadId
from worker.model.thread import Account, Kind, Thread
from worker.model.work import Stage
from worker.store import log, migrate
from worker.store.engine import open_database
from worker.store.tables import audit_body, audit_head, audit_leaf

START = datetime(2026, 1, 1, tzinfo=UTC)
PROJECT, OTHER = "support-eu", "research"
_BUNDLE = "sha256:" + "0" * 64
_GONE = Pass(
    before=Class.PRESENT,
    armed=True,
    answer=Class.ACKNOWLEDGED,
    afters=((Class.OBJECT_ABSENT, Control.GOOD),),
)
_PER_THREAD = 6
_AT_ONCE = _PER_THREAD * 3000
_SALT = b"0123456789abcdef"
ORIGIN = "bench.example/retention"
SIGNER = Ed25519Signer.from_seed(ORIGIN, b"\x07" * 32)
# Of ten threads one is another project's.
_FOREIGN = 10


def entries(count: int, *, first: int = 0) -> Iterator[Entry]:
    """Yield that many entries, six for each thread as Tenure appends them; ``first`` is a multiple."""
    made = 0
    number = first // _PER_THREAD
    while made < count:
        for entry in _story(number)[: count - made]:
            yield entry
            made += 1
        number += 1


def _story(number: int) -> list[Entry]:
    at = START + timedelta(seconds=number)
    thread = Thread(
        id=ThreadId(f"thr_{number:032x}"),
        kind=Kind.CONVERSATION,
        external_id=f"conv_{number:024x}",
        project=OTHER if number % _FOREIGN == 0 else PROJECT,
        owner=f"team-{number % 97}",
        registered_at=at,
        tags={"env": "prod", "region": "eu"},
        account=Account(provider="openai", base_url="https://api.openai.com/v1"),
    )
    decision = Decision(
        outcome=Outcome.DUE,
        decided_by="support-30d",
        eligible_at=at,
        rules=("support-30d",),
        bundle=_BUNDLE,
    )
    item = f"itm_{number:032x}"
    before, answer, after, control = (
        Observation(
            step=step,
            seen=seen,
            at=at + timedelta(seconds=1),
            subject=thread.external_id if step is not Step.CONTROL else f"conv_{number + 1:024x}",
            status=200 if seen is not Class.OBJECT_ABSENT else 404,
            request_id=f"req_{number:024x}",
            latency_ms=50,
            body_sha256="0" * 64,
            provider_date="Thu, 01 Jan 2026 00:00:00 GMT",
        )
        for step, seen in (
            (Step.BEFORE, Class.PRESENT),
            (Step.DELETE, Class.ACKNOWLEDGED),
            (Step.AFTER, Class.OBJECT_ABSENT),
            (Step.CONTROL, Class.PRESENT),
        )
    )
    intent = Intent(
        item=item,
        fence=1,
        stage=Stage.CONTAINER,
        sweep="swp_" + "0" * 32,
        policy="support-30d",
        decision=decision,
        before=before,
        protection_version=1,
    )
    graded = Graded(
        item=item,
        fence=1,
        sweep=intent.sweep,
        policy=intent.policy,
        bundle=_BUNDLE,
        grade=grade(fold([_GONE])),
        tried=[Tried(item=item, fence=1, saw=_GONE)],
        observations=[before, answer, after, control],
        deletion_semantics="Items may remain up to 30 days.",
        attempts=1,
        credential="env:OPENAI_API_KEY",
        eligible_at=at,
    )
    return [
        bodies.thread_registered(thread, at=at, actor="key:1"),
        bodies.delete_intended(thread, intent, at=at, actor="worker tenure/0"),
        bodies.delete_answered(
            thread, item=item, fence=1, stage=Stage.CONTAINER, answer=answer, at=at, actor="worker tenure/0"
        ),
        bodies.thread_reread(
            thread, item=item, fence=1, seen=after, control=Control.GOOD, at=at, actor="worker tenure/0"
        ),
        bodies.control_probed(
            thread.project,
            kind=thread.kind,
            control=Control.GOOD,
            seen=[control],
            supports=[thread.id],
            at=at,
            actor="worker tenure/0",
        ),
        bodies.thread_graded(thread, graded, at=at, actor="worker tenure/0"),
    ]


def fill_log(url: str, count: int) -> None:
    """Load a database with a log of that many entries, its tiles and its head, in bulk."""
    database = open_database(url)
    migrate.upgrade(database)
    with database.write() as db:
        log.create_head(db)
        key = log.pseudonym_key(db)
    frontier = Frontier()
    for first in range(0, count, _AT_ONCE):
        made = [
            (number, entry, make_leaf(entry, entry_id=f"{number:032x}", salt=_SALT, pseudonym_key=key))
            for number, entry in enumerate(entries(min(_AT_ONCE, count - first), first=first), first)
        ]
        frontier = frontier.extend(leaf.hash for _, _, leaf in made)
        with database.write() as db:
            db.execute(insert(audit_leaf), [{"idx": n, "envelope": leaf.envelope} for n, _, leaf in made])
            db.execute(insert(audit_body), [_body_row(*one) for one in made])
            db.execute(
                update(audit_head).values(
                    size=frontier.size, frontier=frontier.to_bytes(), news=frontier.size
                )
            )
    lay_tiles(database)
    database.dispose()


def _body_row(number: int, entry: Entry, leaf: Leaf) -> dict[str, object]:
    return {
        "idx": number,
        "project": entry.project,
        "subject": entry.subject,
        "type": entry.type.value,
        "body": leaf.body,
    }


def export_all(url: str, out: Path) -> Measured:
    """Export the project from leaf 0 and measure this process."""
    database, clock = open_database(url), SystemClock()
    sealer = Sealer(origin=ORIGIN, signer=lambda: SIGNER, actor="bench tenure/0")
    begun = time.perf_counter()
    made = export(
        database,
        sealer,
        project=PROJECT,
        window=(START, START + timedelta(days=4000)),
        out=out,
        actor="bench tenure/0",
        clock=clock,
    )
    seconds = time.perf_counter() - begun
    database.dispose()
    return Measured(seconds=seconds, rows=made.size, megabytes=peak())


if __name__ == "__main__":
    print(json.dumps(asdict(export_all(sys.argv[1], Path(sys.argv[2])))))
