"""A committed bundle with a fixed key and clock: no byte of the format changes unnoticed.

Where a change is meant, `WRITE_GOLDEN=1 make test ARGS=tests/audit/test_golden.py` writes it anew, and the
change of the format goes into the changelog. Bundles that were written before have to verify all the same,
so one of each format stays beside it under a name of its own: `first.zip` states no scope, the page in
`page-of-no-form.zip` has no form. Each holds every entry of a deletion, as Tenure has always done.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import zipfile
import zlib
from pathlib import Path

import pytest

from worker.audit.note import Ed25519Signer
from worker.audit.verify import verify_bundle

GOLDEN = Path(__file__).parent / "golden"
BUNDLE = GOLDEN / "bundle.zip"
# What the zlib that wrote the golden bundle makes of this text; another one may pack it otherwise.
_SAMPLE = b"".join(hashlib.sha256(bytes([n])).hexdigest().encode() + b" tenure " for n in range(256))
_PACKED = "1d8799e7"


def _same_zlib() -> bool:
    return f"{zlib.crc32(zlib.compress(_SAMPLE, 6)):08x}" == _PACKED


def _plain(raw: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        members = {one.filename: archive.read(one) for one in archive.infolist()}
    # The manifest holds the digests of what is packed, so it is compared with the bytes only.
    members.pop("manifest.dsse.json")
    return {name: gzip.decompress(raw) if name.endswith(".gz") else raw for name, raw in members.items()}


def test_the_same_log_gives_the_committed_bundle(whole: bytes) -> None:
    if os.environ.get("WRITE_GOLDEN"):
        BUNDLE.write_bytes(whole)
    golden = BUNDLE.read_bytes()
    assert _plain(whole) == _plain(golden)
    if not _same_zlib():
        pytest.skip("this zlib packs otherwise: the unpacked members were compared")
    assert whole == golden


@pytest.mark.parametrize("bundle", sorted(GOLDEN.glob("*.zip")), ids=lambda path: path.name)
def test_a_bundle_that_was_ever_written_verifies(bundle: Path, signer: Ed25519Signer) -> None:
    report = verify_bundle(bundle, keys=[signer.vkey])
    assert report.problems == ()
    assert report.verified
