"""Ids and randomness: the only place that makes either.

Ids are a prefix and a UUIDv7 (RFC 9562) in hex, so that they sort by the time they were made.
"""

from __future__ import annotations

import random
import secrets
import string
from datetime import datetime
from functools import lru_cache
from typing import NewType

ThreadId = NewType("ThreadId", str)
HoldId = NewType("HoldId", str)
ErasureId = NewType("ErasureId", str)
SweepId = NewType("SweepId", str)
ItemId = NewType("ItemId", str)

UUID7_BYTES = 10
_48_BITS = (1 << 48) - 1
# By its last two bits: the hex digit with 10 before them.
_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
_ALPHABET = string.ascii_letters + string.digits


def uuid7(at: datetime) -> str:
    """Return a UUIDv7 (RFC 9562 section 5.7) of that instant as 32 hex digits."""
    return uuid7_of(at, secrets.token_bytes(UUID7_BYTES))


def uuid7_of(at: datetime, tail: bytes) -> str:
    """Return a UUIDv7 with these 10 random bytes, 74 bits of which are used: for many ids made at once."""
    random_bits = tail.hex()
    # The version's digit, 12 random bits, and two bits of the variant before the other 62.
    return f"{_millis(at)}7{random_bits[1:4]}{_VARIANT[random_bits[4]]}{random_bits[5:]}"


# Ids that are made at once are of one instant.
@lru_cache(maxsize=64)
def _millis(at: datetime) -> str:
    """Return the 48 bits of an id's milliseconds since 1970, in hex."""
    return f"{int(at.timestamp() * 1000) & _48_BITS:012x}"


def new_id(prefix: str, at: datetime) -> str:
    """Return ``prefix_`` and a UUIDv7, for example ``thr_0193…``."""
    return f"{prefix}_{uuid7(at)}"


def random_token(length: int) -> str:
    """Return that many characters of A-Z a-z 0-9 from the system's secure source."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def random_bytes(count: int) -> bytes:
    """Return secure random bytes (salts, signing seeds)."""
    return secrets.token_bytes(count)


def jitter() -> float:
    """Return a number in [0, 1) that spreads retries; not for secrets."""
    return random.random()  # noqa: S311 - spreads load, guards nothing
