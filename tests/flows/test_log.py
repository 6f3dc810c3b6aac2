"""The log holds what happened, and an export of it proves the grades to somebody who trusts nobody here."""

from __future__ import annotations

import gzip
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from tests.world.crash import kill_at
from tests.world.world import ACTOR, ORIGIN, POLICIES, PROJECT, World, project_document
from worker.audit.findings import Report
from worker.audit.merkle import Frontier, leaf_hash
from worker.audit.note import Ed25519Signer
from worker.audit.verify import verify_bundle
from worker.flows.export import export
from worker.flows.seal import seal
from worker.model.decision import HoldScope
from worker.model.thread import Kind
from worker.sandbox.faults import Fault, FaultRule
from worker.sandbox.kinds import ObjectKind
from worker.store import log
from worker.store.threads import StoredThread

DAY = timedelta(days=1)
VKEY = Ed25519Signer.from_seed(ORIGIN, b"\7" * 32).vkey


def exported(world: World, out: Path, project: str = PROJECT) -> Report:
    now = world.clock.now()
    export(
        world.database,
        world.sealer,
        project=project,
        window=(now - 400 * DAY, now + DAY),
        out=out,
        actor=ACTOR,
        clock=world.clock,
    )
    return verify_bundle(out, keys=[VKEY])


def words(world: World, threads: list[StoredThread]) -> Counter[str]:
    return Counter((world.grade(one) or "none").partition("/")[0] for one in threads)


def test_the_root_recomputed_from_the_leaves_is_the_heads_after_appends_from_four_threads(
    world: World,
) -> None:
    def producer(number: int) -> None:
        for _ in range(6):
            world.register(kind=Kind.FILE, owner=f"team-{number}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(producer, range(4)))
    with world.database.read() as db:
        head = log.read_head(db)
        leaves = [leaf_hash(one) for one in log.envelopes(db, head.size)]
        assert log.leaf_count(db) == head.size
        indices = [one.index for one in log.entries_after(db, limit=1000)]
    recomputed = Frontier().extend(leaves)
    assert (recomputed.size, recomputed.root()) == (head.size, head.frontier.root())
    assert indices == list(range(head.size))
    assert len(world.entries("thread.registered")) == 24


def test_an_export_verifies_and_counts_the_grades_that_the_threads_have(world: World, tmp_path: Path) -> None:
    world.rules(POLICIES, extra="controls: [sibling]")
    confirmed = [world.register() for _ in range(3)]
    world.register(age=3 * DAY)
    inferred = world.register(kind=Kind.FILE)
    world.register(kind=Kind.FILE, age=3 * DAY)
    absent = world.register(kind=Kind.FILE)
    world.vanish(absent)
    retired = [world.register(kind=Kind.THREAD) for _ in range(2)]
    alone = world.register(kind=Kind.RESPONSE)
    partial = world.register(children=2)
    item = world.sandbox.store.children(partial.thread.external_id)[0].id
    world.sandbox.set_faults(
        [
            FaultRule(fault=Fault.ENDPOINT_RETIRED, kind=ObjectKind.THREAD),
            FaultRule(fault=Fault.LOST_REPLY, kind=ObjectKind.FILE, count=1),
            FaultRule(fault=Fault.ERROR_500, kind=ObjectKind.ITEM, method="DELETE", object_id=item),
        ]
    )
    world.sweep()
    for _ in range(6):
        world.drain()
        world.clock.move(timedelta(hours=1, seconds=1))
    threads = [*confirmed, inferred, absent, *retired, alone, partial]
    told = words(world, threads)
    assert told == {
        "confirmed": 3,
        "inferred": 1,
        "absent": 1,
        "unverifiable": 2,
        "acknowledged": 1,
        "partial": 1,
    }
    report = exported(world, tmp_path / "evidence.zip")
    assert report.problems == ()
    assert report.verified
    assert report.key_authenticated
    assert report.grades == told


def test_an_export_after_crashes_lies_and_holds_verifies_too(world: World, tmp_path: Path) -> None:
    crashed = world.register(kind=Kind.FILE)
    world.register(kind=Kind.FILE, age=3 * DAY)
    world.sweep()
    kill_at(world, after_delete=True)
    world.drain()
    lied, held, failing = (world.register(kind=Kind.FILE) for _ in range(3))
    world.hold(HoldScope(ids=(held.thread.id,)))
    world.sandbox.set_faults(
        [
            FaultRule(fault=Fault.LYING_200, kind=ObjectKind.FILE, object_id=lied.thread.external_id),
            FaultRule(
                fault=Fault.ERROR_500,
                kind=ObjectKind.FILE,
                method="DELETE",
                object_id=failing.thread.external_id,
            ),
        ]
    )
    world.sweep()
    for _ in range(9):
        world.drain()
        world.clock.move(timedelta(hours=1, seconds=1))
    threads = [crashed, lied, failing]
    assert words(world, threads) == {"inferred": 1, "still_present": 2}
    report = exported(world, tmp_path / "evidence.zip")
    assert (report.problems, report.verified) == ((), True)
    assert report.grades == words(world, threads)


def test_an_export_holds_nothing_that_names_another_project(world: World, tmp_path: Path) -> None:
    url = world.sandbox.base_url
    second = project_document(url, "second-secret", extra="provider_project: proj_2")
    world.policies(POLICIES + project_document(url) + second)
    own = world.register(owner="own-team")
    world.register(owner="own-team", age=3 * DAY)
    other = [
        world.register(project="second-secret", owner="owner-secret", age=age) for age in (40 * DAY, 3 * DAY)
    ]
    world.hold(HoldScope(ids=(other[1].thread.external_id, other[1].thread.id)), matter="matter-secret")
    world.sweep()
    world.drain()
    world.clock.move(timedelta(minutes=1, seconds=1))
    world.drain()
    assert {world.grade(own), world.grade(other[0])} == {"confirmed"}
    report = exported(world, tmp_path / "evidence.zip")
    assert report.verified
    text = contents(tmp_path / "evidence.zip")
    assert own.thread.external_id.encode() in text
    for secret in ("second-secret", "owner-secret", "matter-secret", "proj_2"):
        assert secret.encode() not in text
    for one in other:
        assert one.thread.external_id.encode() not in text
        assert one.thread.id.encode() not in text


def contents(file: Path) -> bytes:
    """Return everything that a bundle holds, unpacked."""
    with zipfile.ZipFile(file) as bundle:
        members = [bundle.read(name) for name in bundle.namelist()]
    return b"\n".join(gzip.decompress(one) if one[:2] == b"\x1f\x8b" else one for one in members)


def test_the_log_is_sealed_with_news_after_a_minute_and_without_after_an_hour(world: World) -> None:
    first = seal(world.database, world.sealer, clock=world.clock)
    assert first is not None
    world.register()
    world.clock.move(timedelta(seconds=30))
    assert seal(world.database, world.sealer, clock=world.clock) == first
    world.clock.move(timedelta(seconds=31))
    second = seal(world.database, world.sealer, clock=world.clock)
    assert second is not None
    assert second.size > first.size
    world.clock.move(timedelta(minutes=59))
    assert seal(world.database, world.sealer, clock=world.clock) == second
    world.clock.move(timedelta(minutes=2))
    third = seal(world.database, world.sealer, clock=world.clock)
    assert third is not None
    assert third.size > second.size


def test_two_sealers_at_once_leave_one_checkpoint_of_a_size(world: World) -> None:
    world.register()
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: seal(world.database, world.sealer, clock=world.clock), range(2)))
    assert all(made)
    assert len({one.size for one in made if one}) == 1 + (len(world.entries("log.sealed")) == 2)
