from __future__ import annotations

from datetime import date, timedelta

import pytest

from worker.model.thread import PREFIXES, Kind
from worker.providers.kind_facts import KindNotOffered, NotListable
from worker.providers.profiles import SHIPPED, profile
from worker.providers.table import KINDS, facts

LISTED = {
    Kind.FILE,
    Kind.VECTOR_STORE,
    Kind.CONTAINER,
    Kind.CHAT_COMPLETION,
    Kind.CHATKIT_THREAD,
    Kind.AGENT_SESSION,
}


def test_every_kind_that_can_be_registered_has_its_row() -> None:
    assert set(KINDS) == set(Kind)
    assert set(PREFIXES) == set(Kind) - {Kind.AGENT_SESSION}


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_words_for_a_certificate_say_what_stays_and_never_more_than_was_seen(kind: Kind) -> None:
    words = facts(kind).deletion_semantics
    assert "erased" not in words
    assert "30 days" in words
    assert facts(kind).tail == timedelta(days=30)


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("kind", list(KINDS))
def test_no_profile_says_erased_or_promises_what_it_cannot_know(name: str, kind: Kind) -> None:
    known = profile(name).facts(kind)
    assert "erased" not in known.deletion_semantics
    assert len(known.deletion_semantics) > 60
    assert name == "openai" or "OpenAI" not in known.deletion_semantics


def test_only_a_conversation_has_children_that_must_go_first() -> None:
    assert [kind for kind in KINDS if facts(kind).child] == [Kind.CONVERSATION]
    assert [kind for kind in KINDS if facts(kind).part] == [Kind.VECTOR_STORE]


def test_a_kind_without_a_list_says_why() -> None:
    assert {kind for kind in KINDS if facts(kind).listable} == LISTED
    for kind in LISTED:
        facts(kind).must_be_listable()
    with pytest.raises(NotListable, match="browser session for this list; such tokens are never accepted"):
        facts(Kind.THREAD).must_be_listable()
    with pytest.raises(NotListable, match="no list of them"):
        facts(Kind.CONVERSATION).must_be_listable()


def test_a_canary_exists_only_where_an_object_costs_nothing_and_bears_its_mark() -> None:
    made = {kind: facts(kind).canary for kind in KINDS if facts(kind).canary}
    assert set(made) == {Kind.THREAD, Kind.CONVERSATION, Kind.FILE, Kind.VECTOR_STORE}
    assert all("tenure-canary" in str(post) for post in made.values())


def test_the_retired_endpoint_has_its_date() -> None:
    assert {kind: facts(kind).endpoint_end for kind in KINDS if facts(kind).endpoint_end} == {
        Kind.THREAD: date(2026, 8, 26)
    }


@pytest.mark.parametrize(
    ("name", "today", "said"),
    [
        ("openai", date(2026, 5, 1), None),
        ("openai", date(2026, 7, 1), "ends on 2026-08-26"),
        ("openai", date(2026, 8, 26), "ended on 2026-08-26"),
        ("azure_foundry", date(2026, 11, 22), None),
        ("azure_foundry", date(2027, 1, 2), "ends on 2027-03-31"),
        ("generic", date(2030, 1, 1), None),
    ],
)
def test_an_end_date_warns_from_ninety_days_before(name: str, today: date, said: str | None) -> None:
    warning = profile(name).facts(Kind.THREAD).end_warning(today)
    assert (warning is None) if said is None else (warning is not None and said in warning)


def test_a_kind_without_children_has_no_path_for_them() -> None:
    with pytest.raises(KindNotOffered, match="no children"):
        facts(Kind.FILE).children_path("file-1")


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_conversation_at_foundry_is_asked_for_at_its_openai_surface_and_a_thread_is_not(kind: Kind) -> None:
    known = profile("azure_foundry").facts(kind)
    if kind is Kind.THREAD:
        assert (known.path("thread_1"), known.query) == ("/threads/thread_1", {"api-version": "v1"})
        known.must_be_listable()
    else:
        assert known.path("x") == f"/openai/v1{facts(kind).path('x')}"
        assert known.query == {}
