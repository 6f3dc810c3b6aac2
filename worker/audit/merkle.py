"""The RFC 6962 Merkle tree over SHA-256.

DANGER. Roots are signed and published; they cannot be taken back. A change in how one byte is hashed
splits every log that exists, and a wrong frontier signs a history that never was. Invariants: a leaf is
hashed behind 0x00 and a node behind 0x01 (so neither can pass for the other), trees only grow, and the
roots of the published test vectors hold (tests/audit/test_merkle.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from worker.model.errors import TenureError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
_SIZE_BYTES = 8

# The root over the leaves [low, high); asked for subtrees of the tree alone.
SubtreeRoot: TypeAlias = Callable[[int, int], bytes]


class BadTree(TenureError):
    """Sizes, indices or hashes do not belong to one tree."""

    code = "bad_tree"


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """What must be kept of a tree to make it grow: the roots of its full subtrees, largest first."""

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.hashes) != self.size.bit_count():
            raise BadTree(f"A frontier of {len(self.hashes)} hashes is not that of {self.size} leaves.")
        if any(len(one) != HASH_BYTES for one in self.hashes):
            raise BadTree("A hash has not 32 bytes.")

    def append(self, leaf: bytes) -> Frontier:
        """Return the frontier with one more leaf hash."""
        return self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> Frontier:
        """Return the frontier with these leaf hashes, in order."""
        size, stack, sha256 = self.size, list(self.hashes), hashlib.sha256
        for leaf in leaves:
            node, full = leaf, size
            while full & 1:
                node = sha256(b"\x01" + stack.pop() + node).digest()  # node_hash, of a million leaves
                full >>= 1
            stack.append(node)
            size += 1
        return Frontier(size=size, hashes=tuple(stack))

    def root(self) -> bytes:
        """Return the root hash; SHA-256 of nothing for the empty tree."""
        if not self.hashes:
            return EMPTY_ROOT
        node = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            node = node_hash(left, node)
        return node

    def to_bytes(self) -> bytes:
        """Return the size (8 bytes, big-endian) and the hashes."""
        return self.size.to_bytes(_SIZE_BYTES, "big") + b"".join(self.hashes)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Frontier:
        """Read what ``to_bytes`` wrote; raises BadTree."""
        tail = raw[_SIZE_BYTES:]
        if len(raw) < _SIZE_BYTES or len(tail) % HASH_BYTES:
            raise BadTree(f"{len(raw)} bytes are no frontier.")
        hashes = tuple(tail[at : at + HASH_BYTES] for at in range(0, len(tail), HASH_BYTES))
        return cls(size=int.from_bytes(raw[:_SIZE_BYTES], "big"), hashes=hashes)


def root_of(leaf_hashes: Iterable[bytes]) -> bytes:
    """Return the root over these leaf hashes."""
    return Frontier().extend(leaf_hashes).root()


def inclusion_proof(index: int, size: int, hashes: Sequence[bytes]) -> list[bytes]:
    """Return the audit path of a leaf in the tree of the first ``size`` leaf hashes (RFC 6962 2.1.1)."""
    if size > len(hashes):
        raise BadTree(f"A tree of {size} leaves needs more than {len(hashes)} hashes.")
    return inclusion_path(index, size, lambda low, high: root_of(hashes[low:high]))


def inclusion_path(index: int, size: int, subtree: SubtreeRoot) -> list[bytes]:
    """Return the audit path of a leaf, the leaf's sibling first, from the roots of subtrees."""
    if not 0 <= index < size:
        raise BadTree(f"Leaf {index} is not in a tree of {size} leaves.")
    low, high = 0, size
    path: list[bytes] = []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(subtree(middle, high))
            high = middle
        else:
            path.append(subtree(low, middle))
            low = middle
    return path[::-1]


def verify_inclusion(*, index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Tell whether the leaf hash is at ``index`` under ``root`` (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    place, last, node = index, size - 1, leaf
    for one in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            node = node_hash(one, node)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            node = node_hash(node, one)
        place, last = place >> 1, last >> 1
    return last == 0 and node == root


def consistency_proof(old: int, new: int, hashes: Sequence[bytes]) -> list[bytes]:
    """Return the proof that the tree of ``old`` leaves is a prefix of that of ``new`` (RFC 6962 2.1.2)."""
    if new > len(hashes):
        raise BadTree(f"A tree of {new} leaves needs more than {len(hashes)} hashes.")
    return consistency_path(old, new, lambda low, high: root_of(hashes[low:high]))


def consistency_path(old: int, new: int, subtree: SubtreeRoot) -> list[bytes]:
    """Return the same proof from the roots of subtrees."""
    if not 0 <= old <= new:
        raise BadTree(f"A tree of {old} leaves is no prefix of {new} leaves.")
    if old in {0, new}:
        return []
    low, high, left, known = 0, new, old, True
    proof: list[bytes] = []
    while left != high - low:
        middle = _split(high - low)
        if left <= middle:
            proof.append(subtree(low + middle, high))
            high = low + middle
        else:
            proof.append(subtree(low, low + middle))
            low, left, known = low + middle, left - middle, False
    if not known:
        proof.append(subtree(low, high))
    return proof[::-1]


def verify_consistency(
    *, old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Tell whether the newer tree only added leaves to the older (RFC 9162 section 2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    if old == new:
        return not proof and old_root == new_root
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        return False
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old_node = new_node = path[0]
    for one in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old_node, new_node = node_hash(one, old_node), node_hash(one, new_node)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new_node = node_hash(new_node, one)
        place, last = place >> 1, last >> 1
    return last == 0 and old_node == old_root and new_node == new_root


def _split(size: int) -> int:
    """Return the largest power of two below ``size``."""
    return 1 << ((size - 1).bit_length() - 1)
