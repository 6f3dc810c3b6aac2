"""Ids in the provider's shapes: ``thread_`` and 24 letters or digits, ``conv_`` and 48 hex digits."""

from __future__ import annotations

import hashlib
import string
import threading
from itertools import count

from worker.model.ids import random_token
from worker.sandbox.kinds import ObjectKind

_ALPHABET = string.ascii_letters + string.digits
_HEX_DIGITS = 48
_ALNUM_CHARS = 24
_PREFIXES = {
    ObjectKind.THREAD: "thread_",
    ObjectKind.CONVERSATION: "conv_",
    ObjectKind.RESPONSE: "resp_",
    ObjectKind.FILE: "file-",
    ObjectKind.ITEM: "msg_",
    ObjectKind.MESSAGE: "msg_",
}
_ALNUM = frozenset({ObjectKind.THREAD, ObjectKind.FILE})


class ObjectIds:
    """A stream of ids; the same seed gives the same stream, no seed one that nobody can guess."""

    def __init__(self, seed: int | None = None) -> None:
        self._key = random_token(32) if seed is None else f"seed {seed}"
        self._lock = threading.Lock()
        self._count = count()

    def make(self, kind: ObjectKind) -> str:
        """Return a fresh id of that kind."""
        digest = self._digest()
        if kind in _ALNUM:
            return _PREFIXES[kind] + "".join(_ALPHABET[byte % 62] for byte in digest[:_ALNUM_CHARS])
        return _PREFIXES[kind] + digest.hex()[:_HEX_DIGITS]

    def request_id(self) -> str:
        """Return a fresh ``req_sandbox_…``."""
        return f"req_sandbox_{self._digest().hex()[:32]}"

    def _digest(self) -> bytes:
        with self._lock:
            number = next(self._count)
        return hashlib.sha256(f"{self._key}/{number}".encode()).digest()
