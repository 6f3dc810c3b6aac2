from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest

from worker.model.thread import Kind, infer_kind
from worker.sandbox.control import make_sample
from worker.sandbox.kinds import CHILDREN, CONTAINERS, FACTS, ObjectKind, Target, read_target
from worker.sandbox.server import SandboxServer

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated.*:DeprecationWarning")

BEARER = {"authorization": "Bearer sk-seen"}
HELLO: Any = {"type": "message", "role": "user", "content": "hello"}


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_of_thread_can_be_made_read_and_deleted(
    kind: Kind, sandbox: SandboxServer, client: openai.OpenAI
) -> None:
    facts = FACTS[ObjectKind(kind.value)]
    made = make_sample(sandbox.store, ObjectKind(kind.value), children=2)
    assert infer_kind(made, kind) is kind
    address = f"/{facts.path}/{made}"
    read: Any = client.get(address, cast_to=object)
    assert (read["id"], read["object"]) == (made, facts.literal)
    gone: Any = client.delete(address, cast_to=object)
    assert gone == {"id": made, "object": facts.deleted, "deleted": True}
    with pytest.raises(openai.NotFoundError) as absent:
        client.get(address, cast_to=object)
    message = absent.value.response.json()["error"]["message"]
    assert made in message
    assert re.search("not found|No .* found|No such", message)
    assert not sandbox.store.exists(ObjectKind(kind.value), made)


def test_a_stored_completion_is_listed_by_model_and_metadata(client: openai.OpenAI) -> None:
    asked: Any = [{"role": "user", "content": "hello"}]
    kept = [
        client.chat.completions.create(
            model=model, messages=asked, store=True, metadata={"team": team}, extra_headers=BEARER
        ).id
        for model, team in (("m-1", "a"), ("m-1", "b"), ("m-2", "a"))
    ]
    client.chat.completions.create(model="m-1", messages=asked)
    assert re.fullmatch(r"chatcmpl-[A-Za-z0-9]{29}", kept[0])
    assert [one.id for one in client.chat.completions.list()] == kept
    assert [one.id for one in client.chat.completions.list(model="m-1", order="desc")] == [kept[1], kept[0]]
    assert [one.id for one in client.chat.completions.list(metadata={"team": "a"})] == [kept[0], kept[2]]
    [message] = client.chat.completions.messages.list(kept[0])
    assert (message.content, message.role) == ("hello", "user")
    gone = client.chat.completions.delete(kept[0])
    assert (gone.id, gone.object, gone.deleted) == (kept[0], "chat.completion.deleted", True)
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.retrieve(kept[0])


def test_a_chatkit_thread_goes_with_its_items_and_attachments(
    sandbox: SandboxServer, client: openai.OpenAI
) -> None:
    mine = make_sample(sandbox.store, ObjectKind.CHATKIT_THREAD, children=2, fields={"user": "u-1"})
    make_sample(sandbox.store, ObjectKind.CHATKIT_THREAD)
    assert [thread.id for thread in client.beta.chatkit.threads.list(user="u-1")] == [mine]
    assert len(client.beta.chatkit.threads.list().data) == 2
    thread = client.beta.chatkit.threads.retrieve(mine)
    assert (thread.status.type, thread.user) == ("active", "u-1")
    items: list[Any] = list(client.beta.chatkit.threads.list_items(mine))
    assert [item.thread_id for item in items] == [mine] * 2
    assert len({attachment.id for item in items for attachment in item.attachments}) == 2
    assert sandbox.requests()[-1].headers["openai-beta"] == "chatkit_beta=v1"
    gone = client.beta.chatkit.threads.delete(mine)
    assert (gone.object, gone.deleted) == ("chatkit.thread.deleted", True)
    assert sandbox.store.state().children == 0


def upload(client: openai.OpenAI, name: str = "a.txt") -> str:
    return client.files.create(file=(name, b"abc"), purpose="assistants").id


def test_a_vector_store_takes_files_lets_them_go_and_leaves_them(
    sandbox: SandboxServer, client: openai.OpenAI
) -> None:
    first, second = upload(client), upload(client, "b.txt")
    store = client.vector_stores.create(name="shelf", file_ids=[first])
    attached = client.vector_stores.files.create(store.id, file_id=second)
    assert (attached.id, attached.vector_store_id, attached.usage_bytes) == (second, store.id, 3)
    assert [file.id for file in client.vector_stores.files.list(store.id)] == [second, first]
    assert client.vector_stores.retrieve(store.id).file_counts.total == 2
    assert [listed.file_counts.total for listed in client.vector_stores.list()] == [2]

    detached = client.vector_stores.files.delete(first, vector_store_id=store.id)
    assert (detached.id, detached.object, detached.deleted) == (first, "vector_store.file.deleted", True)
    with pytest.raises(openai.NotFoundError, match=first):
        client.vector_stores.files.retrieve(first, vector_store_id=store.id)
    assert client.files.retrieve(first).id == first

    gone = client.vector_stores.delete(store.id)
    assert (gone.object, gone.deleted) == ("vector_store.deleted", True)
    assert sandbox.store.exists(ObjectKind.FILE, second)


def test_a_deleted_file_leaves_every_vector_store(client: openai.OpenAI) -> None:
    file = upload(client)
    stores = [client.vector_stores.create(file_ids=[file]).id for _ in range(2)]
    client.files.delete(file)
    assert [client.vector_stores.files.list(store).data for store in stores] == [[], []]
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        client.vector_stores.files.create(stores[0], file_id=file)


def test_a_container_has_a_status_and_its_deletion_is_only_on_the_wire(client: openai.OpenAI) -> None:
    container = client.containers.create(name="box")
    assert re.fullmatch(r"cntr_[0-9a-f]{48}", container.id)
    assert client.containers.retrieve(container.id).status == "running"
    assert [one.id for one in client.containers.list()] == [container.id]
    answer = client.containers.with_raw_response.delete(container.id).http_response.json()
    assert answer == {"id": container.id, "object": "container.deleted", "deleted": True}
    with pytest.raises(openai.NotFoundError):
        client.containers.retrieve(container.id)


def test_an_agent_session_that_runs_must_be_cancelled_before_it_is_deleted(client: openai.OpenAI) -> None:
    sessions = client.beta.agents.sessions
    session = sessions.create(environment={"type": "none"}, input="do it", metadata={"team": "a"})
    idle = sessions.create(environment={"type": "none"})
    assert (session.status, idle.status) == ("in_progress", "idle")
    assert [one.id for one in sessions.list()] == [idle.id, session.id]
    assert [one.id for one in sessions.list(metadata={"team": "a"})] == [session.id]
    with pytest.raises(openai.ConflictError, match="running execution"):
        sessions.delete(session.id)
    sessions.events.create(session.id, events=[{"type": "agent.session.input.cancel"}])
    assert sessions.retrieve(session.id).status == "idle"
    gone = sessions.delete(session.id)
    assert (gone.id, gone.object, gone.deleted) == (session.id, "agent.session.deleted", True)
    with pytest.raises(openai.NotFoundError, match=f"Session with id '{session.id}' not found"):
        sessions.events.create(session.id, events=[])


def test_a_thread_keeps_the_names_of_its_files_and_vector_stores(
    sandbox: SandboxServer, client: openai.OpenAI
) -> None:
    file = upload(client)
    store = client.vector_stores.create(file_ids=[file]).id
    named: Any = {"code_interpreter": {"file_ids": [file]}, "file_search": {"vector_store_ids": [store]}}
    thread = client.beta.threads.create(tool_resources=named)
    found = client.beta.threads.retrieve(thread.id).tool_resources
    assert found is not None
    assert found.model_dump(exclude_unset=True) == named
    client.beta.threads.delete(thread.id)
    assert sandbox.store.exists(ObjectKind.FILE, file)
    assert sandbox.store.exists(ObjectKind.VECTOR_STORE, store)


def test_an_item_shared_by_two_conversations_outlives_each_of_them(
    sandbox: SandboxServer, client: openai.OpenAI
) -> None:
    first = client.conversations.create(items=[HELLO]).id
    [item] = client.conversations.items.list(first)
    shared: Any = {"type": "message", "role": "user", "content": "ignored", "id": item.id}
    second = client.conversations.create(items=[shared, HELLO]).id
    third = client.conversations.create().id
    client.conversations.items.create(third, items=[shared])
    copy: Any = client.conversations.items.retrieve(str(item.id), conversation_id=second)
    assert (copy.id, copy.content[0].text) == (item.id, "hello")
    assert sandbox.store.holders(str(item.id)) == [first, second, third]

    client.conversations.items.delete(str(item.id), conversation_id=first)
    client.conversations.delete(third)
    assert client.conversations.items.retrieve(str(item.id), conversation_id=second).id == item.id
    assert sandbox.store.state().orphaned_items == ()
    client.conversations.delete(second)
    assert str(item.id) in sandbox.store.state().orphaned_items


def test_an_unknown_item_id_makes_a_new_item(client: openai.OpenAI) -> None:
    given: Any = {**HELLO, "id": "msg_never"}
    [item] = client.conversations.items.list(client.conversations.create(items=[given]).id)
    assert re.fullmatch(r"msg_[0-9a-f]{48}", str(item.id))


@pytest.mark.parametrize("kind", ["file", "vector_store", "container", "agent_session", "chatkit_thread"])
def test_what_can_be_listed_is_listed_in_pages(
    kind: str, sandbox: SandboxServer, client: openai.OpenAI
) -> None:
    made = [make_sample(sandbox.store, ObjectKind(kind)) for _ in range(3)]
    path = f"/{FACTS[ObjectKind(kind)].path}"
    page: Any = client.get(f"{path}?limit=2", cast_to=object)
    assert ([one["id"] for one in page["data"]], page["has_more"]) == (made[:0:-1], True)
    assert (page["first_id"], page["last_id"]) == (made[2], made[1])
    rest: Any = client.get(f"{path}?limit=2&after={page['last_id']}", cast_to=object)
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == (made[:1], False)
    earlier: Any = client.get(f"{path}?order=asc&before={made[1]}", cast_to=object)
    assert [one["id"] for one in earlier["data"]] == made[:1]


@pytest.mark.parametrize("kind", ["thread", "conversation", "response"])
def test_what_the_provider_cannot_list_is_not_listed(kind: str, client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        client.get(f"/{kind}s", cast_to=object)
    assert refused.value.status_code == 405


def test_foundry_lists_threads_of_its_project_and_answers_in_its_own_words(sandbox: SandboxServer) -> None:
    with httpx2.Client(
        base_url=sandbox.foundry_url("alpha"), params={"api-version": "v1"}, headers=BEARER
    ) as foundry:
        made = [foundry.post("/threads", json={}).json()["id"] for _ in range(3)]
        page = foundry.get("/threads", params={"limit": 2, "order": "asc"}).json()
        assert ([one["id"] for one in page["data"]], page["has_more"]) == (made[:2], True)
        assert foundry.delete(f"/threads/{made[0]}").json() == {
            "id": made[0],
            "object": "thread.deleted",
            "deleted": True,
        }
        absent = foundry.get(f"/threads/{made[0]}")
        assert (absent.status_code, absent.json()) == (
            404,
            {"error": {"code": "404", "message": f"No thread found with id '{made[0]}'."}},
        )
        unserved = foundry.get("/assistants")
        assert unserved.json() == {"error": {"code": "404", "message": "Resource not found"}}
        unversioned = httpx2.get(f"{sandbox.foundry_url('alpha')}/threads", headers={"api-key": "k"})
        assert (unversioned.status_code, unversioned.json()["error"]["code"]) == (
            400,
            "MissingApiVersionParameter",
        )
        elsewhere = httpx2.get(
            f"{sandbox.foundry_url('beta')}/threads/{made[1]}?api-version=v1", headers=BEARER
        )
        assert elsewhere.status_code == 404


def test_foundry_serves_the_other_kinds_to_the_openai_sdk(
    sandbox: SandboxServer, client_of: Callable[..., openai.OpenAI]
) -> None:
    foundry = openai.OpenAI(
        base_url=f"{sandbox.foundry_url('alpha')}/openai/v1", api_key="sk-x", max_retries=0
    )
    with foundry:
        conversation = foundry.conversations.create(items=[HELLO]).id
        assert foundry.conversations.retrieve(conversation).id == conversation
        with pytest.raises(openai.NotFoundError, match="Conversation with id"):
            client_of(sandbox).conversations.retrieve(conversation)
        foundry.conversations.delete(conversation)
        with pytest.raises(openai.NotFoundError, match="Conversation with id"):
            foundry.conversations.retrieve(conversation)


@pytest.mark.parametrize("base", ["/v1", "/api/projects/alpha/openai/v1"])
def test_every_address_is_read_as_what_it_is_about(base: str) -> None:
    for kind in CONTAINERS:
        path = f"{base}/{FACTS[kind].path}"
        assert read_target("POST", path) == Target(method="POST", path=path, kind=kind)
        own = read_target("GET", f"{path}/x_1")
        assert (own.kind, own.object_id, own.parent_id) == (kind, "x_1", None)
        if kind in CHILDREN:
            child = read_target("GET", f"{path}/x_1/{FACTS[CHILDREN[kind]].path}/y_2")
            assert (child.kind, child.object_id, child.parent_id) == (CHILDREN[kind], "y_2", "x_1")
            assert child.family is kind
