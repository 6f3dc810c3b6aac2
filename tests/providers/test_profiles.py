from __future__ import annotations

import pytest

from worker.providers.profiles import UnknownProfile, profile

ID = "conv_1"


def _openai(message: object, type_: object = "invalid_request_error") -> bool:
    answer = {"error": {"message": message, "type": type_, "param": None, "code": None}}
    return profile("openai").object_absent(answer, noun="conversation", object_id=ID)


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
    assert not profile("openai").object_absent(answer, noun="conversation", object_id=ID)


def _generic(answer: dict[str, object]) -> bool:
    return profile("generic").object_absent(answer, noun="conversation", object_id=ID)


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
    ],
)
def test_the_generic_profile_wants_kind_and_id_first(message: str) -> None:
    assert not _generic({"detail": message})


def test_an_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(UnknownProfile, match="openai, generic"):
        profile("litellm")
