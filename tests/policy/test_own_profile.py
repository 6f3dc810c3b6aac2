"""A project's own profile travels in the bundle: read by its shape, part of the digest, read back equal."""

from __future__ import annotations

import json

import pytest

from worker.policy.document import OwnProfile, Project
from worker.policy.load import Loaded, bundle_from_canonical, load_texts
from worker.policy.nodes import Node
from worker.policy.readers import Path

_HEAD = """\
apiVersion: retention/v1
kind: Project
metadata: {name: support-eu, owner: o}
spec:
  provider: openai
  api_key: {env: OPENAI_API_KEY_EU}
"""
_OWN = """\
  profile:
    extends: openai
    route_begins: [Our gateway]
    kinds: {file: {tail_days: 7, endpoint_end: 2027-01-31}}
"""
_SAME = """\
  profile:   # the same in other words
    kinds:
      "file":
        endpoint_end: "2027-01-31"
        tail_days: 7
    route_begins: ["Our gateway"]
    extends: openai
"""


def _project(loaded: Loaded) -> Project:
    assert loaded.bundle is not None, loaded.findings
    return loaded.bundle.projects["support-eu"]


def _lines(loaded: Loaded) -> list[str]:
    return [str(one) for one in loaded.findings if one.code != "RP020"]


def test_a_mapping_is_kept_as_it_means_and_a_name_as_it_is() -> None:
    own = _project(load_texts({"a.yaml": _HEAD + _OWN})).profile
    assert isinstance(own, OwnProfile)
    assert own.extends == "openai"
    assert json.loads(own.written) == {
        "extends": "openai",
        "route_begins": ["Our gateway"],
        "kinds": {"file": {"tail_days": 7, "endpoint_end": "2027-01-31"}},
    }
    assert _project(load_texts({"a.yaml": _HEAD})).profile == "openai"


def test_it_is_part_of_the_digest_by_what_it_says_and_not_by_how_it_is_written() -> None:
    digests = [
        loaded.digest
        for text in (_OWN, _SAME, _OWN.replace("7", "8"), "  profile: openai\n", "")
        if (loaded := load_texts({"a.yaml": _HEAD + text}).bundle) is not None
    ]
    own, same, other, named, default = digests
    assert own == same
    assert named == default
    assert len({own, other, named}) == 3


def test_it_reads_back_from_the_stored_bundle_to_an_equal_one() -> None:
    bundle = load_texts({"a.yaml": _HEAD + _OWN}).bundle
    assert bundle is not None
    assert bundle_from_canonical(bundle.canonical) == bundle
    assert hash(bundle.projects["support-eu"].profile) == hash(
        bundle_from_canonical(bundle.canonical).projects["support-eu"].profile
    )


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ("{kinds: {}}", "a.yaml:7:12 RP024 profile.extends is missing. Add it."),
        ("[openai]", "a.yaml:7:12 RP025 profile must be a single value. Write one word, or quote a text."),
        (
            "{extends: [openai]}",
            "a.yaml:7:22 RP025 profile.extends must be a single value. Write one word, or quote a text.",
        ),
        (
            "{extends: openai, route_begins: ['']}",
            "a.yaml:7:45 RP025 profile.route_begins[0] is empty. Give it a value, or leave the field out.",
        ),
        (
            "{extends: openai, extends: generic}",
            (
                'a.yaml:7:30 RP001 duplicate key "extends" (first at 7:13). '
                "YAML would silently use the last one."
            ),
        ),
    ],
)
def test_a_wrong_shape_is_refused_where_it_stands(profile: str, said: str) -> None:
    assert _lines(load_texts({"a.yaml": f"{_HEAD}  profile: {profile}\n"})) == [said]


def test_the_check_of_the_caller_refuses_with_its_own_finding() -> None:
    def check(node: Node, path: Path) -> None:
        raise path.notes.error(node, "RP040", f"{path.label} is not ours.", "Mend it.")

    for text in (_OWN, "  profile: openai\n"):
        loaded = load_texts({"a.yaml": _HEAD + text}, check_profile=check)
        assert loaded.bundle is None
        assert [line.partition(" ")[2] for line in _lines(loaded)] == ["RP040 profile is not ours. Mend it."]
