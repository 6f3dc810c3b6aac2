"""A text from outside takes no more of a body than it may, by the bytes that JSON writes."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from worker.audit.fields import listing, within

# Plain letters, and those that JSON writes longer than they are.
TEXTS = st.text(st.sampled_from(' az~\x7f"\\\x00\n\u00fc\u2028\U0001f9f5\ud800'), max_size=80) | st.text(
    max_size=80
)


def size(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode(errors="replace")) - 2


@given(TEXTS, st.integers(6, 90))
@example("x" * 10, 10)
@example("x" * 9 + '"', 10)
def test_a_text_stays_whole_where_there_is_room_and_is_cut_to_fit_where_not(text: str, limit: int) -> None:
    kept = within(text, limit)
    assert text.startswith(kept)
    assert size(kept) <= limit
    assert (kept == text) == (size(text) <= limit)


@given(st.lists(TEXTS.filter(lambda text: "\ud800" not in text), max_size=9), st.integers(10, 200))
def test_a_list_keeps_to_its_bytes(texts: list[str], most: int) -> None:
    kept = listing("ids", texts, most=most)["ids"]
    assert isinstance(kept, list)
    assert kept == texts[: len(kept)]
    assert sum(size(str(one)) for one in kept) <= most
