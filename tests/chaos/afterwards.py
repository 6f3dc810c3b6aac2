"""After the storm: what was put off comes to its time, then everything is compared."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from tests.chaos.invariants import broken
from tests.chaos.people import ASTRAY, MAIN, POLICY, SIDE, People
from tests.chaos.truth import lay_out
from worker.anchors.folder import FolderAnchor
from worker.audit.checkpoint import parse_checkpoint
from worker.audit.merkle import leaf_hash, root_of
from worker.audit.note import Ed25519Signer, open_note
from worker.audit.verify import verify_bundle
from worker.flows.export import export
from worker.flows.seal import Sealer
from worker.model.clock import SystemClock
from worker.model.work import OPEN_ITEM_STATES
from worker.sandbox.server import SandboxServer
from worker.store import log, rails
from worker.store.engine import Database
from worker.store.tables import audit_checkpoint, stopped_pair, sweep, thread, work_item

ORIGIN = "chaos.local/retention"
SEED = "07" * 32
_CLOCK = SystemClock()
_LOOK_EVERY = 0.5
# A sweep that a crash left is taken up again after two minutes.
_LONG_AGO = timedelta(minutes=5)


def settle(database: Database, people: People, *, within: float) -> bool:
    """Let everything come to its end; waits that Tenure set itself are taken as passed. Leases are not."""
    until = _CLOCK.monotonic() + within
    while _CLOCK.monotonic() < until:
        # A worker may still find that it hung, and end for it.
        people.fleet.supervise()
        _let_waits_pass(database)
        people.ask("POST", "/v1/sweeps", {"policy": POLICY})
        for parked in people.ask("GET", "/v1/failures?limit=100")["data"]:
            if parked["project"] != ASTRAY and parked["kind"] != "thread":
                path = f"/v1/failures/{parked['fingerprint']}/retry"
                status, told = people.call("POST", path, {"reason": "the storm is over"})
                assert status in {200, 404}, told
        if _is_quiet(database, people):
            return True
        _CLOCK.wait(_LOOK_EVERY)
    return False


def _let_waits_pass(database: Database) -> None:
    now = _CLOCK.now()
    with database.write() as db:
        waiting = (work_item.c.state.in_(("waiting", "planned")), work_item.c.next_at > now)
        db.execute(update(work_item).where(*waiting).values(next_at=now))
        db.execute(update(stopped_pair).where(stopped_pair.c.probe_at > now).values(probe_at=now))
        left = (sweep.c.state.in_(("planning", "releasing")), sweep.c.begun_at > now - _LONG_AGO)
        db.execute(update(sweep).where(*left).values(begun_at=now - _LONG_AGO))


def _is_quiet(database: Database, people: People) -> bool:
    expected = {
        one.thread_id: "absent" if one.fate == "vanished" else "deleted"
        for one in people.told.values()
        if one.fate in {"due", "vanished"}
        or (one.fate == "held" and one.owner not in people.holds)
        or (one.fate == "erased" and one.ordered)
    }
    with database.read() as db:
        states = {row.id: row.state for row in db.execute(select(thread.c.id, thread.c.state))}
        open_ = db.execute(
            select(func.count()).select_from(work_item).where(work_item.c.state.in_(OPEN_ITEM_STATES))
        ).scalar_one()
        half = db.execute(
            select(func.count()).select_from(sweep).where(sweep.c.state.in_(("planning", "releasing")))
        ).scalar_one()
    return not open_ and not half and all(states.get(id_) == state for id_, state in expected.items())


def check(database: Database, people: People, sandbox: SandboxServer, folder: Path) -> None:
    """Compare everything; fails with every invariant that is broken."""
    with database.engine.connect() as db:
        lay_out(db, people, sandbox, database)
        found = broken(db)
        db.rollback()
    problems = [f"{name}: {[tuple(row) for row in rows]}" for name, rows in found.items()]
    problems += _log_problems(database)
    problems += [] if _anchor(folder).newest() else ["beat anchored no checkpoint"]
    problems += [told for project in (MAIN, SIDE) for told in _export_problems(database, project, folder)]
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


def _log_problems(database: Database) -> list[str]:
    """Compute the root again from the leaves, at the head and at every checkpoint that was signed."""
    vkey = Ed25519Signer.from_seed(ORIGIN, bytes.fromhex(SEED)).vkey
    with database.read() as db:
        head = log.read_head(db)
        leaves = [leaf_hash(one) for one in log.envelopes(db, head.size)]
        notes = db.execute(select(audit_checkpoint.c.size, audit_checkpoint.c.note)).all()
        told = [f"the guard rail {one} is gone" for one in rails.look(db).missing]
    if root_of(leaves) != head.frontier.root():
        told.append("the head's root is not that of the leaves")
    for row in notes:
        signed = parse_checkpoint(open_note(row.note, [vkey]))
        if signed.size != row.size or signed.root != root_of(leaves[: row.size]):
            told.append(f"the checkpoint of size {row.size} is not over these leaves")
    return told


def _anchor(folder: Path) -> FolderAnchor:
    """Where beat kept what it signed: an export compares the log with it first."""
    return FolderAnchor(folder / "data" / "anchors")


def _export_problems(database: Database, project: str, folder: Path) -> list[str]:
    signer = Ed25519Signer.from_seed(ORIGIN, bytes.fromhex(SEED))
    sealer = Sealer(origin=ORIGIN, signer=lambda: signer, actor="chaos tenure/0", anchors=[_anchor(folder)])
    now, out = _CLOCK.now(), folder / f"{project}.zip"
    window = (now - timedelta(days=1), now + timedelta(days=1))
    export(database, sealer, project=project, window=window, out=out, actor="chaos tenure/0", clock=_CLOCK)
    report = verify_bundle(out, keys=[signer.vkey])
    with database.read() as db:
        kept = thread.c.grade.in_(("confirmed", "inferred"))
        counted = db.execute(
            select(thread.c.grade, func.count()).where(thread.c.project == project, kept).group_by("grade")
        )
        grades = {row[0]: row[1] for row in counted}
    told = [] if report.verified else [f"{project}: {one}" for one in report.problems]
    said = {grade: n for grade, n in report.grades.items() if grade in {"confirmed", "inferred"}}
    return told + ([] if said == grades else [f"{project}: the export says {said}, the registry {grades}"])
