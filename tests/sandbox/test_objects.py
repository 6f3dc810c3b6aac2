from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import openai
import pytest

from worker.sandbox.kinds import ObjectKind
from worker.sandbox.server import SandboxServer

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated.*:DeprecationWarning")

HELLO: Any = {"type": "message", "role": "user", "content": "hello"}


def message_of(refused: openai.APIStatusError) -> dict[str, Any]:
    return dict(refused.response.json()["error"])


def test_a_thread_is_created_read_and_deleted_with_its_messages(
    client: openai.OpenAI, sandbox: SandboxServer
) -> None:
    thread = client.beta.threads.create(messages=[{"role": "user", "content": "one"}])
    client.beta.threads.messages.create(thread.id, role="user", content="two")
    assert re.fullmatch(r"thread_[A-Za-z0-9]{24}", thread.id)
    assert [message.thread_id for message in client.beta.threads.messages.list(thread.id)] == [thread.id] * 2
    assert client.beta.threads.retrieve(thread.id).id == thread.id

    gone = client.beta.threads.delete(thread.id)
    assert (gone.id, gone.object, gone.deleted) == (thread.id, "thread.deleted", True)
    with pytest.raises(openai.NotFoundError) as absent:
        client.beta.threads.retrieve(thread.id)
    assert message_of(absent.value) == {
        "message": f"No thread found with id '{thread.id}'.",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    assert sandbox.store.state().children == 0
    assert sandbox.store.state().orphaned_items == ()


def test_a_deleted_message_is_answered_as_a_deletion(client: openai.OpenAI) -> None:
    thread = client.beta.threads.create(messages=[{"role": "user", "content": "one"}])
    [message] = client.beta.threads.messages.list(thread.id)
    gone = client.beta.threads.messages.delete(message.id, thread_id=thread.id)
    assert (gone.id, gone.object, gone.deleted) == (message.id, "thread.message.deleted", True)
    with pytest.raises(openai.NotFoundError, match="No message found"):
        client.beta.threads.messages.retrieve(message.id, thread_id=thread.id)


def test_a_deleted_conversation_leaves_its_items_behind(
    client: openai.OpenAI, sandbox: SandboxServer
) -> None:
    conversation = client.conversations.create(items=[HELLO, HELLO], metadata={"team": "a"})
    assert re.fullmatch(r"conv_[0-9a-f]{48}", conversation.id)
    assert client.conversations.retrieve(conversation.id).metadata == {"team": "a"}

    gone = client.conversations.delete(conversation.id)
    assert (gone.id, gone.object, gone.deleted) == (conversation.id, "conversation.deleted", True)
    for read in (client.conversations.retrieve, client.conversations.items.list, client.conversations.delete):
        with pytest.raises(openai.NotFoundError) as absent:
            read(conversation.id)
        assert message_of(absent.value)["message"] == f"Conversation with id '{conversation.id}' not found."
    assert len(sandbox.store.state().orphaned_items) == 2
    assert not sandbox.store.exists(ObjectKind.CONVERSATION, conversation.id)


def test_a_deleted_item_is_answered_with_its_conversation(
    client: openai.OpenAI, sandbox: SandboxServer
) -> None:
    conversation = client.conversations.create(items=[HELLO])
    [item] = client.conversations.items.list(conversation.id)
    assert re.fullmatch(r"msg_[0-9a-f]{48}", str(item.id))
    answer = client.conversations.items.delete(str(item.id), conversation_id=conversation.id)
    assert (answer.id, answer.object) == (conversation.id, "conversation")
    with pytest.raises(openai.NotFoundError, match=f"Item with id '{item.id}' not found"):
        client.conversations.items.retrieve(str(item.id), conversation_id=conversation.id)
    client.conversations.delete(conversation.id)
    assert sandbox.store.state().orphaned_items == ()


def test_items_are_listed_in_pages_in_both_orders(client: openai.OpenAI) -> None:
    conversation = client.conversations.create()
    for _ in range(5):
        client.conversations.items.create(conversation.id, items=[HELLO])
    newest_first = [item.id for item in client.conversations.items.list(conversation.id, limit=2)]
    oldest_first = [
        item.id for item in client.conversations.items.list(conversation.id, limit=2, order="asc")
    ]
    page = client.conversations.items.list(conversation.id, limit=2, order="asc")
    assert len(set(oldest_first)) == 5
    assert newest_first == oldest_first[::-1]
    assert page.model_extra == {"object": "list", "first_id": oldest_first[0]}
    assert (page.last_id, page.has_more) == (oldest_first[1], True)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "order=up", "after=msg_unknown"])
def test_a_page_that_does_not_exist_is_a_bad_request(client: openai.OpenAI, query: str) -> None:
    conversation = client.conversations.create()
    with pytest.raises(openai.BadRequestError):
        client.get(f"/conversations/{conversation.id}/items?{query}", cast_to=object)


def test_a_response_is_stored_without_any_model_and_deleted(client: openai.OpenAI) -> None:
    response = client.responses.create(model="gpt-any", input="hello")
    assert re.fullmatch(r"resp_[0-9a-f]{48}", response.id)
    assert "no model was asked" in response.output_text
    assert client.responses.retrieve(response.id).model == "gpt-any"
    answer = client.responses.with_raw_response.delete(response.id)
    assert answer.http_response.json() == {"id": response.id, "object": "response", "deleted": True}
    with pytest.raises(openai.NotFoundError, match=f"Response with id '{response.id}' not found"):
        client.responses.retrieve(response.id)


def test_a_response_that_is_not_stored_cannot_be_read(client: openai.OpenAI) -> None:
    response = client.responses.create(model="gpt-any", input="hello", store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_a_response_in_a_conversation_leaves_items_that_outlive_it(client: openai.OpenAI) -> None:
    conversation = client.conversations.create()
    response = client.responses.create(model="gpt-any", input="hello", conversation=conversation.id)
    client.responses.delete(response.id)
    assert len(client.conversations.items.list(conversation.id).data) == 2


def test_a_file_is_uploaded_listed_and_deleted(client: openai.OpenAI) -> None:
    file = client.files.create(file=("a.bin", b"a\r\nb\x00\xff\n"), purpose="user_data")
    assert re.fullmatch(r"file-[A-Za-z0-9]{24}", file.id)
    assert (file.filename, file.bytes, file.purpose) == ("a.bin", 7, "user_data")
    assert [listed.id for listed in client.files.list()] == [file.id]
    gone = client.files.delete(file.id)
    assert (gone.id, gone.object, gone.deleted) == (file.id, "file", True)
    assert client.files.list().data == []
    with pytest.raises(openai.NotFoundError) as absent:
        client.files.retrieve(file.id)
    assert message_of(absent.value)["message"] == f"No such File object: {file.id}"


def test_a_file_can_be_sent_as_json_too(client: openai.OpenAI) -> None:
    body = {"filename": "b.txt", "content": "hello"}
    file: Any = client.post("/files", body=body, cast_to=object)
    assert (file["filename"], file["bytes"]) == ("b.txt", 5)


@pytest.mark.parametrize(
    ("written", "seconds"), [("1790000000", 1_790_000_000), ("2026-01-02T03:04:05Z", 1_767_323_045)]
)
def test_a_creation_can_be_backdated(client: openai.OpenAI, written: str, seconds: int) -> None:
    headers = {"X-Sandbox-Created-At": written}
    assert client.conversations.create(extra_headers=headers).created_at == seconds
    assert client.beta.threads.create(extra_headers=headers).created_at == seconds
    assert client.responses.create(model="m", input="x", extra_headers=headers).created_at == seconds


def test_a_date_that_cannot_be_read_makes_nothing(client: openai.OpenAI, sandbox: SandboxServer) -> None:
    with pytest.raises(openai.BadRequestError, match="neither Unix seconds nor RFC 3339"):
        client.conversations.create(extra_headers={"X-Sandbox-Created-At": "yesterday"})
    assert sandbox.store.state().live[ObjectKind.CONVERSATION] == ()


def test_another_project_sees_the_same_404_as_for_what_never_was(
    client_of: Callable[..., openai.OpenAI], sandbox: SandboxServer
) -> None:
    mine, theirs = client_of(sandbox, project="proj_a"), client_of(sandbox, project="proj_b")
    conversation = mine.conversations.create(items=[HELLO])
    mine.files.create(file=("a", b"a"), purpose="user_data")
    for attempt in (
        theirs.conversations.retrieve,
        theirs.conversations.delete,
        theirs.conversations.items.list,
    ):
        with pytest.raises(openai.NotFoundError, match=f"Conversation with id '{conversation.id}' not found"):
            attempt(conversation.id)
    assert theirs.files.list().data == []
    assert mine.conversations.retrieve(conversation.id).id == conversation.id


def test_what_was_made_without_a_project_is_seen_by_all(
    client_of: Callable[..., openai.OpenAI], sandbox: SandboxServer
) -> None:
    conversation = client_of(sandbox).conversations.create()
    assert client_of(sandbox, project="proj_b").conversations.retrieve(conversation.id).id == conversation.id


def test_the_same_seed_gives_the_same_ids(
    start: Callable[..., SandboxServer], client_of: Callable[..., openai.OpenAI]
) -> None:
    first, second, other = (client_of(start(seed=seed)).conversations.create().id for seed in (7, 7, 8))
    assert first == second != other
