from __future__ import annotations

from datetime import date, timedelta

import pytest

from worker.model.thread import Kind
from worker.providers.table import KINDS, KindNotOffered, facts


@pytest.mark.parametrize("kind", sorted(set(Kind) - set(KINDS)))
def test_a_kind_without_an_adapter_is_refused_and_the_offered_ones_are_named(kind: Kind) -> None:
    with pytest.raises(KindNotOffered, match=f"{kind.value}.*thread, conversation, response, file"):
        facts(kind)


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_words_for_a_certificate_say_what_stays_and_never_more_than_was_seen(kind: Kind) -> None:
    words = facts(kind).deletion_semantics
    assert "erased" not in words
    assert "30 days" in words
    assert facts(kind).tail == timedelta(days=30)


def test_only_a_conversation_has_children_and_only_files_can_be_listed() -> None:
    assert [kind for kind in KINDS if facts(kind).child] == [Kind.CONVERSATION]
    assert [kind for kind in KINDS if facts(kind).listable] == [Kind.FILE]


def test_the_retired_endpoint_has_its_date() -> None:
    assert {kind: facts(kind).endpoint_end for kind in KINDS if facts(kind).endpoint_end} == {
        Kind.THREAD: date(2026, 8, 26)
    }
