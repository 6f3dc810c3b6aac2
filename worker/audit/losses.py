"""Which bodies of a thread are gone, by their types: each excuses only what it may have told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from worker.audit.entry import EntryType

ABSENCE: Final = "absence"
"""What either kind of read may tell: when a thread was absent. The other things are types of entries."""

_FREE: Final = 4
_ALONE: Final = {
    one.value: 1 << bit
    for bit, one in enumerate(
        (
            EntryType.THREAD_REGISTERED,
            EntryType.THREAD_CHANGED,
            EntryType.DELETE_INTENDED,
            EntryType.DELETE_ANSWERED,
            EntryType.THREAD_PREREAD,
            EntryType.THREAD_REREAD,
            EntryType.THREAD_GRADED,
        ),
        _FREE,
    )
}
_READS: Final = _ALONE[EntryType.THREAD_PREREAD.value] | _ALONE[EntryType.THREAD_REREAD.value]

LOST: Final[Mapping[str, int]] = {**_ALONE, ABSENCE: _READS}
"""By what may be lacking: bits of a thread's flags, of which the lowest four are its trail's own."""

LOST_OF_ATTEMPTS: Final = _ALONE[EntryType.DELETE_INTENDED.value] | _READS
"""The entries by which an attempt becomes a thread's newest."""
