"""Checkpoints: signed tree heads (c2sp.org/tlog-checkpoint@v1.0.0), without extension lines."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from worker.audit.merkle import HASH_BYTES
from worker.audit.note import NoteRefused, Signer, decode_base64, sign_note

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_LINES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The state of the log ``origin`` at ``size`` leaves; ``root`` is 32 bytes."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def parse_checkpoint(text: str) -> Checkpoint:
    """Read a checkpoint's text (of a note that is already opened); raises NoteRefused."""
    lines = text.split("\n")
    if len(lines) != _LINES + 1 or lines[-1] or not lines[0] or not _SIZE.fullmatch(lines[1]):
        raise NoteRefused("This is no checkpoint of three lines: origin, size, root.")
    root = decode_base64(lines[2])
    if root is None or len(root) != HASH_BYTES:
        raise NoteRefused("The checkpoint's root is no SHA-256 in base64.")
    return Checkpoint(origin=lines[0], size=int(lines[1]), root=root)


def sign_checkpoint(checkpoint: Checkpoint, *signers: Signer) -> str:
    """Return the checkpoint as a signed note, a line for each signer; raises NoteRefused for a bad origin."""
    parse_checkpoint(checkpoint.text)
    return sign_note(checkpoint.text, *signers)
