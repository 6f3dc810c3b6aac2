"""Take in a large body, unpacked and bounded, before anything is done with it.

A client may send all before it reads anything; answering meanwhile could leave both waiting for ever.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterable
from tempfile import SpooledTemporaryFile

from fastapi import HTTPException
from starlette.concurrency import run_in_threadpool

from worker.http.limits import MOST_BULK_BYTES
from worker.http.refusals import Unreadable

_IN_MEMORY = 4 * 1024 * 1024
_PIECE = 256 * 1024
# RFC 1952 only, with its header and checksum.
_GZIP = 16 + zlib.MAX_WBITS

Spool = SpooledTemporaryFile[bytes]


async def spool(chunks: AsyncIterable[bytes], *, gzipped: bool) -> Spool:
    """Return the body as a file at its start; raises Unreadable, and 413 beyond the limit after unpacking."""
    file: Spool = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - whoever reads the lines closes it
    try:
        unpacked = _Gunzip() if gzipped else None
        async for chunk in chunks:
            if unpacked is None:
                await run_in_threadpool(file.write, chunk)
            else:
                await run_in_threadpool(unpacked.write, chunk, file)
        if unpacked is not None:
            unpacked.finish()
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


class _Gunzip:
    """Unpacks members of one stream piece by piece, so that a small bomb cannot fill memory or disk."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self._left = MOST_BULK_BYTES
        self._fed = False

    def write(self, chunk: bytes, file: Spool) -> None:
        """Unpack a chunk into the file."""
        while chunk:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP)
                self._fed = False
            self._fed = True
            try:
                piece = self._member.decompress(chunk, _PIECE)
            except zlib.error:
                raise Unreadable("The body is not gzip, although its Content-Encoding says so.") from None
            self._left -= len(piece)
            if self._left < 0:
                raise HTTPException(413)
            file.write(piece)
            chunk = self._member.unconsumed_tail or self._member.unused_data

    def finish(self) -> None:
        """Check that the stream did not break off."""
        if self._fed and not self._member.eof:
            raise Unreadable("The gzip body breaks off.", repair="Send it again whole.")
