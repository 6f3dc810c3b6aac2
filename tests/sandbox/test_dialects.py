from __future__ import annotations

import base64
from collections.abc import Callable

import httpx2
import openai
import pytest

from worker.sandbox.control import make_sample
from worker.sandbox.kinds import ObjectKind
from worker.sandbox.options import Dialect
from worker.sandbox.server import SandboxServer

Start = Callable[..., SandboxServer]
ClientOf = Callable[..., openai.OpenAI]

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated.*:DeprecationWarning")


def refusal(attempt: Callable[[], object]) -> tuple[int, object]:
    with pytest.raises(openai.APIStatusError) as refused:
        attempt()
    return refused.value.status_code, refused.value.response.json()


def test_a_server_of_its_own_writes_detail(start: Start, client_of: ClientOf) -> None:
    client = client_of(start(dialect=Dialect.DETAIL))
    conversation = client.conversations.create().id
    client.conversations.delete(conversation)
    assert refusal(lambda: client.conversations.retrieve(conversation)) == (
        404,
        {"detail": f"Conversation '{conversation}' not found."},
    )
    assert refusal(lambda: client.files.retrieve("file-x")) == (404, {"detail": "File 'file-x' not found."})
    assert refusal(lambda: client.get("/assistants", cast_to=object)) == (404, {"detail": "Not Found"})
    assert refusal(lambda: client.get("/threads", cast_to=object)) == (405, {"detail": "Method Not Allowed"})


def test_a_retired_endpoint_speaks_the_dialect_too(start: Start, client_of: ClientOf) -> None:
    client = client_of(start("endpoint-retired:thread", "forbidden:file", dialect=Dialect.DETAIL))
    assert refusal(client.beta.threads.create) == (404, {"detail": "Not Found"})
    status, body = refusal(client.files.list)
    assert status == 403
    assert isinstance(body, dict)
    assert list(body) == ["detail"]


def test_a_gateway_has_no_conversations_at_all(start: Start, client_of: ClientOf) -> None:
    server = start(dialect=Dialect.GATEWAY)
    client = client_of(server)
    conversation = make_sample(server.store, ObjectKind.CONVERSATION)
    for attempt in (
        client.conversations.create,
        lambda: client.conversations.retrieve(conversation),
        lambda: client.conversations.delete(conversation),
        client.vector_stores.list,
        client.containers.list,
    ):
        assert refusal(attempt) == (404, {"detail": "Not Found"})
    assert server.store.exists(ObjectKind.CONVERSATION, conversation)


def test_a_gateway_gives_a_response_another_id_on_every_call(start: Start, client_of: ClientOf) -> None:
    server = start(dialect=Dialect.GATEWAY)
    client = client_of(server)
    made = client.responses.create(model="m", input="x").id
    [own] = [stored.id for stored in server.store.every(ObjectKind.RESPONSE)]
    read = client.responses.retrieve(made).id
    assert len({made, read, own}) == 3
    told = base64.urlsafe_b64decode(made.removeprefix("resp_") + "==").decode()
    assert told.startswith("litellm:")
    assert f"response_id:{own}" in told
    assert refusal(lambda: client.responses.retrieve(own))[0] == 400
    gone = client.responses.with_raw_response.delete(read).http_response.json()
    assert gone == {"id": own, "object": "response", "deleted": True}
    status, body = refusal(lambda: client.responses.retrieve(made))
    assert status == 404
    assert isinstance(body, dict)
    assert (body["error"]["code"], own in body["error"]["message"]) == ("404", True)


def test_a_gateway_cannot_delete_threads_and_fails_where_they_are_absent(start: Start) -> None:
    server = start(dialect=Dialect.GATEWAY)
    thread = make_sample(server.store, ObjectKind.THREAD)
    with httpx2.Client(base_url=server.base_url, headers={"authorization": "Bearer k"}) as client:
        assert client.get(f"/threads/{thread}").json()["id"] == thread
        assert client.delete(f"/threads/{thread}").status_code == 405
        absent = client.get("/threads/thread_never")
    assert (absent.status_code, absent.text) == (500, "Internal Server Error")
    assert server.store.exists(ObjectKind.THREAD, thread)


def test_a_gateway_passes_files_on(start: Start, client_of: ClientOf) -> None:
    client = client_of(start(dialect=Dialect.GATEWAY))
    file = client.files.create(file=("a", b"a"), purpose="user_data").id
    assert client.files.delete(file).deleted is True
    with pytest.raises(openai.NotFoundError) as absent:
        client.files.retrieve(file)
    assert absent.value.code == "404"


def test_an_opaque_gateway_gives_ids_that_only_it_can_read(start: Start, client_of: ClientOf) -> None:
    server = start(dialect=Dialect.GATEWAY_OPAQUE)
    client = client_of(server)
    made = client.responses.create(model="m", input="x").id
    read = client.responses.retrieve(made).id
    [own] = [stored.id for stored in server.store.every(ObjectKind.RESPONSE)]
    assert len({made, read, own}) == 3
    assert refusal(lambda: client.responses.retrieve(own))[0] == 400
    client.responses.delete(read)
    assert not server.store.exists(ObjectKind.RESPONSE, own)
