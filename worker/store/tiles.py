"""The stored tiles of the log's tree, and the reader that proofs are made from.

Tiles repeat what the leaves say: a lost one is computed anew, and a wrong one makes a proof that its own
maker refuses. Only full tiles are stored, each once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, func, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from worker.audit.merkle import BadTree, leaf_hash
from worker.audit.tiles import TILE_WIDTH, full_tiles, join_tile, perfect_root, split_tile, width
from worker.store.tables import audit_leaf, audit_tile


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One full tile: 256 hashes of level ``level`` from ``n`` * 256 on."""

    level: int
    n: int
    hashes: tuple[bytes, ...]


@dataclass(slots=True, kw_only=True)
class StoredTiles:
    """A TileReader over the tree of the first ``size`` leaves; each tile is read once.

    A full tile is one row. The last tile of a level is made of at most 255 leaves or roots of tiles, read by
    one statement. Where a tile is not stored yet, what lies below it is read instead.
    """

    db: Connection
    size: int
    _seen: dict[tuple[int, int], tuple[bytes, ...]] = field(default_factory=dict)

    def __call__(self, level: int, n: int) -> Sequence[bytes]:
        """Return the hashes of a tile; raises BadTree where a leaf is missing."""
        if (level, n) not in self._seen:
            self._seen[level, n] = self._read(level, n)
        return self._seen[level, n]

    def _read(self, level: int, n: int) -> tuple[bytes, ...]:
        wide = width(self.size, level, n)
        if wide == TILE_WIDTH:
            stored = select(audit_tile.c.data).where(audit_tile.c.level == level, audit_tile.c.n == n)
            data = self.db.execute(stored).scalar_one_or_none()
            if data is not None:
                return split_tile(bytes(data))
        first = n * TILE_WIDTH
        return _leaf_hashes(self.db, first, wide) if level == 0 else self._roots(level - 1, first, wide)

    def _roots(self, level: int, first: int, count: int) -> tuple[bytes, ...]:
        """Return the roots of full tiles; of those not stored yet, from what they are made of."""
        rows = select(audit_tile.c.n, audit_tile.c.root).where(
            audit_tile.c.level == level, audit_tile.c.n >= first, audit_tile.c.n < first + count
        )
        known = {row.n: bytes(row.root) for row in self.db.execute(rows)}
        return tuple(
            known[n] if n in known else perfect_root(self._read(level, n))
            for n in range(first, first + count)
        )


def next_tiles(db: Connection, level: int, *, size: int, limit: int) -> list[Tile]:
    """Return the first tiles of a level that are full at ``size`` and not stored yet, at most ``limit``."""
    newest = db.execute(select(func.max(audit_tile.c.n)).where(audit_tile.c.level == level)).scalar_one()
    first = 0 if newest is None else newest + 1
    end = min(full_tiles(size, level), first + limit)
    read = StoredTiles(db=db, size=size)
    return [Tile(level=level, n=n, hashes=tuple(read(level, n))) for n in range(first, end)]


def store_tiles(db: Connection, tiles: Sequence[Tile]) -> None:
    """Store full tiles; one that another process stored meanwhile stays as it is, being the same."""
    # On SQLite the guard rail refuses a row that is there before the conflict is seen; and this transaction,
    # being the only writer there, has read them all. On PostgreSQL the conflict counts.
    known = _stored(db, tiles)
    made = sqlite.insert if db.dialect.name == "sqlite" else postgresql.insert
    rows = [
        {
            "level": one.level,
            "n": one.n,
            "root": perfect_root(one.hashes),
            "data": join_tile(one.hashes),
        }
        for one in tiles
        if (one.level, one.n) not in known
    ]
    if rows:
        db.execute(made(audit_tile).on_conflict_do_nothing(), rows)


def _stored(db: Connection, tiles: Sequence[Tile]) -> set[tuple[int, int]]:
    """Return which of these tiles are there."""
    place = tuple_(audit_tile.c.level, audit_tile.c.n)
    query = select(audit_tile.c.level, audit_tile.c.n).where(place.in_([(one.level, one.n) for one in tiles]))
    return {(row.level, row.n) for row in db.execute(query)}


def _leaf_hashes(db: Connection, first: int, count: int) -> tuple[bytes, ...]:
    rows = (
        select(audit_leaf.c.envelope)
        .where(audit_leaf.c.idx >= first, audit_leaf.c.idx < first + count)
        .order_by(audit_leaf.c.idx)
    )
    hashes = tuple(leaf_hash(bytes(envelope)) for (envelope,) in db.execute(rows))
    if len(hashes) != count:
        raise BadTree(
            f"Of the leaves {first} to {first + count - 1} only {len(hashes)} are stored.",
            repair="Restore the database; a log never loses a leaf by itself.",
        )
    return hashes
