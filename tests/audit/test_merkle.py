from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.audit.merkle import (
    EMPTY_ROOT,
    BadTree,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

# The eight leaves of the reference implementation of RFC 6962 (google/certificate-transparency) and the
# roots of the first one, two, ... eight of them.
CT_LEAVES = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SIZES = 70
HASHES = [leaf_hash(n.to_bytes(2, "big")) for n in range(SIZES)]
ROOTS = [root_of(HASHES[:n]) for n in range(SIZES + 1)]


def _plain_root(hashes: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not hashes:
        return hashlib.sha256().digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return node_hash(_plain_root(hashes[:k]), _plain_root(hashes[k:]))


@pytest.mark.parametrize("size", range(1, 9))
def test_the_reference_leaves_give_the_reference_roots(size: int) -> None:
    hashes = [leaf_hash(bytes.fromhex(one)) for one in CT_LEAVES[:size]]
    assert root_of(hashes).hex() == CT_ROOTS[size - 1]


def test_the_empty_tree_has_the_digest_of_nothing() -> None:
    assert root_of([]) == EMPTY_ROOT == hashlib.sha256().digest()
    assert Frontier().root() == EMPTY_ROOT


@pytest.mark.parametrize("size", range(SIZES + 1))
def test_every_root_is_that_of_the_definition(size: int) -> None:
    assert ROOTS[size] == _plain_root(HASHES[:size])


@given(st.lists(st.integers(0, 9), max_size=8))
def test_a_frontier_grows_to_the_same_root_in_any_portions(portions: list[int]) -> None:
    frontier, done = Frontier(), 0
    for portion in portions:
        frontier = frontier.extend(HASHES[done : done + portion])
        done = min(SIZES, done + portion)
        frontier = Frontier.from_bytes(frontier.to_bytes())
    assert (frontier.size, frontier.root()) == (done, ROOTS[done])
    if done < SIZES:
        assert frontier.append(HASHES[done]).root() == ROOTS[done + 1]


@pytest.mark.parametrize(
    "raw", [b"", b"\0" * 7, b"\0" * 7 + b"\1", b"\0" * 8 + b"x" * 32, b"\0" * 7 + b"\3" + b"x" * 32]
)
def test_bytes_that_are_no_frontier_are_refused(raw: bytes) -> None:
    with pytest.raises(BadTree):
        Frontier.from_bytes(raw)


def test_each_leaf_is_proved_in_each_tree_and_no_other_place_is() -> None:
    for size in range(1, SIZES + 1):
        for index in range(size):
            proof = inclusion_proof(index, size, HASHES)
            leaf = HASHES[index]
            assert verify_inclusion(index=index, size=size, leaf=leaf, proof=proof, root=ROOTS[size])
            other = (index + 1) % size
            if other != index:
                assert not verify_inclusion(index=other, size=size, leaf=leaf, proof=proof, root=ROOTS[size])
            assert not verify_inclusion(index=index, size=size, leaf=leaf, proof=proof, root=ROOTS[size - 1])
            assert not verify_inclusion(
                index=index, size=size, leaf=leaf, proof=[*proof, leaf], root=ROOTS[size]
            )
            if proof:
                assert not verify_inclusion(
                    index=index, size=size, leaf=leaf, proof=proof[:-1], root=ROOTS[size]
                )


def test_each_tree_is_proved_to_continue_each_older_one_and_no_forged_one() -> None:
    forged = leaf_hash(b"forged")
    for new in range(SIZES + 1):
        for old in range(new + 1):
            proof = consistency_proof(old, new, HASHES)
            known = {"old": old, "new": new, "proof": proof}
            assert _continues(old, new, ROOTS[old], ROOTS[new], proof), known
            assert not _continues(old, new, forged, ROOTS[new], proof), known
            if old:
                assert not _continues(old, new, ROOTS[old], forged, proof), known
            assert not _continues(old, new, ROOTS[old], ROOTS[new], [*proof, forged]), known
            for at in range(len(proof)):
                changed = [*proof[:at], forged, *proof[at + 1 :]]
                assert not _continues(old, new, ROOTS[old], ROOTS[new], changed), known
                assert not _continues(old, new, ROOTS[old], ROOTS[new], proof[:at]), known


def _continues(old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes]) -> bool:
    return verify_consistency(old=old, new=new, old_root=old_root, new_root=new_root, proof=proof)


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0), (0, SIZES + 1)])
def test_a_proof_for_a_leaf_outside_the_tree_is_refused(index: int, size: int) -> None:
    with pytest.raises(BadTree):
        inclusion_proof(index, size, HASHES)
    assert not verify_inclusion(index=index, size=min(size, 3), leaf=HASHES[0], proof=[], root=ROOTS[3])


@pytest.mark.parametrize(("old", "new"), [(-1, 3), (4, 3), (0, SIZES + 1)])
def test_a_tree_cannot_continue_a_larger_one(old: int, new: int) -> None:
    with pytest.raises(BadTree):
        consistency_proof(old, new, HASHES)


def test_a_long_log_is_folded_without_deep_calls() -> None:
    frontier = Frontier().extend(HASHES[n % SIZES] for n in range(100_000))
    assert (frontier.size, len(frontier.hashes)) == (100_000, (100_000).bit_count())
