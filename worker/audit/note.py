"""C2SP signed notes (c2sp.org/signed-note@v1.0.0) with Ed25519 keys (type 0x01)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from worker.model.errors import TenureError

_ED25519 = b"\x01"
_KEY_BYTES = 32
_HINT_BYTES = 4
_MAX_SIGNATURES = 100
_NAME = re.compile(r"[^\s+\x00-\x1f]+")


class NoteRefused(TenureError):
    """The note is malformed, or no known key signed it, or a known key's signature does not fit."""

    code = "note_refused"


class NotSigned(NoteRefused):
    """None of the known keys signed the note."""


class Signer(Protocol):
    """Who signs checkpoints and manifests: a key in a file here, a key service elsewhere."""

    @property
    def name(self) -> str:
        """The key's name, by custom the log's origin."""
        ...

    @property
    def vkey(self) -> str:
        """The verifier key: ``name+hash+base64``."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the bare Ed25519 signature (64 bytes)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ed25519Signer:
    """A signer whose key is in this process; its ``repr`` shows no key."""

    name: str
    key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def from_seed(cls, name: str, seed: bytes) -> Ed25519Signer:
        """Make a signer of a 32-byte seed (RFC 8032 section 5.1.5); raises NoteRefused."""
        if not _NAME.fullmatch(name):
            raise NoteRefused(f"{name!r} cannot name a key.", repair="Leave out spaces and plus signs.")
        if len(seed) != _KEY_BYTES:
            raise NoteRefused(f"The seed has {len(seed)} bytes.", repair="Ed25519 takes 32.")
        return cls(name=name, key=Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def vkey(self) -> str:
        """The verifier key: ``name+hash+base64``."""
        typed = _ED25519 + self.key.public_key().public_bytes_raw()
        return f"{self.name}+{_hint(self.name, typed).hex()}+{_b64(typed)}"

    def sign(self, message: bytes) -> bytes:
        """Return the bare Ed25519 signature (64 bytes)."""
        return self.key.sign(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """A parsed vkey; ``hint`` is the 4-byte key id that signature lines begin with."""

    name: str
    hint: bytes
    key: Ed25519PublicKey

    @property
    def id(self) -> str:
        """The name and the hint in hex, as a vkey begins."""
        return f"{self.name}+{self.hint.hex()}"

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Tell whether this key made the signature."""
        try:
            self.key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


def parse_vkey(text: str) -> VerifierKey:
    """Read ``name+hash+base64``; raises NoteRefused, also where the hash does not belong to the key."""
    name, _, rest = text.partition("+")
    hint, _, encoded = rest.partition("+")
    typed = decode_base64(encoded)
    if typed is None or len(typed) != 1 + _KEY_BYTES or typed[:1] != _ED25519 or not _NAME.fullmatch(name):
        raise NoteRefused(f"{text[:200]!r} is no Ed25519 verifier key (name+hash+base64).")
    if _hint(name, typed).hex() != hint:
        raise NoteRefused(f"The hash in {text[:200]!r} does not belong to its key.")
    return VerifierKey(name=name, hint=_hint(name, typed), key=Ed25519PublicKey.from_public_bytes(typed[1:]))


def read_keys(text: str) -> list[str]:
    """Return the vkeys of a ``keys.txt``: one per line, empty lines and those with # left out."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def sign_note(text: str, *signers: Signer) -> str:
    """Return the note: the text, an empty line and one signature line for each signer."""
    _check_text(text)
    if not signers:
        raise NoteRefused("A note needs a signature.")
    return f"{text}\n" + "".join(_sign_line(text, one) for one in signers)


def open_note(note: str, vkeys: Sequence[str]) -> str:
    """Return the text that a known key signed; lines of unknown keys are passed over.

    Raises NoteRefused if none of the keys signed it, or if a line of a known key does not verify.
    """
    text, tail = split_note(note)
    lines = tail[:-1].split("\n")
    if len(lines) > _MAX_SIGNATURES:
        raise NoteRefused(f"The note has {len(lines)} signatures; {_MAX_SIGNATURES} is the limit.")
    known = {(key.name, key.hint): key for key in map(parse_vkey, vkeys)}
    if not _count_verified(map(_signature_line, lines), known, text.encode()):
        raise NotSigned("No known key signed this note.", repair="Check keys.txt.")
    return text


def split_note(note: str) -> tuple[str, str]:
    """Return text and signature lines, of which nothing is checked yet; raises NoteRefused."""
    text, separator, tail = note.rpartition("\n\n")
    text += "\n"
    if not separator or not tail.endswith("\n"):
        raise NoteRefused("The note has no signature lines behind an empty line.")
    _check_text(text)
    return text, tail


def decode_base64(text: str) -> bytes | None:
    """Decode standard base64; None unless it is written in the one canonical way."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    return raw if _b64(raw) == text else None


def _sign_line(text: str, signer: Signer) -> str:
    blob = parse_vkey(signer.vkey).hint + signer.sign(text.encode())
    return f"\u2014 {signer.name} {_b64(blob)}\n"


def _count_verified(
    lines: Iterable[tuple[str, bytes]], known: dict[tuple[str, bytes], VerifierKey], message: bytes
) -> int:
    count = 0
    for name, blob in lines:
        key = known.get((name, blob[:_HINT_BYTES]))
        if key is None:
            continue
        if not key.verifies(blob[_HINT_BYTES:], message):
            raise NoteRefused(f"The signature of {name!r} does not belong to this text.")
        count += 1
    return count


def _signature_line(line: str) -> tuple[str, bytes]:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    blob = decode_base64(encoded)
    if dash != "\u2014" or not _NAME.fullmatch(name) or blob is None or len(blob) <= _HINT_BYTES:
        raise NoteRefused("A signature line is malformed.")
    return name, blob


def _check_text(text: str) -> None:
    if not text.endswith("\n") or any(char < " " and char != "\n" for char in text):
        raise NoteRefused("A note's text ends with a newline and has no other control characters.")


def _hint(name: str, typed: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + typed).digest()[:_HINT_BYTES]


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
