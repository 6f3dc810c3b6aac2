"""Keys sign the tree sizes that stand behind them, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.audit.checkpoint import Checkpoint, sign_checkpoint
from worker.audit.keys import LogKey, keys_at, open_checkpoint, parse_key, parse_keys
from worker.audit.note import Ed25519Signer, NoteRefused, NotSigned, sign_note
from worker.audit.reading import read_small

OLD = Ed25519Signer.from_seed("example.org/log", b"\x01" * 32)
NEW = Ed25519Signer.from_seed("example.org/log", b"\x02" * 32)
KEYS = [LogKey(vkey=OLD.vkey, until=20), LogKey(vkey=NEW.vkey, since=11)]


def head(size: int) -> Checkpoint:
    return Checkpoint(origin="example.org/log", size=size, root=bytes(32))


@pytest.mark.parametrize(
    ("size", "signers"),
    [
        (0, [OLD]),
        (10, [OLD]),
        (11, [NEW]),
        (11, [OLD]),
        (11, [NEW, OLD]),
        (20, [NEW, OLD]),
        (20, [OLD]),
        (21, [NEW]),
    ],
)
def test_a_checkpoint_is_accepted_from_a_key_of_its_size(size: int, signers: list[Ed25519Signer]) -> None:
    assert open_checkpoint(sign_checkpoint(head(size), *signers), KEYS) == head(size)


@pytest.mark.parametrize(("size", "signer"), [(21, OLD), (2**40, OLD), (0, NEW), (10, NEW)])
def test_a_retired_key_signs_nothing_later_and_a_new_one_nothing_earlier(
    size: int, signer: Ed25519Signer
) -> None:
    with pytest.raises(NotSigned, match=f"tree of {size} leaves"):
        open_checkpoint(sign_checkpoint(head(size), signer), KEYS)


def test_who_knows_only_the_old_key_still_reads_what_both_signed() -> None:
    note = sign_checkpoint(head(15), NEW, OLD)
    assert open_checkpoint(note, [LogKey(vkey=OLD.vkey)]) == head(15)
    assert open_checkpoint(note, [LogKey(vkey=NEW.vkey)]) == head(15)
    assert [line.split(" ")[1] for line in note.rpartition("\n\n")[2].splitlines()] == [OLD.name] * 2


def test_a_line_of_a_known_key_that_does_not_fit_refuses_the_checkpoint_as_before() -> None:
    forged = sign_checkpoint(head(15), NEW) + sign_checkpoint(head(16), OLD).rpartition("\n\n")[2]
    with pytest.raises(NoteRefused, match="does not belong"):
        open_checkpoint(forged, KEYS)


def test_keys_are_written_and_read_with_their_sizes() -> None:
    text = "# the log\n\n" + "".join(f"{one.line}\n" for one in KEYS)
    assert text == f"# the log\n\n{OLD.vkey} 0 20\n{NEW.vkey} 11\n"
    assert parse_keys(text) == KEYS
    assert LogKey(vkey=OLD.vkey).line == OLD.vkey
    assert parse_key(OLD.vkey) == LogKey(vkey=OLD.vkey)
    assert keys_at(KEYS, 10) == [OLD.vkey]
    assert keys_at(KEYS, 15) == [OLD.vkey, NEW.vkey]


@pytest.mark.parametrize("tail", [" ", " a", " -1", " 01", " 1 2 3", " 1 ", "  1", " 1 b", " \u0661", "\t1"])
def test_a_key_whose_sizes_are_not_plain_numbers_is_refused(tail: str) -> None:
    with pytest.raises(NoteRefused):
        parse_key(OLD.vkey + tail)


def test_a_note_without_a_signer_is_not_written() -> None:
    with pytest.raises(NoteRefused, match="needs a signature"):
        sign_note("text\n")


@pytest.mark.parametrize("travelled", ["{}", "\ufeff{}"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_keys_and_checkpoints_are_read_whatever_git_and_editors_made_of_their_lines(
    tmp_path: Path, travelled: str, end: str
) -> None:
    signer = Ed25519Signer.from_seed("example.org/log", b"\x07" * 32)
    note = sign_checkpoint(Checkpoint(origin=signer.name, size=1, root=b"\x01" * 32), signer)
    for text in (note, f"{signer.vkey}\n"):
        file = tmp_path / "file"
        file.write_bytes(travelled.format(text.replace("\n", end)).encode())
        assert read_small(file) == text
