from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.model.errors import Invalid
from worker.model.gateway import provider_id, unwrap
from worker.model.thread import Kind, infer_kind


def wrapped(text: str, *, urlsafe: bool = False, padded: bool = True) -> str:
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    encoded = encode(text.encode()).decode()
    return encoded if padded else encoded.rstrip("=")


RESPONSE = "litellm:custom_llm_provider:openai;model_id:None;response_id:resp_68a1b2c3"
CONTAINER = "litellm:custom_llm_provider:azure;model_id:4f2e-77aa;container_id:cntr_68a1b2"
FILE = (
    "litellm_proxy:application/octet-stream;unified_id,4f2e-77aa;target_model_names,gpt-4o;"
    "llm_output_file_id,file-68a1b2;llm_output_file_model_id,77-aa"
)
VECTOR_STORE = (
    "litellm_proxy:vector_store;unified_id,4f2e-77aa;target_model_names,gpt-4o,other;"
    "resource_id,vs_68a1b2;model_id,77-aa"
)
PASSED_ON = "litellm_proxy:passthrough;provider:openai;unified_id,4f2e-77aa;raw_id,file-68a1b2"
GUARDED = "litellm_proxy:responses_api:response_id:resp_68a1b2c3;user_id:u;team_id:t"


@pytest.mark.parametrize("urlsafe", [False, True])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(
    ("prefix", "text", "own"),
    [
        ("resp_", RESPONSE, "resp_68a1b2c3"),
        ("cntr_", CONTAINER, "cntr_68a1b2"),
        ("", FILE, "file-68a1b2"),
        ("file-", FILE, "file-68a1b2"),
        ("", VECTOR_STORE, "vs_68a1b2"),
        ("vs_", VECTOR_STORE, "vs_68a1b2"),
        ("", PASSED_ON, "file-68a1b2"),
        ("resp_", GUARDED, "resp_68a1b2c3"),
    ],
)
def test_an_id_that_litellm_made_up_is_refused_and_the_real_one_named(
    prefix: str, text: str, own: str, *, urlsafe: bool, padded: bool
) -> None:
    external_id = prefix + wrapped(text, urlsafe=urlsafe, padded=padded)
    with pytest.raises(Invalid, match=f"provider's own id, here {own},") as refused:
        infer_kind(external_id)
    assert (refused.value.code, refused.value.pointer) == ("gateway_id", "/external_id")


@pytest.mark.parametrize("kind", [None, Kind.RESPONSE, Kind.AGENT_SESSION])
def test_no_explicit_kind_lets_it_through(kind: Kind | None) -> None:
    with pytest.raises(Invalid) as refused:
        infer_kind("resp_" + wrapped(RESPONSE, padded=False), kind)
    assert refused.value.code == "gateway_id"


@pytest.mark.parametrize(
    "inner", ["", ";response_id:", ";response_id:<b>", ";response_id:../files/x", ";model_id:a-b"]
)
def test_what_names_no_clean_id_is_refused_without_repeating_it(inner: str) -> None:
    with pytest.raises(Invalid) as refused:
        infer_kind("resp_" + wrapped(f"litellm:custom_llm_provider:openai{inner}"))
    assert refused.value.code == "gateway_id"
    assert "here" not in refused.value.repair


def test_nested_wrapping_is_not_followed() -> None:
    inner = "resp_" + wrapped(RESPONSE, padded=False)
    found = unwrap("resp_" + wrapped(f"litellm:custom_llm_provider:x;model_id:y;response_id:{inner}"))
    assert found is not None
    assert provider_id(found) in {None, inner}


@pytest.mark.parametrize(
    "external_id",
    [
        "",
        "resp_",
        "resp_abc",
        "resp_" + "A" * 5000,
        "resp_" + wrapped("hello world, how are you"),
        "resp_ü",
        "resp_a=b",
    ],
)
def test_other_ids_wrap_nothing(external_id: str) -> None:
    assert unwrap(external_id) is None


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: base64.b64encode(raw).decode()))
def test_no_text_breaks_it(text: str) -> None:
    for prefix in ("", "resp_", "cntr_"):
        found = unwrap(prefix + text)
        assert found is None or provider_id(found) is None or len(str(provider_id(found))) <= 200
