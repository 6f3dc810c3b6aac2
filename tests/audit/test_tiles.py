"""Proofs from tiles equal those of the definition, and only what belongs together verifies."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.audit.merkle import (
    BadTree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from worker.audit.tiles import (
    TILE_BYTES,
    TILE_WIDTH,
    consistency_from_tiles,
    full_tiles,
    inclusion_from_tiles,
    join_tile,
    perfect_root,
    split_tile,
    subtree_root,
    width,
)

MOST = 70_000
HASHES = [leaf_hash(n.to_bytes(3, "big")) for n in range(MOST)]
# The sizes at which tiles of some level become full, and those around them.
EDGES = [n for edge in (1, 2, 255, 256, 512, 65_535, 65_536, 65_792) for n in (edge - 1, edge, edge + 1) if n]
SIZES = st.integers(1, MOST) | st.sampled_from(EDGES)


class Tiles:
    """A reader over the leaf hashes themselves, which counts what it is asked for."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.read: set[tuple[int, int]] = set()
        self._rows: dict[int, list[bytes]] = {0: HASHES[:size]}

    def __call__(self, level: int, n: int) -> Sequence[bytes]:
        self.read.add((level, n))
        found = self._level(level)[n * TILE_WIDTH : (n + 1) * TILE_WIDTH]
        if not found:
            raise BadTree(f"There is no tile {n} at level {level}.")
        return found

    def _level(self, level: int) -> list[bytes]:
        if level not in self._rows:
            below = self._level(level - 1)
            full = len(below) // TILE_WIDTH
            self._rows[level] = [
                perfect_root(below[n * TILE_WIDTH : (n + 1) * TILE_WIDTH]) for n in range(full)
            ]
        return self._rows[level]


# Also for smaller trees: what is full there is full here.
WHOLE = Tiles(MOST)


def defined(low: int, high: int) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if high - low == 1:
        return HASHES[low]
    k = 1
    while k * 2 < high - low:
        k *= 2
    return node_hash(defined(low, low + k), defined(low + k, high))


def path(index: int, low: int, high: int) -> list[bytes]:
    """RFC 6962 section 2.1.1, word for word."""
    if high - low == 1:
        return []
    k = 1
    while k * 2 < high - low:
        k *= 2
    if index < k:
        return [*path(index, low, low + k), subtree_root(low + k, high, WHOLE)]
    return [*path(index - k, low + k, high), subtree_root(low, low + k, WHOLE)]


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 511, 512, 513, 1000, 4096, 4097])
def test_the_root_from_tiles_is_that_of_the_definition(size: int) -> None:
    assert subtree_root(0, size, Tiles(size)) == defined(0, size) == root_of(HASHES[:size])


@settings(max_examples=60, deadline=None)
@given(st.data(), SIZES)
def test_an_inclusion_proof_from_tiles_is_the_definitions_and_reads_few_tiles(
    data: st.DataObject, size: int
) -> None:
    index = data.draw(st.integers(0, size - 1))
    tiles = Tiles(size)
    made = inclusion_from_tiles(index, size, tiles)
    assert made == path(index, 0, size)
    root = subtree_root(0, size, WHOLE)
    assert verify_inclusion(index=index, size=size, leaf=HASHES[index], proof=made, root=root)
    # Of each of the three levels, the tile on the way and the last one.
    assert len(tiles.read) <= 6
    for level, n in tiles.read:
        assert 0 < width(size, level, n) == len(tiles(level, n))


@settings(max_examples=60, deadline=None)
@given(st.data(), SIZES)
def test_a_consistency_proof_from_tiles_verifies_and_reads_few_tiles(data: st.DataObject, new: int) -> None:
    old = data.draw(st.integers(0, new) | st.sampled_from([one for one in EDGES if one <= new]))
    tiles = Tiles(new)
    proof = consistency_from_tiles(old, new, tiles)
    roots = (subtree_root(0, old, WHOLE) if old else root_of([]), subtree_root(0, new, WHOLE))
    assert verify_consistency(old=old, new=new, old_root=roots[0], new_root=roots[1], proof=proof)
    assert len(tiles.read) <= 9


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 1200))
def test_small_trees_give_the_same_proofs_by_tiles_and_by_leaves(data: st.DataObject, size: int) -> None:
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    assert inclusion_from_tiles(index, size, Tiles(size)) == inclusion_proof(index, size, HASHES)
    assert consistency_from_tiles(old, size, Tiles(size)) == consistency_proof(old, size, HASHES)


# What transparency-dev/merkle asks of a verifier: every way in which a proof can be almost right.
Spoil = Callable[[list[bytes], bytes], list[bytes]]
SPOILED: dict[str, Spoil] = {
    "a modified bit": lambda proof, _: [bytes([proof[0][0] ^ 1]) + proof[0][1:], *proof[1:]],
    "a modified bit at the end": lambda proof, _: [*proof[:-1], bytes([proof[-1][0] ^ 128]) + proof[-1][1:]],
    "truncated in front": lambda proof, _: proof[1:],
    "truncated behind": lambda proof, _: proof[:-1],
    "garbage in front": lambda proof, root: [root, *proof],
    "trailing garbage": lambda proof, root: [*proof, root],
    "an empty hash behind": lambda proof, _: [*proof, b""],
    "a hash that is too short": lambda proof, _: [proof[0][:-1], *proof[1:]],
    "nothing": lambda _, __: [],
    "turned round": lambda proof, _: proof[::-1],
}


@pytest.mark.parametrize("how", SPOILED)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), size=st.integers(2, MOST))
def test_a_spoiled_inclusion_proof_does_not_verify(how: str, data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    good = inclusion_from_tiles(index, size, WHOLE)
    root = subtree_root(0, size, WHOLE)
    bad = SPOILED[how](good, root)
    told = verify_inclusion(index=index, size=size, leaf=HASHES[index], proof=bad, root=root)
    assert told == (bad == good)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(2, MOST))
def test_an_inclusion_proof_holds_for_one_leaf_index_size_and_root(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_from_tiles(index, size, WHOLE)
    right = {"index": index, "size": size, "leaf": HASHES[index], "proof": proof}
    root = subtree_root(0, size, WHOLE)
    other = data.draw(st.integers(0, size - 1).filter(lambda one: one != index))
    smaller = subtree_root(0, size - 1, WHOLE)
    assert verify_inclusion(**right, root=root)  # type: ignore[arg-type]
    for wrong in (
        {"index": other},
        {"leaf": HASHES[other]},
        {"index": index - 1 if index else size},
        {"index": size},
        {"index": -1},
        {"size": 0},
        {"root": smaller},
        {"root": HASHES[index]},
        {"root": b""},
        # A node passes for no leaf: 0x00 and 0x01 stand before them.
        {"leaf": node_hash(HASHES[index], proof[0])},
    ):
        assert not verify_inclusion(**{**right, "root": root, **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize("how", SPOILED)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), new=st.integers(2, MOST))
def test_a_spoiled_consistency_proof_does_not_verify(how: str, data: st.DataObject, new: int) -> None:
    old = data.draw(st.integers(1, new - 1))
    good = consistency_from_tiles(old, new, WHOLE)
    old_root, new_root = subtree_root(0, old, WHOLE), subtree_root(0, new, WHOLE)
    bad = SPOILED[how](good, new_root)
    told = verify_consistency(old=old, new=new, old_root=old_root, new_root=new_root, proof=bad)
    assert told == (bad == good)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(2, MOST))
def test_a_consistency_proof_holds_for_two_roots_in_order(data: st.DataObject, new: int) -> None:
    old = data.draw(st.integers(1, new - 1))
    proof = consistency_from_tiles(old, new, WHOLE)
    old_root, new_root = subtree_root(0, old, WHOLE), subtree_root(0, new, WHOLE)
    right = {"old": old, "new": new, "old_root": old_root, "new_root": new_root, "proof": proof}
    assert verify_consistency(**right)  # type: ignore[arg-type]
    for wrong in (
        {"old_root": new_root, "new_root": old_root},
        {"old_root": new_root},
        {"new_root": old_root},
        {"old": new, "new": old},
        {"old_root": b""},
        {"new_root": b""},
        {"old": 0},
    ):
        assert not verify_consistency(**{**right, **wrong})  # type: ignore[arg-type]


def test_a_tree_of_70000_leaves_has_the_tiles_of_the_specification() -> None:
    # The example of c2sp.org/tlog-tiles, section "Partial Tiles".
    assert (full_tiles(70_000, 0), width(70_000, 0, 273)) == (273, 112)
    assert (full_tiles(70_000, 1), width(70_000, 1, 1)) == (1, 17)
    assert (full_tiles(70_000, 2), width(70_000, 2, 0)) == (0, 1)
    assert (full_tiles(256, 0), width(256, 1, 0)) == (1, 1)
    assert width(70_000, 0, 274) == 0


def test_a_tile_is_256_hashes_and_8192_bytes() -> None:
    tile = tuple(HASHES[:TILE_WIDTH])
    assert len(join_tile(tile)) == TILE_BYTES == 8192
    assert split_tile(join_tile(tile)) == tile
    assert perfect_root(tile) == root_of(tile)
    for wrong in (HASHES[:255], HASHES[:257], [*HASHES[:255], b"short"]):
        with pytest.raises(BadTree):
            join_tile(wrong)
    for data in (b"", b"x" * 8191, b"x" * 8193):
        with pytest.raises(BadTree):
            split_tile(data)


@pytest.mark.parametrize(("low", "high"), [(0, 0), (3, 2), (-1, 1), (1, 3), (2, 6)])
def test_what_is_no_subtree_has_no_root(low: int, high: int) -> None:
    with pytest.raises(BadTree):
        subtree_root(low, high, WHOLE)


def test_a_tile_that_is_too_short_for_the_tree_is_refused() -> None:
    with pytest.raises(BadTree, match="too short"):
        inclusion_from_tiles(0, 300, Tiles(290))
