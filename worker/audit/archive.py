"""Reading a bundle that may be damaged or hostile: bounded, streamed, nothing written to disk."""

from __future__ import annotations

import gzip
import hashlib
import io
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from itertools import chain, takewhile
from pathlib import Path
from typing import NamedTuple, cast

from worker.model.errors import TenureError

MAX_MEMBERS = 100_000
MAX_SMALL = 16 * 1024 * 1024
_MAX_EXPANSION = 1000  # more than a member of real rows reaches
# 50,000 proofs take half of it. Every name in it is kept in memory, at ten times its length.
_MAX_DIRECTORY = 8 * 1024 * 1024
# Where an end record has what, as `zipfile` reads it; how long it is, and what zip64 puts before it.
_SIGNATURE, _DIRECTORY_SIZE, _DIRECTORY_OFFSET, _LOCATION = 0, 5, 6, 9
_END_RECORD, _ZIP64_RECORDS, _ZIP64 = 22, 56 + 20, b"PK\x06\x06"
_SLACK_LINES = 1000
_CHUNK = 1 << 16
_ENCRYPTED = 0x1
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,  # also NotImplementedError: a feature of zip that bundles do not use
    ValueError,
    LookupError,
    OverflowError,
)


class BadArchive(TenureError):
    """The file or one of its members cannot be read as part of a bundle."""

    code = "bad_archive"


class Archive:
    """A zip file whose directory was looked through before anything is read; ``names`` are the members'."""

    def __init__(self, path: Path) -> None:
        """Open it; raises BadArchive, and FileNotFoundError where there is no file."""
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise BadArchive("This is no file: a pipe or a device would be waited for without end.")
            end = _end_of(path)
            if end.directory > _MAX_DIRECTORY:
                raise BadArchive(f"The zip's directory has more than {_MAX_DIRECTORY} bytes.")
            self._zip = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise
        except _UNREADABLE as broken:
            raise BadArchive(f"This is no readable zip file ({broken}).") from broken
        # All that is ever unpacked together, so that neither gzip within deflate nor members that share
        # their bytes can cost more than a bundle of this length can hold.
        self._size = path.stat().st_size
        self._budget = MAX_SMALL + _MAX_EXPANSION * self._size
        self._members = {one.filename: one for one in self._zip.infolist()}
        # Made once: it is asked for at each proof, of which there are as many as names.
        self.names = frozenset(self._members)
        first = min((one.header_offset for one in self._zip.infolist()), default=0)
        self._is_all = end.is_last and not first

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def defects(self) -> Iterator[tuple[str, str]]:
        """Yield (member, what is wrong) for all that a bundle's directory never has."""
        infos = self._zip.infolist()
        if len(infos) > MAX_MEMBERS:
            yield "", f"{len(infos)} members; {MAX_MEMBERS} is the limit"
        if len(infos) != len(self._members):
            yield "", "a member stands there twice"
        elif len({name.lower() for name in self._members}) != len(self._members):
            yield "", "names differ in case only: unpacked, one member may take another's place"
        if self._zip.comment:
            yield "", "the archive has a comment"
        elif not self._is_all:
            yield "", "the file holds foreign bytes before the members or behind them"
        for one in infos[:MAX_MEMBERS]:
            what = _defect(one)
            if what:
                yield one.orig_filename, what

    def read(self, name: str) -> bytes:
        """Return a small member whole; raises BadArchive."""
        try:
            with self._zip.open(self._members[name]) as member:
                raw = member.read(MAX_SMALL + 1)
                self._spend(len(raw))
        except _UNREADABLE as broken:
            raise _damaged(name, broken) from broken
        if len(raw) > MAX_SMALL:
            raise BadArchive(f"{name} is larger than {MAX_SMALL} bytes.")
        return raw

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield a member's bytes; raises BadArchive."""
        try:
            with self._zip.open(self._members[name]) as member:
                while chunk := member.read(_CHUNK):
                    self._spend(len(chunk))
                    yield chunk
        except _UNREADABLE as broken:
            raise _damaged(name, broken) from broken

    def sha256(self, name: str) -> str:
        """Return a member's digest in hex; raises BadArchive."""
        digest = hashlib.sha256()
        for chunk in self.chunks(name):
            digest.update(chunk)
        return digest.hexdigest()

    def lines(self, name: str, limit: int, *, least: int = 0) -> Iterator[bytes]:
        """Yield the lines of ``blocks`` one by one."""
        return chain.from_iterable(self.blocks(name, limit, least=least))

    def blocks(self, name: str, limit: int, *, least: int = 0) -> Iterator[list[bytes]]:
        """Yield the lines of a gzip member, some at a time, without newlines; raises BadArchive.

        Also over ``limit``, behind the lines before that one. ``least`` is how many packed bytes a line
        takes at least, where that is known: whoever remembers something of each line then remembers no more
        than the file's own length allows.
        """
        packed = min(self._members[name].compress_size, self._size)
        most = _SLACK_LINES + packed // least if least else sys.maxsize
        try:
            with (
                self._zip.open(self._members[name]) as member,
                # Gzip asks for 8 KiB at a time, and zip takes long over every answer.
                io.BufferedReader(cast("io.RawIOBase", member), _CHUNK) as packed_bytes,
                gzip.GzipFile(fileobj=packed_bytes) as plain,
            ):
                yield from self._blocks(plain, name, limit, most)
        except _UNREADABLE as broken:
            raise _damaged(name, broken) from broken

    def _blocks(self, plain: gzip.GzipFile, name: str, limit: int, most: int) -> Iterator[list[bytes]]:
        rest = b""
        while chunk := plain.read(_CHUNK):
            self._spend(len(chunk))
            *lines, rest = (rest + chunk).split(b"\n")
            most -= len(lines)
            if most < 0:
                raise BadArchive(f"{name} has more lines than its packed bytes can hold.")
            if max(map(len, lines), default=0) > limit:
                yield list(takewhile(lambda line: len(line) <= limit, lines))
                raise _endless(name, limit)
            yield lines
            if len(rest) > limit:
                raise _endless(name, limit)
        if rest:
            raise _endless(name, limit)

    def _spend(self, unpacked: int) -> None:
        self._budget -= unpacked
        if self._budget < 0:
            raise BadArchive("The members unpack to more than a bundle of this length can hold.")


class _End(NamedTuple):
    """What a zip file's end record says: how long the directory is, and whether both end the file."""

    directory: int
    is_last: bool


def _end_of(path: Path) -> _End:
    """Read the end record, found as ``ZipFile`` finds it: backwards, over whatever stands behind it."""
    with path.open("rb") as file:
        end = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # noqa: SLF001 - part of zipfile
        size = file.seek(0, io.SEEK_END)
    if not end:
        return _End(0, is_last=False)
    between = _ZIP64_RECORDS if end[_SIGNATURE] == _ZIP64 else 0
    behind = int(end[_DIRECTORY_SIZE]) + int(end[_DIRECTORY_OFFSET]) + between
    at = int(end[_LOCATION])
    return _End(int(end[_DIRECTORY_SIZE]), is_last=behind == at and at + _END_RECORD == size)


def _endless(name: str, limit: int) -> BadArchive:
    return BadArchive(f"{name} has a line that is longer than {limit} bytes or has no end.")


def _defect(one: zipfile.ZipInfo) -> str:
    """Return what is wrong with a member by its line in the directory, if anything is."""
    if _strange_name(one):
        return "the name leads out of the bundle or is no plain file's"
    if one.flag_bits & _ENCRYPTED:
        return "the member is encrypted"
    if one.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return "the member uses a compression that bundles do not use"
    if one.file_size > MAX_SMALL + _MAX_EXPANSION * one.compress_size:
        return "the member expands beyond measure"
    return ""


def _strange_name(one: zipfile.ZipInfo) -> bool:
    name = one.orig_filename
    parts = name.split("/")
    return (
        name != one.filename
        or "\\" in name
        or ":" in name
        or not name.isascii()
        or not name.isprintable()
        or any(part in {"", ".", ".."} for part in parts)
    )


def _damaged(name: str, broken: BaseException) -> BadArchive:
    return BadArchive(f"{name} cannot be read ({type(broken).__name__}: {broken}).")
