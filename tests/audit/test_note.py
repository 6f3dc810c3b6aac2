from __future__ import annotations

import pytest

from worker.audit import dsse
from worker.audit.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from worker.audit.merkle import EMPTY_ROOT
from worker.audit.note import Ed25519Signer, NoteRefused, open_note, parse_vkey, read_keys, sign_note

# The example of the specification, c2sp.org/signed-note.
C2SP_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_NOTE = (
    "This is an example message.\n\n\u2014 example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
# The example of golang.org/x/mod/sumdb/note.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n\n\u2014 PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


@pytest.mark.parametrize(("note", "vkey"), [(C2SP_NOTE, C2SP_VKEY), (GO_NOTE, GO_VKEY)])
def test_published_notes_are_opened(note: str, vkey: str) -> None:
    assert open_note(note, [GO_VKEY, C2SP_VKEY]) == note.rpartition("\n\n")[0] + "\n"
    assert parse_vkey(vkey).id == vkey.rpartition("+")[0]


@pytest.mark.parametrize("note", [C2SP_NOTE, GO_NOTE])
def test_any_changed_character_of_a_published_note_is_refused(note: str) -> None:
    for at in range(len(note)):
        changed = note[:at] + chr(ord(note[at]) ^ 1) + note[at + 1 :]
        with pytest.raises(NoteRefused):
            open_note(changed, [C2SP_VKEY, GO_VKEY])
        with pytest.raises(NoteRefused):
            open_note(note[:at], [C2SP_VKEY, GO_VKEY])


def test_lines_of_unknown_keys_are_passed_over(signer: Ed25519Signer) -> None:
    other = Ed25519Signer.from_seed("witness", b"\x08" * 32)
    text = "head\n\nwith an empty line\n"
    note = sign_note(text, signer) + sign_note(text, other).rpartition("\n\n")[2]
    assert open_note(note, [other.vkey]) == open_note(note, [signer.vkey]) == text
    with pytest.raises(NoteRefused, match="No known key"):
        open_note(note, [C2SP_VKEY])


def test_a_known_key_whose_line_does_not_fit_refuses_the_note_even_beside_a_good_one(
    signer: Ed25519Signer,
) -> None:
    other = Ed25519Signer.from_seed("witness", b"\x08" * 32)
    foreign = sign_note("another text\n", other).rpartition("\n\n")[2]
    with pytest.raises(NoteRefused, match="witness"):
        open_note(sign_note("text\n", signer) + foreign, [signer.vkey, other.vkey])


@pytest.mark.parametrize(
    "note", ["", "text\n", "text\n\n", "\n\n\u2014 a b\n", "a\tb\n\n\u2014 a AAAAAAA=\n"]
)
def test_what_is_no_note_is_refused(note: str) -> None:
    with pytest.raises(NoteRefused):
        open_note(note, [C2SP_VKEY])


@pytest.mark.parametrize(
    "vkey", ["", "a", "a+b+c", C2SP_VKEY[:-1], C2SP_VKEY.replace("530d", "530e"), "b" + C2SP_VKEY]
)
def test_what_is_no_verifier_key_is_refused(vkey: str) -> None:
    with pytest.raises(NoteRefused):
        parse_vkey(vkey)


def test_a_signer_needs_a_plain_name_and_a_whole_seed_and_shows_no_key() -> None:
    with pytest.raises(NoteRefused):
        Ed25519Signer.from_seed("a b", b"\x07" * 32)
    with pytest.raises(NoteRefused):
        Ed25519Signer.from_seed("a", b"\x07" * 31)
    assert "PrivateKey" not in repr(Ed25519Signer.from_seed("a", b"\x07" * 32))


def test_keys_are_read_one_a_line_without_comments() -> None:
    assert read_keys(f"# the log\n\n{C2SP_VKEY}\n  {GO_VKEY} \n") == [C2SP_VKEY, GO_VKEY]


def test_a_checkpoint_has_three_lines_and_a_fixed_signature(signer: Ed25519Signer) -> None:
    head = Checkpoint(origin="example.org/retention/test", size=0, root=EMPTY_ROOT)
    note = sign_checkpoint(head, signer)
    assert note.startswith(
        "example.org/retention/test\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\u2014 "
    )
    assert note == sign_checkpoint(head, signer)
    assert parse_checkpoint(open_note(note, [signer.vkey])) == head


ROOT = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


@pytest.mark.parametrize(
    "text",
    [
        f"o\n1\n{ROOT}",
        f"\n1\n{ROOT}\n",
        f"o\n01\n{ROOT}\n",
        f"o\n-1\n{ROOT}\n",
        f"o\n\u0661\n{ROOT}\n",
        f"o\n1\n{ROOT}\nextension\n",
        "o\n1\nAAAA\n",
        f"o\n1\n{ROOT.replace('FU=', 'FV=')}\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteRefused):
        parse_checkpoint(text)


def test_an_origin_with_a_line_break_is_not_signed(signer: Ed25519Signer) -> None:
    with pytest.raises(NoteRefused):
        sign_checkpoint(Checkpoint(origin="a\nb", size=1, root=EMPTY_ROOT), signer)


def test_the_signed_bytes_of_a_manifest_are_those_of_dsse(signer: Ed25519Signer) -> None:
    assert dsse.pae(b"hello") == b"DSSEv1 28 application/vnd.in-toto+json 5 hello"
    sealed = dsse.seal(b"hello", signer)
    assert dsse.unseal(sealed, [C2SP_VKEY, signer.vkey]) == dsse.payload_of(sealed) == b"hello"


def test_any_changed_byte_of_a_sealed_manifest_is_refused(signer: Ed25519Signer) -> None:
    sealed = dsse.seal(b"{}", signer)
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(NoteRefused):
            dsse.unseal(changed, [signer.vkey])


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b"null", b'{"payload":1,"signatures":[]}', b"[" * 100_000]
)
def test_what_is_no_envelope_of_dsse_is_refused(raw: bytes, signer: Ed25519Signer) -> None:
    with pytest.raises(NoteRefused):
        dsse.unseal(raw, [signer.vkey])
