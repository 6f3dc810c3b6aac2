"""DSSE envelopes (secure-systems-lab/dsse v1.0.2) signed by the keys that sign checkpoints."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

from worker.audit.note import NoteRefused, Signer, decode_base64, parse_vkey

PAYLOAD_TYPE = "application/vnd.in-toto+json"


def pae(payload: bytes) -> bytes:
    """Return the pre-authentication encoding, which is what gets signed."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def seal(payload: bytes, signer: Signer) -> bytes:
    """Return the signed envelope as JSON."""
    return _write(payload, parse_vkey(signer.vkey).id, signer.sign(pae(payload)))


def unseal(raw: bytes, vkeys: Sequence[str]) -> bytes:
    """Return the payload that a known key signed; raises NoteRefused.

    Only the bytes that ``seal`` would write are accepted, so that nothing unsigned can hide beside them.
    """
    payload, keyid, signature = _read(raw)
    for key in map(parse_vkey, vkeys):
        if key.id == keyid and key.verifies(signature, pae(payload)):
            return payload
    raise NoteRefused("No known key signed the manifest.", repair="Check keys.txt.")


def payload_of(raw: bytes) -> bytes:
    """Return the payload without looking at the signature; raises NoteRefused if it is malformed."""
    return _read(raw)[0]


def _read(raw: bytes) -> tuple[bytes, str, bytes]:
    try:
        one = json.loads(raw)
        encoded, keyid = one["payload"], one["signatures"][0]["keyid"]
        payload, signature = decode_base64(encoded), decode_base64(one["signatures"][0]["sig"])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as broken:
        raise NoteRefused("The manifest is no DSSE envelope.") from broken
    if payload is None or signature is None or not isinstance(keyid, str):
        raise NoteRefused("The manifest's base64 is malformed.")
    if _write(payload, keyid, signature) != raw:
        raise NoteRefused("The manifest holds more or other things than payload, type and one signature.")
    return payload, keyid, signature


def _write(payload: bytes, keyid: str, signature: bytes) -> bytes:
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": keyid, "sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(envelope).encode() + b"\n"
