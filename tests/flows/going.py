"""What the tests of shredding and pruning share: threads at their end, exports, and the second verifier."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.world.world import ACTOR, ORIGIN, PROJECT, World
from worker.audit.findings import Report
from worker.audit.note import Ed25519Signer
from worker.audit.verify import verify_bundle
from worker.flows.export import export
from worker.flows.prune import Pruned, prune
from worker.flows.shred import Shredded, shred
from worker.model.thread import Kind
from worker.store import gone, log
from worker.store.threads import StoredThread

DAY = timedelta(days=1)
VKEY = Ed25519Signer.from_seed(ORIGIN, b"\7" * 32).vkey
PROGRAM = Path(__file__).resolve().parents[2] / "contrib" / "verify.mjs"


def ended(world: World, *owners: str) -> list[StoredThread]:
    """Register a thread for each owner, delete it, and look a second time: nothing is left to be done."""
    found = [world.register(kind=Kind.RESPONSE, owner=owner) for owner in owners]
    sibling(world)
    world.sweep()
    world.drain()
    world.clock.move(DAY + timedelta(minutes=1))
    world.drain()
    assert [world.grade(one) for one in found] == ["sustained"] * len(found)
    return found


def sibling(world: World) -> StoredThread:
    """Register a live thread that reads can lean on, and that no policy ever deletes."""
    return world.register(kind=Kind.RESPONSE, age=DAY, owner="keeper", tags={"keep": "true"})


def shredded(world: World, owner: str, **more: Any) -> Shredded:
    given: dict[str, Any] = {"reason": "request DSR-118", "actor": ACTOR, "clock": world.clock, **more}
    return shred(world.database, world.sealer, owner=owner, **given)


def pruned(world: World, older_than: timedelta = 400 * DAY, **more: Any) -> Pruned:
    given: dict[str, Any] = {"reason": "older than P400D", "actor": ACTOR, "clock": world.clock, **more}
    return prune(world.database, world.sealer, older_than=older_than, **given)


def kept(world: World, *threads: StoredThread) -> list[bool]:
    """Tell of each thread whether all of its bodies are there; some and not others is a failure."""
    with world.database.read() as db:
        told = []
        for one in threads:
            all_ = log.bodies_of_subjects(db, one.thread.project, [one.thread.id])
            there = gone.there(db, all_)
            assert there in ([], all_)
            told.append(bool(there))
    return told


def exported(world: World, out: Path, *, project: str = PROJECT) -> Report:
    """Export, and let both verifiers say the same."""
    now = world.clock.now()
    export(
        world.database,
        world.sealer,
        project=project,
        window=(now - 2000 * DAY, now + DAY),
        out=out,
        actor=ACTOR,
        clock=world.clock,
    )
    return verified(out)


def verified(out: Path) -> Report:
    report = verify_bundle(out, keys=[VKEY])
    if shutil.which("node"):
        (out.parent / "keys.txt").write_text(f"{VKEY}\n")
        done = subprocess.run(
            ["node", PROGRAM, out, out.parent / "keys.txt"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        told = json.loads(done.stdout)
        assert (told["verified"], told["bodies_gone"]) == (report.verified, report.bodies_gone), told
    return report


def is_sound(world: World) -> bool:
    """Tell whether the root is that of the leaves, and every body that is gone is named."""
    with world.database.snapshot() as db:
        head = log.read_head(db)
        frontier = log.recompute(db, head.size)[1]
        return frontier.root() == head.frontier.root() and gone.disagreements(db) == []
