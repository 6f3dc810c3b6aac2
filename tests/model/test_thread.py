from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.model.errors import Invalid
from worker.model.thread import FOREIGN_PREFIXES, PREFIXES, Kind, infer_kind

EVERY_PREFIX = [(prefix, kind) for kind, prefixes in PREFIXES.items() for prefix in prefixes]
TAIL = st.text("abcXYZ019_-", min_size=1, max_size=128)


@pytest.mark.parametrize(("prefix", "kind"), EVERY_PREFIX)
def test_each_prefix_tells_its_kind(prefix: str, kind: Kind) -> None:
    assert infer_kind(f"{prefix}abc123") is kind
    assert infer_kind(f"{prefix}abc123", kind) is kind


def test_every_kind_but_the_agent_session_has_a_prefix() -> None:
    assert set(PREFIXES) == set(Kind) - {Kind.AGENT_SESSION}


@pytest.mark.parametrize(("prefix", "what"), FOREIGN_PREFIXES.items())
def test_an_id_of_something_else_is_told_for_what_it_is(prefix: str, what: str) -> None:
    with pytest.raises(Invalid, match=f"This is {what}") as refused:
        infer_kind(f"{prefix}x")
    assert refused.value.code == "wrong_kind"
    assert refused.value.pointer == "/external_id"


def test_a_run_id_is_called_a_run_id() -> None:
    with pytest.raises(Invalid, match="This is a run id"):
        infer_kind("run_x")


@pytest.mark.parametrize("tail", ["", "a/b", "..", "a?b", "a#b", "a b", "a\n", "%2e", "a" * 129, "ü"])
@pytest.mark.parametrize("prefix", [prefix for prefix, _ in EVERY_PREFIX])
def test_characters_that_could_change_a_path_are_refused(prefix: str, tail: str) -> None:
    with pytest.raises(Invalid) as refused:
        infer_kind(prefix + tail)
    assert refused.value.code == "invalid_id"
    assert tail == "" or tail not in str(refused.value).replace(prefix, "")


def test_an_unknown_prefix_names_the_known_ones() -> None:
    with pytest.raises(Invalid, match="cntr_") as refused:
        infer_kind("sess_abc")
    assert refused.value.code == "unknown_kind"


def test_an_agent_session_needs_an_explicit_kind_and_a_clean_id() -> None:
    assert infer_kind("sess-abc", Kind.AGENT_SESSION) is Kind.AGENT_SESSION
    with pytest.raises(Invalid) as refused:
        infer_kind("../sess", Kind.AGENT_SESSION)
    assert refused.value.code == "invalid_id"


def test_a_kind_that_contradicts_the_prefix_is_refused() -> None:
    with pytest.raises(Invalid, match="id of a conversation, not of a thread") as refused:
        infer_kind("conv_abc", Kind.THREAD)
    assert refused.value.pointer == "/kind"


@given(st.sampled_from(EVERY_PREFIX), TAIL)
def test_every_well_formed_id_is_accepted(pair: tuple[str, Kind], tail: str) -> None:
    prefix, kind = pair
    assert infer_kind(prefix + tail) is kind
