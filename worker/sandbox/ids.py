"""Ids in the provider's shapes: ``thread_`` and 24 letters or digits, ``conv_`` and 48 hex digits."""

from __future__ import annotations

import hashlib
import string
import threading
from itertools import count

from worker.model.ids import random_token
from worker.sandbox.kinds import FACTS, ObjectKind

_ALPHABET = string.ascii_letters + string.digits


class ObjectIds:
    """A stream of ids; the same seed gives the same stream, no seed one that nobody can guess."""

    def __init__(self, seed: int | None = None) -> None:
        self._key = random_token(32) if seed is None else f"seed {seed}"
        self._lock = threading.Lock()
        self._count = count()

    def make(self, kind: ObjectKind) -> str:
        """Return a fresh id of that kind."""
        facts = FACTS[kind]
        digest = self._digest()
        if facts.hexadecimal:
            return facts.prefix + digest.hex()[: facts.length]
        return facts.prefix + "".join(_ALPHABET[byte % 62] for byte in digest[: facts.length])

    def attachment(self) -> str:
        """Return a fresh id of a ChatKit attachment."""
        return f"atch_{self._digest().hex()[:48]}"

    def request_id(self) -> str:
        """Return a fresh ``req_sandbox_…``."""
        return f"req_sandbox_{self._digest().hex()[:32]}"

    def _digest(self) -> bytes:
        with self._lock:
            number = next(self._count)
        return hashlib.sha256(f"{self._key}/{number}".encode()).digest()
