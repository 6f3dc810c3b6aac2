"""Ids that a gateway made up in place of the provider's own (LiteLLM, ``SpecialEnums`` of its types).

LiteLLM wraps ``litellm:custom_llm_provider:openai;model_id:…;response_id:resp_1`` in base64 behind the
prefix of the kind, and the id of a managed file, vector store or passed-through object is such base64
without a prefix. Behind the gateway such an id is another at each call, so no answer could ever be matched
with it. Where LiteLLM encrypts an id instead, nothing in it can be recognised; what keeps that harmless is
the echo of ids, which `worker.providers.classify` demands.
"""

from __future__ import annotations

import base64
import re

# The longest text that is looked into; LiteLLM's own are a few hundred characters.
_LONGEST = 4096
_PREFIXES = ("resp_", "cntr_", "file-", "file_", "video_", "vs_", "batch_", "")
_MARKS = (b"litellm:custom_llm_provider:", b"litellm_proxy")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_OWN_ID = re.compile(
    r"(?:response|container|video|file|batch|resource|raw)_id[:,]([A-Za-z0-9]{1,16}[-_][A-Za-z0-9_-]{1,128})(?=$|[;,])"
)


def unwrap(external_id: str) -> str | None:
    """Return the text that this id wraps, in which ``provider_id`` finds the real one, or None.

    Safe on any text: bounded, and nothing in it is taken for more than text.
    """
    if len(external_id) > _LONGEST:
        return None
    for prefix in _PREFIXES:
        if external_id.startswith(prefix):
            wrapped = _decoded(external_id.removeprefix(prefix))
            if wrapped is not None:
                return wrapped
    return None


def provider_id(wrapped: str) -> str | None:
    """Return the provider's own id that the unwrapped text names, or None where it names none."""
    found = _OWN_ID.search(wrapped)
    return found[1] if found else None


def _decoded(text: str) -> str | None:
    if not _BASE64.fullmatch(text):
        return None
    plain = text.rstrip("=").translate(str.maketrans("-_", "+/"))
    if len(plain) % 4 == 1:
        return None
    raw = base64.b64decode(plain + "=" * (-len(plain) % 4))
    return raw.decode("ascii", "replace") if raw.startswith(_MARKS) else None
