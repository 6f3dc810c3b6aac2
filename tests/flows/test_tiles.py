"""Tiles are laid from what is committed; proofs read a few rows of them, and a wrong one proves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from sqlalchemy import delete, event, insert, select, update

from tests.world.databases import without_triggers
from tests.world.world import ACTOR, World
from worker.audit.checkpoint import Checkpoint, parse_checkpoint
from worker.audit.entry import Entry, EntryType
from worker.audit.keys import LogKey
from worker.audit.merkle import Frontier, leaf_hash, root_of, verify_consistency, verify_inclusion
from worker.audit.note import split_note
from worker.audit.reading import parse_envelope
from worker.audit.tiles import inclusion_from_tiles, perfect_root, split_tile
from worker.audit.tlog_proof import parse_tlog_proof, verify_tlog_proof
from worker.flows import tile
from worker.flows.prove import LogDisagrees, prove, prove_continuation
from worker.flows.seal import seal
from worker.flows.tile import lay_tiles
from worker.model.errors import Invalid, NotFound
from worker.store import log
from worker.store.engine import Database
from worker.store.tables import audit_head, audit_leaf, audit_tile
from worker.store.tiles import StoredTiles


@pytest.fixture
def world(any_world: World) -> World:
    """A world whose log may hold leaves that tell of nothing."""
    return any_world


# One full tile of level 1, and a few leaves behind the last full one of level 0.
MANY = 65_536 + 256 + 7


def fill(database: Database, size: int) -> list[bytes]:
    """Let the log be so many plain leaves, as if they had been appended before there were tiles."""
    envelopes = [b"leaf %d" % n for n in range(size)]
    hashes = [leaf_hash(one) for one in envelopes]
    frontier = Frontier().extend(hashes)
    with database.write() as db, without_triggers(db):
        db.execute(delete(audit_leaf))
        db.execute(insert(audit_leaf), [{"idx": n, "envelope": one} for n, one in enumerate(envelopes)])
        db.execute(update(audit_head).values(size=size, news=size, frontier=frontier.to_bytes()))
    return hashes


def append(world: World, count: int) -> None:
    """Append so many entries in one transaction."""
    now = world.clock.now()
    one = Entry(type=EntryType.KEY_REVOKED, at=now, actor=ACTOR, body={"key": "k1"})
    with world.database.write() as db:
        log.append(db, [one] * count)


@dataclass(slots=True)
class Asked:
    """How many statements were run."""

    statements: int = 0


@contextmanager
def counted(database: Database) -> Iterator[Asked]:
    asked = Asked()

    def count(*_: object) -> None:
        asked.statements += 1

    event.listen(database.readers, "before_cursor_execute", count)
    try:
        yield asked
    finally:
        event.remove(database.readers, "before_cursor_execute", count)


def stored(database: Database) -> dict[tuple[int, int], tuple[bytes, bytes]]:
    with database.read() as db:
        return {(row.level, row.n): (row.root, row.data) for row in db.execute(select(audit_tile))}


def assert_tiles_agree(database: Database) -> None:
    """Every stored tile is what the leaves say, and every full one is stored."""
    with database.read() as db:
        head = log.read_head(db)
        row = [leaf_hash(one) for one in log.envelopes(db, head.size)]
    assert head.frontier.root() == root_of(row)
    wanted: dict[tuple[int, int], tuple[bytes, bytes]] = {}
    level = 0
    while row:
        full = [tuple(row[at : at + 256]) for at in range(0, len(row) // 256 * 256, 256)]
        wanted |= {(level, n): (perfect_root(one), b"".join(one)) for n, one in enumerate(full)}
        row, level = [perfect_root(one) for one in full], level + 1
    assert stored(database) == wanted


@pytest.fixture
def filled(world: World) -> tuple[World, list[bytes]]:
    return world, fill(world.database, MANY)


def test_a_log_from_before_there_were_tiles_gets_them_in_small_transactions_and_proofs_read_few_rows(
    filled: tuple[World, list[bytes]],
) -> None:
    world, hashes = filled
    database = world.database
    # 256 tiles of level 0 by 64, the rest of level 0, and one of level 1.
    assert not lay_tiles(database, rounds=1)
    assert len(stored(database)) == 64
    assert not lay_tiles(database, rounds=4)
    assert lay_tiles(database)
    assert_tiles_agree(database)
    assert {key for key in stored(database) if key[0]} == {(1, 0)}
    root = root_of(hashes)
    for index in (0, 1, 255, 256, 40_000, 65_535, 65_536, MANY - 1):
        with counted(database) as asked, database.read() as db:
            path = inclusion_from_tiles(index, MANY, StoredTiles(db=db, size=MANY))
        assert verify_inclusion(index=index, size=MANY, leaf=hashes[index], proof=path, root=root)
        assert asked.statements <= 5, index
    for old in (1, 256, 300, 65_535, 65_536, 65_537, MANY - 1):
        earlier = Checkpoint(origin="o", size=old, root=root_of(hashes[:old]))
        with counted(database) as asked, database.read() as db:
            proof = prove_continuation(db, earlier, Checkpoint(origin="o", size=MANY, root=root))
        assert verify_consistency(old=old, new=MANY, old_root=earlier.root, new_root=root, proof=proof)
        assert asked.statements <= 6, old


def test_proofs_are_right_before_any_tile_is_laid(world: World) -> None:
    hashes = fill(world.database, 600)
    root = root_of(hashes)
    with world.database.read() as db:
        read = StoredTiles(db=db, size=600)
        for index in (0, 255, 256, 511, 512, 599):
            path = inclusion_from_tiles(index, 600, read)
            assert verify_inclusion(index=index, size=600, leaf=hashes[index], proof=path, root=root)


def test_a_crash_between_two_transactions_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tile, "_TILES_AT_ONCE", 1)
    fill(world.database, 1100)
    for rounds in (1, 1, 0, 1):
        lay_tiles(world.database, rounds=rounds)
    assert len(stored(world.database)) == 3
    assert lay_tiles(world.database)
    assert_tiles_agree(world.database)


def test_four_writers_and_two_that_lay_tiles_leave_one_log_whose_tiles_agree_with_its_leaves(
    world: World,
) -> None:
    def write(_: int) -> None:
        for count in (1, 200, 3, 57, 200):
            append(world, count)

    def lay(_: int) -> None:
        for _again in range(6):
            lay_tiles(world.database)

    with ThreadPoolExecutor(6) as pool:
        waiting = [pool.submit(write, n) for n in range(4)] + [pool.submit(lay, n) for n in range(2)]
        for one in waiting:
            one.result()
    lay_tiles(world.database)
    with world.database.read() as db:
        assert log.read_head(db).size == log.leaf_count(db) >= 4 * 461
    assert_tiles_agree(world.database)
    assert len(stored(world.database)) == 7


def test_an_entry_is_proved_by_its_index_or_its_id_to_a_checkpoint_that_reaches_it(world: World) -> None:
    append(world, 300)
    keys = [LogKey(vkey=world.sealer.signer().vkey)]
    by_index = prove(world.database, world.sealer, "7", clock=world.clock)
    read = parse_tlog_proof(by_index.proof.text)
    assert verify_tlog_proof(read, keys) == by_index.checkpoint
    assert read.envelope is not None
    assert parse_envelope(read.envelope).type == "key.revoked"
    named = read.envelope[read.envelope.index(b'"id":"') + 6 :][:32].decode()
    assert prove(world.database, world.sealer, named, clock=world.clock).proof == read
    # A later entry lies behind that checkpoint, so the log is sealed first; the older proof stays good.
    append(world, 1)
    later = prove(world.database, world.sealer, str(by_index.checkpoint.size + 1), clock=world.clock)
    assert later.checkpoint.size > by_index.checkpoint.size
    assert verify_tlog_proof(read, keys) == by_index.checkpoint
    with world.database.read() as db:
        prove_continuation(db, by_index.checkpoint, later.checkpoint)


@pytest.mark.parametrize("named", ["", "x", "-1", "thr_1", "0x1", "01", "9" * 17, "A" * 32])
def test_what_names_no_entry_is_refused(world: World, named: str) -> None:
    append(world, 1)
    with pytest.raises(Invalid):
        prove(world.database, world.sealer, named, clock=world.clock)


@pytest.mark.parametrize("named", ["100000", "0" * 32, "f" * 32])
def test_an_entry_that_is_not_there_is_not_found(world: World, named: str) -> None:
    append(world, 1)
    with pytest.raises(NotFound):
        prove(world.database, world.sealer, named, clock=world.clock)


def test_a_changed_tile_or_leaf_proves_nothing(world: World) -> None:
    append(world, 300)
    assert seal(world.database, world.sealer, clock=world.clock, force=True)
    lay_tiles(world.database)
    for change, index in (
        (update(audit_tile).values(data=bytes(8192)), "3"),
        (update(audit_tile).values(root=bytes(32)), "270"),
    ):
        before = stored(world.database)
        with world.database.write() as db, without_triggers(db):
            db.execute(change)
        with pytest.raises(LogDisagrees):
            prove(world.database, world.sealer, index, clock=world.clock)
        with world.database.write() as db, without_triggers(db):
            db.execute(delete(audit_tile))
        lay_tiles(world.database)
        assert stored(world.database) == before
    with world.database.write() as db, without_triggers(db):
        db.execute(update(audit_leaf).where(audit_leaf.c.idx == 3).values(envelope=b"another"))
    with pytest.raises(LogDisagrees):
        prove(world.database, world.sealer, "3", clock=world.clock)


def test_two_histories_have_no_proof_that_one_continues_the_other(world: World) -> None:
    append(world, 20)
    made = seal(world.database, world.sealer, clock=world.clock, force=True)
    assert made is not None
    old = parse_checkpoint(split_note(made.note)[0])
    append(world, 20)
    newer = prove(world.database, world.sealer, "30", clock=world.clock).checkpoint
    with world.database.read() as db:
        prove_continuation(db, old, newer)
        forged = Checkpoint(origin=old.origin, size=old.size, root=bytes(32))
        with pytest.raises(LogDisagrees):
            prove_continuation(db, forged, newer)


def test_a_stored_tile_is_8192_bytes_and_its_root_is_the_hash_above(world: World) -> None:
    hashes = fill(world.database, 256)
    lay_tiles(world.database)
    ((root, data),) = stored(world.database).values()
    assert split_tile(data) == tuple(hashes)
    assert root == root_of(hashes)
