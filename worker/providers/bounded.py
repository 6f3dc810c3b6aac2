"""An answer is read only so far, compressed or not: nobody who answers can fill a worker's memory.

DANGER. A worker that dies while it reads an answer leaves its whole batch behind, and dies again with the
next claim of it. Invariant: no more than `LARGEST_ANSWER` bytes of one answer are held, whatever it claims.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from typing import cast

import httpx2

LARGEST_ANSWER = 32 * 1024 * 1024
"""Far more than a page of a hundred children takes; what is longer is read no further."""

ENCODINGS = {"accept-encoding": "gzip"}
"""What is offered: the one form that can be unpacked piece by piece, without more than is asked for."""

_GZIP = frozenset({"gzip", "x-gzip"})
_GZIP_WINDOW = zlib.MAX_WBITS | 16


class AnswerTooLarge(Exception):
    """The answer is longer than any that says something about one object."""


class Bounded(httpx2.AsyncByteStream):
    """The bytes of an answer, unpacked where ``gzipped``; raises AnswerTooLarge and DecodingError."""

    def __init__(self, inner: httpx2.AsyncByteStream, *, gzipped: bool, most: int) -> None:
        self._inner, self._left = inner, most
        self._unpacker = zlib.decompressobj(_GZIP_WINDOW) if gzipped else None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield what comes, until it is too much."""
        async for packed in self._inner:
            part = self._plain(packed)
            self._left -= len(part)
            if self._left < 0:
                raise AnswerTooLarge
            yield part

    def _plain(self, packed: bytes) -> bytes:
        if self._unpacker is None:
            return packed
        try:
            # One more than may come, so that too much is seen; the rest of it stays packed.
            return self._unpacker.decompress(packed, self._left + 1)
        except zlib.error as e:
            problem = "the answer is not what it says to be"
            raise httpx2.DecodingError(problem) from e

    async def aclose(self) -> None:
        """Close the answer; one that was not read to its end closes its connection."""
        await self._inner.aclose()


def bounded(response: httpx2.Response) -> httpx2.Response:
    """Return the answer with its body bounded and unpacked.

    A form that was not offered stays packed: it is no JSON then, and certifies nothing.
    """
    encoding = response.headers.pop("content-encoding", "").strip().lower()
    response.stream = Bounded(
        cast("httpx2.AsyncByteStream", response.stream), gzipped=encoding in _GZIP, most=LARGEST_ANSWER
    )
    return response
