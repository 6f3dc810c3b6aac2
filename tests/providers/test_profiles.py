from __future__ import annotations

from pathlib import Path

import pytest

from worker.model.thread import Kind
from worker.providers.profiles import SHIPPED, BadProfile, Profile, UnknownProfile, load_profile, profile
from worker.providers.table import KINDS

ID = "conv_1"


def _openai(message: object, type_: object = "invalid_request_error") -> bool:
    answer = {"error": {"message": message, "type": type_, "param": None, "code": None}}
    return profile("openai").object_absent(answer, kind=Kind.CONVERSATION, object_id=ID)


@pytest.mark.parametrize(
    "message",
    [
        "No thread found with id 'conv_1'.",
        "Conversation with id 'conv_1' not found.",
        "Response with id 'conv_1' not found.",
        "No such File object: conv_1",
        "Item with id 'conv_1' not found.",
    ],
)
def test_openai_says_that_an_object_is_not_there(message: str) -> None:
    assert _openai(message)


@pytest.mark.parametrize(
    "message",
    [
        "Invalid URL (GET /v1/conversations/conv_1)",
        "Invalid URL: conv_1 not found",
        "Route GET /v1/conversations/conv_1 not found",
        "The requested URL /v1/conversations/conv_1 was not found on this server.",
        "No conversation found with id 'conv_12'.",
        "No conversation found with id 'myconv_1'.",
        "No conversation found with id 'conv_1-2'.",
        "No conversation found.",
        "Not Found",
        "conv_1 is gone",
        "",
        None,
        7,
    ],
)
def test_a_route_error_or_another_id_is_not_an_absent_object(message: object) -> None:
    assert not _openai(message)


@pytest.mark.parametrize("type_", [None, "not_found", "server_error", 3])
def test_openai_names_its_own_error_type(type_: object) -> None:
    assert not _openai("Conversation with id 'conv_1' not found.", type_)


@pytest.mark.parametrize(
    "answer", [{}, {"error": "x"}, {"error": None}, {"detail": "Conversation 'conv_1' not found."}]
)
def test_openai_knows_no_other_envelope(answer: dict[str, object]) -> None:
    assert not profile("openai").object_absent(answer, kind=Kind.CONVERSATION, object_id=ID)


def _generic(answer: dict[str, object]) -> bool:
    return profile("generic").object_absent(answer, kind=Kind.CONVERSATION, object_id=ID)


@pytest.mark.parametrize(
    "message",
    [
        "Conversation 'conv_1' not found.",
        "Conversation conv_1 was not found",
        "Conversation with id 'conv_1' not found. Use another.",
        "No conversation found with id 'conv_1'.",
        "No such conversation: conv_1",
        "No such conversation object: conv_1",
    ],
)
def test_the_generic_profile_reads_any_envelope(message: str) -> None:
    assert _generic({"detail": message})
    assert _generic({"error": {"message": message}})
    assert _generic({"message": message})


@pytest.mark.parametrize(
    "message",
    [
        "Not Found",
        "The route /conversations/conv_1 hasn't been found",
        "Invalid URL (GET /v1/conversations/conv_1)",
        "Thread 'conv_1' not found.",
        "Conversation 'conv_12' not found.",
        "Conversation 'conv_1/items' not found.",
        "Project of conversation 'conv_1' not found.",
        "Conversation 'conv_1': route not found",
        "Not Found: conversation 'conv_1' not found.",
    ],
)
def test_the_generic_profile_wants_kind_and_id_first(message: str) -> None:
    assert not _generic({"detail": message})


def test_an_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(UnknownProfile, match="openai, azure_foundry, generic"):
        profile("litellm")


def _foundry(message: str, kind: Kind = Kind.THREAD) -> bool:
    answer = {"error": {"code": "404", "message": message}}
    return profile("azure_foundry").object_absent(answer, kind=kind, object_id="thread_1")


@pytest.mark.parametrize(
    "message",
    [
        "No thread found with id 'thread_1'.",
        "Thread with id thread_1 not found.",
        "thread 'thread_1' not found",
    ],
)
def test_foundry_names_kind_and_id_in_an_envelope_without_a_type(message: str) -> None:
    assert _foundry(message)


@pytest.mark.parametrize(
    "message",
    [
        "Resource not found",
        "Resource not found: thread_1",
        "The requested resource thread_1 was not found",
        "The API deployment for thread_1 was not found",
        "No thread found with id 'thread_12'.",
        "Project with id thread_1 not found.",
        "/threads/thread_1 not found",
    ],
)
def test_at_foundry_a_missing_address_or_another_thing_is_no_absent_thread(message: str) -> None:
    assert not _foundry(message)


def test_a_message_that_is_too_long_to_be_an_error_text_is_not_believed() -> None:
    assert _openai("Conversation with id 'conv_1' not found." + " " * 1900)
    assert not _openai("Conversation with id 'conv_1' not found." + " " * 2000)


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("kind", list(KINDS))
def test_each_shipped_profile_knows_every_kind_and_believes_no_route(name: str, kind: Kind) -> None:
    known = profile(name)
    noun = known.facts(kind).nouns[0]
    envelope = {"type": "invalid_request_error", "code": None}
    absent = {"error": {**envelope, "message": f"No {noun} found with id 'an-id-1'."}}
    assert known.object_absent(absent, kind=kind, object_id="an-id-1")
    assert not known.object_absent(absent, kind=kind, object_id="an-id-2")
    assert not known.object_absent(absent, kind=kind, object_id="")
    for message in (
        "Invalid URL (GET /v1/x/an-id-1)",
        "Not Found",
        "Resource not found",
        "The route /an-id-1",
    ):
        assert not known.object_absent(
            {"error": {**envelope, "message": message}}, kind=kind, object_id="an-id-1"
        )


def test_what_a_project_document_calls_a_compatible_provider_is_the_generic_profile() -> None:
    assert profile("openai_compatible").name == "generic"


OWN = """
profile: ours
extends: openai
id_echo: equal
absent:
  conversation:
    at: [detail]
    begins: ["no such {noun} as {id}"]
route_begins: ["Our gateway"]
denied_codes: [key_expired]
kinds:
  file: {endpoint_end: 2027-01-31, tail_days: 7, cascade: {copies: stays}, unlisted: the gateway has no list}
"""


def _load(tmp_path: Path, text: str) -> Profile:
    path = tmp_path / "ours.yaml"
    path.write_text(text)
    return load_profile(path)


def test_a_projects_own_profile_replaces_what_it_names_and_keeps_the_rest(tmp_path: Path) -> None:
    ours = _load(tmp_path, OWN)
    said = {"detail": "No such conversation as conv_1"}
    assert ours.object_absent(said, kind=Kind.CONVERSATION, object_id=ID)
    assert not profile("openai").object_absent(said, kind=Kind.CONVERSATION, object_id=ID)
    envelope = {"error": {"type": "invalid_request_error", "message": "No thread found with id 'thread_1'."}}
    assert ours.object_absent(envelope, kind=Kind.THREAD, object_id="thread_1")
    file = ours.facts(Kind.FILE)
    assert (str(file.endpoint_end), file.tail is not None and file.tail.days, file.listable) == (
        "2027-01-31",
        7,
        False,
    )
    assert ours.facts(Kind.THREAD) == profile("openai").facts(Kind.THREAD)


def test_what_keeps_a_404_from_being_believed_can_only_be_added_to(tmp_path: Path) -> None:
    ours = _load(tmp_path, OWN)
    assert set(profile("openai").route_begins) < set(ours.route_begins)
    assert profile("openai").denied_codes < ours.denied_codes


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("id_echo: equal", "id_echo: any", "about another object"),
        ("id_echo: equal\n", "", "id_echo is missing"),
        ("  conversation:", "  conversations:", 'unknown field "conversations".*Did you mean "conversation"'),
        ("denied_codes:", "denied_code:", 'unknown field "denied_code"'),
        ('begins: ["no such {noun} as {id}"]', 'begins: ["it is gone"]', "must hold {id} and {noun}"),
        ('begins: ["no such {noun} as {id}"]', 'begins: ["{noun} {id} {x}"]', "no other placeholder"),
        ('begins: ["no such {noun} as {id}"]', 'says: ["not found"]', "says needs types"),
        ('begins: ["no such {noun} as {id}"]', 'types: [x]\n    says: ["*"]', "at most one"),
        ('begins: ["no such {noun} as {id}"]', 'types: [x]\n    says: ["a*b*c defghi"]', "at most one"),
        ('begins: ["no such {noun} as {id}"]', "types: [x]", "needs says or begins"),
        ("at: [detail]", 'at: ["$.detail"]', "must be a place"),
        ("2027-01-31", "soon", "is no date"),
        ("stays}", "vanishes}", '"vanishes" is unknown'),
        ("tail_days: 7", "tail_days: seven", "whole number"),
        ("file: {", "file: {prefix: /../admin, ", "is no path"),
        ("file: {", "file: {read_object: thing, ", 'unknown field "read_object"'),
        ("extends: openai\n", "", "absent says nothing of agent_session"),
        ("profile: ours", "profile: ours\nprofile: theirs", "duplicate key"),
        ("profile: ours", "profile: &x ours", "anchors"),
        ("profile: ours", "- ours", "not readable as YAML"),
    ],
)
def test_a_profile_with_a_mistake_is_refused_with_its_place(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in OWN
    with pytest.raises(BadProfile, match=said) as refused:
        _load(tmp_path, OWN.replace(old, new))
    assert "ours.yaml:" in refused.value.problem


def test_a_profile_extends_only_what_exists_and_is_a_readable_file(tmp_path: Path) -> None:
    with pytest.raises(UnknownProfile, match="litellm"):
        _load(tmp_path, OWN.replace("extends: openai", "extends: litellm"))
    with pytest.raises(BadProfile, match="one document"):
        _load(tmp_path, "")
    with pytest.raises(BadProfile, match="larger"):
        _load(tmp_path, "#" * 200_000)
    with pytest.raises(BadProfile, match="cannot be read"):
        load_profile(tmp_path / "none.yaml")
