from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from worker.providers.profiles.matcher import names

PART = r"[A-Za-z0-9_\-/]"
IDS = st.text("ab_-1", min_size=1, max_size=4)
MESSAGES = st.lists(st.sampled_from(["ab", "a", "b", "_", "-", "1", "/", " ", "'", "é", "\n"])).map("".join)


@given(message=MESSAGES, object_id=IDS)
def test_an_id_is_named_where_it_stands_alone_and_in_no_path(message: str, object_id: str) -> None:
    alone = re.search(rf"(?<!{PART}){re.escape(object_id)}(?!{PART})", message)
    assert names(message, object_id) == (alone is not None)


@given(before=MESSAGES, after=MESSAGES, object_id=IDS)
def test_an_id_between_blanks_is_always_named(before: str, after: str, object_id: str) -> None:
    assert names(f"{before} {object_id} {after}", object_id)
