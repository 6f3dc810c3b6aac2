"""A project's own profile may add facts and words, and can never make an unknown 404 an absent object."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.model.thread import Kind
from worker.policy.document import OwnProfile
from worker.policy.load import Loaded, load_texts
from worker.providers.profiles import SHIPPED, BadProfile, check_profile, profile
from worker.providers.table import KINDS

_HEAD = """\
apiVersion: retention/v1
kind: Project
metadata: {name: ours, owner: o}
spec:
  provider: openai
  api_key: {env: OPENAI_API_KEY_EU}
"""
_ID = "conv_1"


def _load(own: str) -> Loaded:
    return load_texts({"a.yaml": f"{_HEAD}  profile: {own}\n"}, check_profile=check_profile)


def _own(own: str) -> OwnProfile:
    loaded = _load(own)
    assert loaded.bundle is not None, loaded.findings
    found = loaded.bundle.projects["ours"].profile
    assert isinstance(found, OwnProfile)
    return found


def _lines(own: str) -> list[str]:
    return [str(one) for one in _load(own).findings if one.code != "RP020"]


def _says(matcher: str) -> str:
    return f"{{extends: openai, absent: {{conversation: {matcher}}}}}"


def test_what_it_names_is_replaced_and_the_rest_is_the_shipped_one() -> None:
    ours = profile(
        _own(
            "{extends: openai, absent: {conversation: {at: [detail], begins: ['no such {noun} as {id}']}},"
            " route_begins: [Our gateway], denied_codes: [key_expired], id_echo: equal,"
            " kinds: {file: {endpoint_end: 2027-01-31, tail_days: 7, cascade: {copies: stays},"
            " deletion_semantics: Our gateway keeps a copy for a week., unlisted: the gateway has no list}}}"
        )
    )
    said = {"detail": "No such conversation as conv_1"}
    assert ours.object_absent(said, kind=Kind.CONVERSATION, object_id=_ID)
    assert not profile("openai").object_absent(said, kind=Kind.CONVERSATION, object_id=_ID)
    file = ours.facts(Kind.FILE)
    assert (str(file.endpoint_end), file.listable, file.deletion_semantics) == (
        "2027-01-31",
        False,
        "Our gateway keeps a copy for a week.",
    )
    assert ours.facts(Kind.THREAD) == profile("openai").facts(Kind.THREAD)
    assert set(profile("openai").route_begins) < set(ours.route_begins)
    assert profile("openai").denied_codes < ours.denied_codes


def test_equal_ones_are_read_once() -> None:
    text = "{extends: generic, denied_codes: [key_expired]}"
    assert profile(_own(text)) is profile(_own(text))


@pytest.mark.parametrize("name", [*SHIPPED, "openai_compatible"])
def test_an_extension_that_adds_nothing_is_the_shipped_profile(name: str) -> None:
    ours, shipped = profile(_own(f"{{extends: {name}}}")), profile(name)
    assert (ours.absent, ours.kinds, ours.route_begins) == (
        shipped.absent,
        shipped.kinds,
        shipped.route_begins,
    )


@pytest.mark.parametrize(
    "matcher",
    [
        "{begins: ['{noun} {id}']}",
        "{begins: ['the {noun} {id}']}",
        "{begins: ['{noun} {id} belongs to']}",
        "{begins: ['invalid url: no such {noun} {id}']}",
        "{begins: ['invalid url {noun} {id}']}",
        "{begins: ['no route to {noun} {id} found']}",
        "{begins: ['no access to {noun} {id}, or no such one exists']}",
        "{begins: ['project of {noun} {id} not found']}",
        "{says: [conversation], types: [invalid_request_error]}",
        "{says: ['unknown'], types: [invalid_request_error]}",
        "{says: ['deleted'], types: [invalid_request_error]}",
        "{says: ['Invalid URL'], types: [invalid_request_error]}",
        "{says: ['Invalid URL *'], types: [invalid_request_error]}",
        "{says: ['URL not found'], types: [invalid_request_error]}",
    ],
)
def test_words_that_do_not_say_that_an_object_is_missing_are_refused(matcher: str) -> None:
    (line,) = _lines(_says(matcher))
    assert line.startswith("a.yaml:7:")
    assert line.split()[1] in {"RP025", "RP040"}
    assert len(line) > 60


@pytest.mark.parametrize(
    ("matcher", "code"),
    [
        ("{}", "RP024"),
        ("{begins: []}", "RP025"),
        ("{begins: ['']}", "RP025"),
        ("{begins: ['*']}", "RP025"),
        ("{begins: ['no such {noun}']}", "RP025"),
        ("{begins: ['{id} not found']}", "RP025"),
        ("{says: ['*'], types: [invalid_request_error]}", "RP025"),
        ("{says: ['not found']}", "RP024"),
        ("{says: ['      '], types: [invalid_request_error]}", "RP025"),
        ("{at: ['..'], says: ['not found'], types: [x]}", "RP025"),
    ],
)
def test_an_empty_or_open_matcher_or_one_without_the_sent_id_is_refused(matcher: str, code: str) -> None:
    lines = _lines(_says(matcher))
    assert code in {line.split()[1] for line in lines}
    assert _load(_says(matcher)).bundle is None


@pytest.mark.parametrize(
    "matcher",
    [
        "{begins: ['{noun} {id} is gone']}",
        "{begins: ['{noun} with id {id} does not exist'], at: [message]}",
        "{says: ['no * was found'], types: [not_found]}",
        "{says: ['no longer exists'], types: [not_found]}",
    ],
)
def test_words_that_say_it_are_taken(matcher: str) -> None:
    assert _lines(_says(matcher)) == []


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ("{extends: litellm}", 'a.yaml:7:22 RP026 profile.extends "litellm" is unknown.'),
        ("litellm", 'a.yaml:7:12 RP026 profile "litellm" is unknown.'),
        (
            "{extends: openai, kinds: {file: {prefix: /x}}}",
            "RP040 profile.kinds.file.prefix would send requests",
        ),
        (
            "{extends: openai, kinds: {every_kind: {query: {a: b}}}}",
            "RP040 profile.kinds.every_kind.query would",
        ),
        ("{extends: openai, id_echo: any}", "RP026 profile.id_echo"),
        ("{extends: openai, profile: ours}", 'RP005 unknown field "profile"'),
        ("{extends: openai, kinds: {files: {tail_days: 7}}}", 'RP005 unknown field "files"'),
        ("{extends: openai, kinds: {file: {cascade: {parts: perhaps}}}}", "RP026"),
        ("{extends: openai, kinds: {file: {endpoint_end: soon}}}", "RP025"),
        ("{extends: openai, kinds: {file: {collection: x}}}", "RP005"),
    ],
)
def test_what_a_project_may_not_say_is_refused_with_its_place(own: str, said: str) -> None:
    (line,) = _lines(own)
    assert said in line
    assert line.startswith("a.yaml:7:")
    assert _load(own).bundle is None


def test_a_stored_profile_is_checked_again_by_whoever_uses_it() -> None:
    written = {"extends": "openai", "absent": {"file": {"begins": ["{noun} {id}"]}}}
    with pytest.raises(BadProfile, match="RP040"):
        profile(OwnProfile(extends="openai", written=json.dumps(written)))


_WORDS = st.lists(
    st.sampled_from(
        [
            "{noun}",
            "{id}",
            "not",
            "found",
            "no",
            "such",
            "Invalid",
            "URL",
            "route",
            "gone",
            "*",
            "error",
            "x1",
        ]
    ),
    min_size=1,
    max_size=7,
).map(" ".join)
_ROUTES = (
    "Invalid URL (GET /v1/conversations/conv_1)",
    "Invalid URL: conv_1",
    "conv_1",
    "conversation conv_1",
    "",
)


@settings(max_examples=300, deadline=None)
@given(phrase=_WORDS, anchored=st.booleans())
def test_no_accepted_words_make_an_unknown_404_an_absent_object(phrase: str, *, anchored: bool) -> None:
    words = {"begins": [phrase]} if anchored else {"says": [phrase], "types": ["invalid_request_error"]}
    written = json.dumps({"extends": "generic", "absent": {"every_kind": words}})
    try:
        ours = profile(OwnProfile(extends="generic", written=written))
    except BadProfile:
        return
    for kind in KINDS:
        for message in _ROUTES:
            body = {"error": {"type": "invalid_request_error", "message": message}}
            assert not ours.object_absent(body, kind=kind, object_id="conv_1")
        gone = {"error": {"type": "invalid_request_error", "message": f"{phrase} not found, no such one"}}
        assert not ours.object_absent(gone, kind=kind, object_id="conv_1")
