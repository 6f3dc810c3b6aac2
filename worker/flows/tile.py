"""Tile: store the tree's full tiles, outside of every append, from what is committed.

A tile is a function of leaves that never change. So no writer waits for it, a crash in between loses
nothing, two processes at once store the same, and a log from before there were tiles is filled like any.
"""

from __future__ import annotations

from worker.audit.tiles import full_tiles
from worker.store import log, tiles
from worker.store.engine import Database

# Leaves of one transaction: 64 tiles are 16,384 of them, about 5 MB.
_TILES_AT_ONCE = 64
# At each look of beat, so that an old log is filled within hours and the next checkpoint is not late.
ROUNDS_PER_LOOK = 16


def lay_tiles(database: Database, *, rounds: int | None = None) -> bool:
    """Store the tiles that are full by now, level by level; False when ``rounds`` were not enough."""
    with database.read() as db:
        size = log.read_head(db).size
    done, level = 0, 0
    while full_tiles(size, level):
        if done == rounds:
            return False
        if not _lay(database, size, level):
            level += 1
            continue
        done += 1
    return True


def _lay(database: Database, size: int, level: int) -> bool:
    """Store the next tiles of a level in one short transaction; False when it has them all."""
    with database.read() as db:
        found = tiles.next_tiles(db, level, size=size, limit=_TILES_AT_ONCE)
    if found:
        with database.write() as db:
            tiles.store_tiles(db, found)
    return bool(found)
