"""Proof files are those of c2sp.org/tlog-proof, and an almost right one is refused."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.audit.checkpoint import Checkpoint, sign_checkpoint
from worker.audit.envelope import Leaf
from worker.audit.keys import LogKey
from worker.audit.merkle import inclusion_proof, root_of
from worker.audit.note import Ed25519Signer
from worker.audit.tlog_proof import ProofRefused, TlogProof, parse_tlog_proof, verify_tlog_proof

# The shape of the specification's own example, its signatures aside.
C2SP = """c2sp.org/tlog-proof@v1
index 73894
gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=
EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=
RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=
AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=

example.com/fancylog
109482
sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

\u2014 example.com/fancylog hI2DJw==
"""
INDEX = 5


@pytest.fixture(scope="module")
def proof(leaves: Sequence[Leaf], signer: Ed25519Signer) -> TlogProof:
    hashes = [one.hash for one in leaves]
    head = Checkpoint(origin=signer.name, size=len(leaves), root=root_of(hashes))
    return TlogProof(
        index=INDEX,
        hashes=tuple(inclusion_proof(INDEX, len(leaves), hashes)),
        checkpoint=sign_checkpoint(head, signer),
        envelope=leaves[INDEX].envelope,
    )


@pytest.fixture(scope="module")
def keys(signer: Ed25519Signer) -> list[LogKey]:
    return [LogKey(vkey=signer.vkey)]


def test_the_example_of_the_specification_is_read_and_written_back() -> None:
    read = parse_tlog_proof(C2SP)
    assert (read.index, len(read.hashes), read.envelope) == (73894, 5, None)
    assert read.checkpoint.startswith("example.com/fancylog\n109482\n")
    assert read.text == C2SP
    with_extra = C2SP.replace("index", f"extra {base64.b64encode(b'e').decode()}\nindex")
    assert parse_tlog_proof(with_extra).envelope == b"e"
    assert parse_tlog_proof(with_extra).text == with_extra


def test_a_proof_has_the_lines_of_the_specification(proof: TlogProof, leaves: Sequence[Leaf]) -> None:
    lines = proof.text.split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert lines[1] == "extra " + base64.b64encode(leaves[INDEX].envelope).decode()
    assert lines[2] == "index 5"
    assert [base64.b64decode(one) for one in lines[3 : 3 + len(proof.hashes)]] == list(proof.hashes)
    assert lines[3 + len(proof.hashes)] == ""
    assert proof.text.endswith(proof.checkpoint)
    assert parse_tlog_proof(proof.text) == proof


def test_a_proof_verifies_by_itself_or_with_what_the_reader_knows(
    proof: TlogProof, keys: list[LogKey], leaves: Sequence[Leaf]
) -> None:
    assert verify_tlog_proof(proof, keys).size == len(leaves)
    bare = replace(proof, envelope=None)
    assert verify_tlog_proof(bare, keys, envelope=leaves[INDEX].envelope).size == len(leaves)
    with pytest.raises(ProofRefused, match="does not hold the entry"):
        verify_tlog_proof(bare, keys)
    with pytest.raises(ProofRefused, match="do not lead"):
        verify_tlog_proof(proof, keys, envelope=leaves[INDEX + 1].envelope)


def test_the_only_leaf_of_a_log_has_a_proof_without_hashes(
    leaves: Sequence[Leaf], signer: Ed25519Signer, keys: list[LogKey]
) -> None:
    head = Checkpoint(origin=signer.name, size=1, root=leaves[0].hash)
    one = TlogProof(index=0, hashes=(), checkpoint=sign_checkpoint(head, signer), envelope=leaves[0].envelope)
    assert verify_tlog_proof(parse_tlog_proof(one.text), keys) == head


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_changed_character_of_a_proof_verifies(data: st.DataObject) -> None:
    text, keys = _MADE["text"], _MADE["keys"]
    assert isinstance(text, str)
    assert isinstance(keys, list)
    at = data.draw(st.integers(0, len(text) - 1))
    new = data.draw(st.sampled_from("A0= \n/z") | st.characters(exclude_categories=["Cs"]))
    how = data.draw(st.sampled_from(["change", "cut", "insert", "truncate"]))
    spoiled = {
        "change": text[:at] + new + text[at + 1 :],
        "cut": text[:at] + text[at + 1 :],
        "insert": text[:at] + new + text[at:],
        "truncate": text[:at],
    }[how]
    if spoiled == text:
        return
    with pytest.raises(ProofRefused):
        verify_tlog_proof(parse_tlog_proof(spoiled), keys)


_MADE: dict[str, object] = {}


@pytest.fixture(scope="module", autouse=True)
def made(proof: TlogProof, keys: list[LogKey]) -> None:
    """Hypothesis draws anew for each example; the proof is made once."""
    _MADE.update(text=proof.text, keys=keys)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v1",
        "c2sp.org/tlog-proof@v1\n\n",
        C2SP.replace("@v1", "@v2"),
        C2SP.replace("index 73894", "index 073894"),
        C2SP.replace("index 73894", "index -1"),
        C2SP.replace("index 73894", "index \u0661"),
        C2SP.replace("index 73894\n", ""),
        C2SP.replace("index 73894", "index 73894 "),
        C2SP.replace("index 73894", "index 73894\nextra YQ=="),
        C2SP.replace("index 73894", "extra YQ==\nextra YQ==\nindex 73894"),
        C2SP.replace("index 73894", "extra YR==\nindex 73894"),
        C2SP.replace("PlQ=", "PlR="),
        C2SP.replace("PlQ=\n", "PlQ=\nYQ==\n"),
        C2SP.replace("index 73894\n", "index 73894\n" + "A" * 43 + "=\n" * 70),
        C2SP + " " * 70_000,
    ],
    ids=range(16),
)
def test_what_is_no_proof_is_refused(text: str) -> None:
    with pytest.raises(ProofRefused):
        parse_tlog_proof(text)


def test_a_proof_under_another_key_or_of_another_log_is_refused(proof: TlogProof, keys: list[LogKey]) -> None:
    other = Ed25519Signer.from_seed(keys[0].vkey.partition("+")[0], b"\x08" * 32)
    with pytest.raises(ProofRefused, match="No known key"):
        verify_tlog_proof(proof, [LogKey(vkey=other.vkey)])
    with pytest.raises(ProofRefused):
        verify_tlog_proof(parse_tlog_proof(C2SP), keys, envelope=b"")
