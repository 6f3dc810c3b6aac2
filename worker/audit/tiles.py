"""Tiles: the tree's hashes in rows of 256 (c2sp.org/tlog-tiles), so that a proof reads a few of them.

Tile ``n`` of level ``l`` holds the roots over 256 runs of 256**l leaves each, from leaf n * 256**(l+1) on. A
tile is stored when it is full and never changes then; what lies behind the last full one is computed anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from worker.audit.merkle import HASH_BYTES, BadTree, consistency_path, inclusion_path, node_hash

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
TILE_BYTES = TILE_WIDTH * HASH_BYTES


class TileReader(Protocol):
    """Where the hashes of one tree come from: stored tiles, and its leaves behind the last full one."""

    def __call__(self, level: int, n: int) -> Sequence[bytes]:
        """Return the hashes of a tile, fewer than 256 for the last of a level; raises BadTree for none."""
        ...


def split_tile(data: bytes) -> tuple[bytes, ...]:
    """Return the hashes of a stored tile; raises BadTree unless it is full."""
    if len(data) != TILE_BYTES:
        raise BadTree(f"A tile of {len(data)} bytes is not full: {TILE_BYTES} are.")
    return tuple(data[at : at + HASH_BYTES] for at in range(0, TILE_BYTES, HASH_BYTES))


def join_tile(hashes: Sequence[bytes]) -> bytes:
    """Return the bytes of a full tile; raises BadTree for any other number of hashes."""
    if len(hashes) != TILE_WIDTH or any(len(one) != HASH_BYTES for one in hashes):
        raise BadTree(f"{len(hashes)} hashes are no full tile.")
    return b"".join(hashes)


def full_tiles(size: int, level: int) -> int:
    """Return how many tiles of a level are full in a tree of ``size`` leaves."""
    return size >> (TILE_HEIGHT * (level + 1))


def width(size: int, level: int, n: int) -> int:
    """Return how many hashes a tile has in a tree of ``size`` leaves: 0 to 256."""
    return max(0, min(TILE_WIDTH, (size >> (TILE_HEIGHT * level)) - n * TILE_WIDTH))


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over a number of hashes that is a power of two."""
    if not hashes or len(hashes) & (len(hashes) - 1):
        raise BadTree(f"{len(hashes)} hashes are no perfect subtree.")
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


def subtree_root(low: int, high: int, read: TileReader) -> bytes:
    """Return the root over the leaves [low, high), a subtree of the tree, from its tiles."""
    if not 0 <= low < high:
        raise BadTree(f"[{low}, {high}) is no subtree.")
    roots: list[bytes] = []
    while low < high:
        height = (high - low).bit_length() - 1
        if low & ((1 << height) - 1):
            raise BadTree(f"[{low}, {high}) is no subtree of the tree.")
        roots.append(_aligned_root(low >> height, height, read))
        low += 1 << height
    node = roots.pop()
    while roots:
        node = node_hash(roots.pop(), node)
    return node


def inclusion_from_tiles(index: int, size: int, read: TileReader) -> list[bytes]:
    """Return the audit path of a leaf in the tree of ``size`` leaves (RFC 6962 2.1.1); raises BadTree."""
    return inclusion_path(index, size, lambda low, high: subtree_root(low, high, read))


def consistency_from_tiles(old: int, new: int, read: TileReader) -> list[bytes]:
    """Return the proof that ``new`` leaves continue ``old`` ones (RFC 6962 2.1.2); raises BadTree."""
    return consistency_path(old, new, lambda low, high: subtree_root(low, high, read))


def _aligned_root(number: int, height: int, read: TileReader) -> bytes:
    """Return the root over the ``number``-th run of 2**height leaves: it lies within one tile."""
    level, rest = divmod(height, TILE_HEIGHT)
    first = number << rest
    n, at = divmod(first, TILE_WIDTH)
    hashes = read(level, n)[at : at + (1 << rest)]
    if len(hashes) != 1 << rest:
        raise BadTree(f"Tile {n} of level {level} is too short for this tree.")
    return perfect_root(hashes)
