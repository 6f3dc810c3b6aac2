from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.model.evidence import Class
from worker.model.thread import Kind
from worker.providers.classify import (
    Answer,
    classify_child_delete,
    classify_delete,
    classify_read,
    created_at,
)
from worker.providers.listings import read_collection, read_listing
from worker.providers.profiles import SHIPPED, profile
from worker.providers.table import KINDS

OPENAI = profile("openai")
ID = "conv_1"
ABSENT = {
    "error": {
        "type": "invalid_request_error",
        "code": None,
        "message": f"Conversation with id '{ID}' not found.",
    }
}


def _answer(status: int, body: object) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status=status, headers={}, body=raw)


def _read(status: int, body: object, kind: Kind = Kind.CONVERSATION, external_id: str = ID) -> Class:
    return classify_read(kind, external_id, _answer(status, body), OPENAI).seen


def _delete(status: int, body: object, kind: Kind = Kind.CONVERSATION, external_id: str = ID) -> Class:
    return classify_delete(kind, external_id, _answer(status, body), OPENAI).seen


@pytest.mark.parametrize(
    ("status", "body", "seen"),
    [
        (200, {"id": ID, "object": "conversation"}, Class.PRESENT),
        (200, {"id": ID, "object": "conversation", "deleted": False}, Class.PRESENT),
        (200, {"id": ID, "object": "conversation", "deleted": True}, Class.ERROR),
        (200, {"id": "conv_2", "object": "conversation"}, Class.ERROR),
        (200, {"id": ID, "object": "conversation.deleted"}, Class.ERROR),
        (200, {"id": ID}, Class.ERROR),
        (200, {"id": ID, "object": ["conversation"]}, Class.ERROR),
        (200, [{"id": ID, "object": "conversation"}], Class.ERROR),
        (200, b"", Class.ERROR),
        (200, b"<html>conv_1</html>", Class.ERROR),
        (200, b'{"id": "conv_1", "object": "conversation"', Class.ERROR),
        (200, b"[" * 100_000, Class.ERROR),
        (201, {"id": ID, "object": "conversation"}, Class.ERROR),
        (204, b"", Class.ERROR),
        (206, {"id": ID, "object": "conversation"}, Class.ERROR),
        (302, {"id": ID, "object": "conversation"}, Class.ERROR),
        (304, b"", Class.ERROR),
        (400, ABSENT, Class.ERROR),
        (401, ABSENT, Class.DENIED),
        (403, ABSENT, Class.DENIED),
        (404, ABSENT, Class.OBJECT_ABSENT),
        (404, {"detail": "Not Found"}, Class.ROUTE_ABSENT),
        (404, b"", Class.ROUTE_ABSENT),
        (405, ABSENT, Class.ROUTE_ABSENT),
        (408, {}, Class.ERROR),
        (409, {}, Class.ERROR),
        (410, ABSENT, Class.ROUTE_ABSENT),
        (422, {}, Class.ERROR),
        (429, ABSENT, Class.THROTTLED),
        (500, ABSENT, Class.ERROR),
        (503, {}, Class.ERROR),
        (101, {}, Class.ERROR),
    ],
)
def test_a_read_has_its_class(status: int, body: object, seen: Class) -> None:
    assert _read(status, body) is seen


@pytest.mark.parametrize(
    ("status", "body", "seen"),
    [
        (200, {"id": ID, "object": "conversation.deleted", "deleted": True}, Class.ACKNOWLEDGED),
        (202, {"id": ID, "object": "conversation.deleted", "deleted": True}, Class.ACKNOWLEDGED),
        (200, {"id": ID, "object": "conversation.deleted", "deleted": False}, Class.MALFORMED),
        (200, {"id": ID, "object": "conversation.deleted", "deleted": "true"}, Class.MALFORMED),
        (200, {"id": ID, "object": "conversation.deleted", "deleted": 1}, Class.MALFORMED),
        (200, {"id": ID, "object": "conversation.deleted"}, Class.MALFORMED),
        (200, {"id": ID, "object": "thread.deleted", "deleted": True}, Class.MALFORMED),
        (200, {"id": ID, "object": "conversation", "deleted": True}, Class.MALFORMED),
        (200, {"id": "conv_2", "object": "conversation.deleted", "deleted": True}, Class.MALFORMED),
        (200, {"object": "conversation.deleted", "deleted": True}, Class.MALFORMED),
        (200, b"<html></html>", Class.MALFORMED),
        (204, b"", Class.MALFORMED),
        (302, {"id": ID, "object": "conversation.deleted", "deleted": True}, Class.MALFORMED),
        (308, b"", Class.MALFORMED),
        (404, ABSENT, Class.OBJECT_ABSENT),
        (404, {"error": {"message": "Invalid URL (DELETE /v1/conversations/conv_1)"}}, Class.ROUTE_ABSENT),
        (405, {"detail": "Method Not Allowed"}, Class.ROUTE_ABSENT),
        (410, {}, Class.ROUTE_ABSENT),
        (401, {}, Class.DENIED),
        (403, {}, Class.DENIED),
        (429, {}, Class.THROTTLED),
        (400, {}, Class.ERROR),
        (409, {}, Class.ERROR),
        (500, b"Internal Server Error", Class.ERROR),
    ],
)
def test_a_delete_has_its_class(status: int, body: object, seen: Class) -> None:
    assert _delete(status, body) is seen


@pytest.mark.parametrize(
    ("kind", "external_id", "literal"),
    [
        (Kind.THREAD, "thread_1", "thread.deleted"),
        (Kind.CONVERSATION, "conv_1", "conversation.deleted"),
        (Kind.RESPONSE, "resp_1", "response"),
        (Kind.RESPONSE, "resp_1", "response.deleted"),
        (Kind.FILE, "file-1", "file"),
        (Kind.CHAT_COMPLETION, "chatcmpl-1", "chat.completion.deleted"),
        (Kind.CHATKIT_THREAD, "cthr_1", "chatkit.thread.deleted"),
        (Kind.VECTOR_STORE, "vs_1", "vector_store.deleted"),
        (Kind.CONTAINER, "cntr_1", "container.deleted"),
        (Kind.AGENT_SESSION, "as_1", "agent.session.deleted"),
    ],
)
def test_each_kind_acknowledges_with_its_own_literal(kind: Kind, external_id: str, literal: str) -> None:
    body = {"id": external_id, "object": literal, "deleted": True}
    assert _delete(200, body, kind, external_id) is Class.ACKNOWLEDGED
    assert _read(200, body, kind, external_id) is Class.ERROR, (
        "the answer to a DELETE is no sight of the object"
    )


@pytest.mark.parametrize(
    ("status", "body", "seen"),
    [
        (200, {"id": ID, "object": "conversation"}, Class.ACKNOWLEDGED),
        (202, {"id": ID, "object": "conversation"}, Class.MALFORMED),
        (200, {"id": "msg_1", "object": "conversation.item.deleted", "deleted": True}, Class.MALFORMED),
        (200, {"id": "conv_2", "object": "conversation"}, Class.MALFORMED),
        (302, {"id": ID, "object": "conversation"}, Class.MALFORMED),
        (204, b"", Class.MALFORMED),
        (
            404,
            {"error": {"type": "invalid_request_error", "message": "Item with id 'msg_1' not found."}},
            Class.OBJECT_ABSENT,
        ),
        (404, ABSENT, Class.ROUTE_ABSENT),
        (403, {}, Class.DENIED),
        (500, {}, Class.ERROR),
    ],
)
def test_a_child_is_acknowledged_by_its_parent(status: int, body: object, seen: Class) -> None:
    verdict = classify_child_delete(Kind.CONVERSATION, ID, "msg_1", _answer(status, body), OPENAI)
    assert verdict.seen is seen


@pytest.mark.parametrize(
    "body",
    [
        {"object": "list", "data": [{"id": "msg_1"}]},
        {"object": "list", "data": [{"id": "msg_1"}], "has_more": "false"},
        {"object": "list", "data": [], "has_more": True},
        {"object": "list", "data": [{"id": "msg_1"}, {}], "has_more": False},
        {"object": "list", "data": ["msg_1"], "has_more": False},
        {"object": "list", "data": [{"id": "../files"}], "has_more": False},
        {"object": "list", "data": {}, "has_more": False},
        {"object": "list", "has_more": False},
        {"data": [], "has_more": False},
        {},
        b"<html></html>",
    ],
)
def test_a_page_that_could_hide_a_child_is_an_error(body: object) -> None:
    listing = read_listing(Kind.CONVERSATION, ID, _answer(200, body), OPENAI)
    assert (listing.verdict.seen, listing.ids, listing.has_more) == (Class.ERROR, (), False)


def test_a_well_formed_page_names_its_children_and_where_the_next_begins() -> None:
    body = {"object": "list", "data": [{"id": "msg_1"}, {"id": "rs_2"}], "has_more": True, "last_id": "rs_2"}
    listing = read_listing(Kind.CONVERSATION, ID, _answer(200, body), OPENAI)
    assert (listing.verdict.seen, listing.ids, listing.has_more, listing.last) == (
        Class.PRESENT,
        ("msg_1", "rs_2"),
        True,
        "rs_2",
    )


@pytest.mark.parametrize(
    "value", [None, True, "1764000000", -1, 0, 1e300, float("nan"), float("inf"), [], 10**30]
)
def test_a_creation_date_that_is_none_is_left_out(value: object) -> None:
    assert created_at(_answer(200, {"created_at": value})) is None


# Everything that could lead to a certificate has to come from an answer that names the id.
_BODIES = st.one_of(
    st.binary(max_size=60),
    st.recursive(
        st.none()
        | st.booleans()
        | st.sampled_from(["conversation", "conversation.deleted", "list", "not found"]),
        lambda inner: st.dictionaries(
            st.sampled_from(
                ["id", "object", "deleted", "status", "error", "message", "type", "data", "has_more"]
            ),
            inner,
        ),
        max_leaves=6,
    ).map(lambda value: json.dumps(value).encode()),
)


@given(kind=st.sampled_from(list(KINDS)), status=st.integers(min_value=100, max_value=599), body=_BODIES)
def test_no_answer_raises_and_none_without_the_id_counts(kind: Kind, status: int, body: bytes) -> None:
    given_answer = _answer(status, body)
    for name in SHIPPED:
        seen = {
            classify_read(kind, "an-id-not-in-there", given_answer, profile(name)).seen,
            classify_delete(kind, "an-id-not-in-there", given_answer, profile(name)).seen,
            classify_child_delete(kind, "an-id-not-in-there", "child", given_answer, profile(name)).seen,
        }
        assert not seen & {Class.PRESENT, Class.ACKNOWLEDGED, Class.OBJECT_ABSENT}
    read_listing(kind, "an-id-not-in-there", given_answer, OPENAI)
    assert read_collection(kind, given_answer, OPENAI).verdict.seen is not Class.OBJECT_ABSENT
    created_at(given_answer)


@pytest.mark.parametrize(
    ("kind", "external_id", "status", "seen"),
    [
        (Kind.CONTAINER, "cntr_1", "running", Class.PRESENT),
        # An expired container is still listed and can still be deleted.
        (Kind.CONTAINER, "cntr_1", "expired", Class.PRESENT),
        (Kind.CONTAINER, "cntr_1", "deleted", Class.ERROR),
        (Kind.CONTAINER, "cntr_1", {"type": "deleted"}, Class.PRESENT),
        (Kind.VECTOR_STORE, "vs_1", "expired", Class.PRESENT),
    ],
)
def test_a_200_whose_status_says_deleted_is_neither_present_nor_absent(
    kind: Kind, external_id: str, status: object, seen: Class
) -> None:
    body = {"id": external_id, "object": kind.value, "status": status}
    assert _read(200, body, kind, external_id) is seen


@pytest.mark.parametrize(
    ("status", "body", "seen"),
    [
        (200, {"id": "file-1", "object": "vector_store.file.deleted", "deleted": True}, Class.ACKNOWLEDGED),
        (200, {"id": "file-1", "object": "vector_store.file.deleted", "deleted": False}, Class.MALFORMED),
        (200, {"id": "file-2", "object": "vector_store.file.deleted", "deleted": True}, Class.MALFORMED),
        (200, {"id": "file-1", "object": "file", "deleted": True}, Class.MALFORMED),
        (200, {"id": "vs_1", "object": "vector_store"}, Class.MALFORMED),
        (
            404,
            {"error": {"type": "invalid_request_error", "message": "No file found with id 'file-1'."}},
            Class.OBJECT_ABSENT,
        ),
    ],
)
def test_a_file_is_detached_from_its_store_by_an_answer_of_its_own(
    status: int, body: object, seen: Class
) -> None:
    verdict = classify_child_delete(Kind.VECTOR_STORE, "vs_1", "file-1", _answer(status, body), OPENAI)
    assert verdict.seen is seen


@pytest.mark.parametrize("code", ["missing_scope", "invalid_api_key"])
@pytest.mark.parametrize("status", [400, 404, 405, 410])
def test_an_error_code_of_a_refused_key_is_denied_with_any_status(status: int, code: str) -> None:
    error = {**ABSENT["error"], "code": code}
    assert _read(status, {"error": error}) is Class.DENIED
    assert _delete(status, {"error": error}) is Class.DENIED


def test_a_completion_names_its_creation_by_another_word() -> None:
    assert created_at(_answer(200, {"created": 1764000000})) == created_at(
        _answer(200, {"created_at": 1764000000})
    )


def _collection(status: int, body: object, kind: Kind = Kind.FILE) -> Class:
    return read_collection(kind, _answer(status, body), OPENAI).verdict.seen


def test_a_page_of_a_kind_holds_that_kind_alone() -> None:
    file, store = {"id": "file-1", "object": "file"}, {"id": "vs_1", "object": "vector_store"}
    page = {"object": "list", "has_more": False}
    assert _collection(200, {**page, "data": [file]}) is Class.PRESENT
    assert _collection(200, {**page, "data": []}) is Class.PRESENT
    assert _collection(200, {**page, "data": [file, store]}) is Class.ERROR
    assert _collection(200, {**page, "data": [{"id": "file-1"}]}) is Class.ERROR


@pytest.mark.parametrize(
    "body", [{"detail": "Not Found"}, {"error": {"type": "invalid_request_error", "message": "not found"}}]
)
def test_a_list_that_is_not_there_is_a_missing_route(body: object) -> None:
    assert _collection(404, body) is Class.ROUTE_ABSENT
