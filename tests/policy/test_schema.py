"""The schema for editors knows what the strict reader knows."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from worker.policy import schema_words
from worker.policy.load import Loaded, Severity, load_texts
from worker.policy.schema import bundle_schema, schema_text

_FOLDER = Path(__file__).resolve().parents[2] / "policies"
_CASES: Sequence[Mapping[str, str]] = YAML(typ="safe", pure=True).load(
    (Path(__file__).parent / "findings.yaml").read_text()
)
# What only the reader can say: YAML's own traps, zones, times that never come, names over documents, bounds,
# allow-lists.
_READER_ONLY = frozenset(
    {
        "RP001",
        "RP006",
        "RP007",
        "RP012",
        "RP015",
        "RP017",
        "RP022",
        "RP029",
        "RP030",
        "RP032",
        "RP033",
        "RP038",
    }
)
_GOOD = """\
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: support-30d, owner: team-support, ticket: RET-117}
spec:
  mode: enforce
  tier: default
  match:
    projects: ["support-*", "sales-*"]
    kinds: [file, conversation]
    owners: ["team-*"]
    tags: [{key: env, operator: In, values: ["prod", "dev"]}, {key: escalated, operator: DoesNotExist}]
  except: {owners: ["team-legal"], tags: [{key: a, operator: NotIn, values: [b]}]}
  delete: {after: 4w, from: last_activity_at, producer_ttl: ignore}
  retain: {for: forever, from: registered_at, basis: legal}
  before_delete: [{notify: {to: owner, grace: 36h}}]
  schedule: {cron: "15   3 * * *", timezone: Europe/Berlin, catch_up: skip}
  guards: {max_deletes: 500, max_percent: 10.5, min_population: 0, window: P1DT2H, require_approval_over: 1}
---
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: "all", owner: o}
spec: {mode: audit, match: {all: true}, retain: {for: P1Y2M}}
---
apiVersion: retention/v1
kind: Project
metadata: {name: support-eu, owner: team-support, ticket: T}
spec:
  provider: openai
  base_url: HTTPS://api.openai.com/v1
  organization: org-1
  provider_project: proj_1
  api_key: {file: /run/secrets/support}
  rate: {limit: 1000/h, reads: 7/s, burst: 3, share: 0.0123}
  concurrency: 64
  controls: [canary, sibling]
  on_partial: delete
  profile: openai
---
apiVersion: retention/v1
kind: Project
metadata: {name: foundry, owner: o}
spec:
  provider: azure_foundry
  base_url: "http://127.0.0.1:1/v1"
  api_key: {env: TENURE_KEY_A}
  admin_key: {env: TENURE_KEY_B}
  profile: {extends: azure_foundry}
---
apiVersion: retention/v1
kind: Constraints
metadata: {name: org}
spec: {min_delete_after: 1d, max_delete_after: P7Y, max_guard_percent: 25, new_policies_start_in: audit}
"""


@pytest.fixture(scope="module")
def validator() -> Any:
    return jsonschema_rs.Draft7Validator(bundle_schema())


def _documents(text: str) -> list[Any]:
    return [one for one in YAML(typ="safe", pure=True).load_all(text) if one is not None]


def _errors(loaded: Loaded) -> set[str]:
    return {one.code for one in loaded.findings if one.severity is Severity.ERROR} - {"RP020"}


def test_the_committed_schema_is_the_generated_one_and_small() -> None:
    committed = (_FOLDER / "schema.json").read_text()
    assert committed == schema_text(), "run: tenure policy schema policies"
    assert len(committed.encode()) <= 30_000


def test_the_schema_is_valid_draft_7_that_editors_can_read() -> None:
    jsonschema_rs.meta.validate(bundle_schema())
    # JavaScript, in which editors' servers are written, has no (?P<name>...) and no possessive parts.
    assert "(?P" not in schema_text()


def test_the_shipped_policies_name_the_schema_in_their_first_line(validator: Any) -> None:
    for path in sorted(_FOLDER.glob("*.yaml")):
        if not path.name.endswith(".test.yaml"):
            text = path.read_text()
            assert text.startswith("# yaml-language-server: $schema=./schema.json\n")
            for document in _documents(text):
                validator.validate(document)


def test_every_good_document_is_valid_under_the_schema(validator: Any) -> None:
    assert load_texts({"a.yaml": _GOOD}).bundle is not None
    for document in _documents(_GOOD):
        validator.validate(document)


def _about(case: Mapping[str, str]) -> str:
    return " ".join(case["expect"].split()[:2])


@pytest.mark.parametrize(
    "case",
    [one for one in _CASES if "RP022" not in one["expect"] and "RP001" not in one["expect"]],
    ids=lambda one: f"{_about(one)} {_CASES.index(one)}",
)
def test_schema_and_reader_agree_on_every_finding(case: Mapping[str, str], validator: Any) -> None:
    errors = _errors(load_texts({"a.yaml": case["text"]}))
    valid = all(validator.is_valid(one) for one in _documents(case["text"]))
    if not errors:
        assert valid
    # A leading zero is no number to the reader, and 30 to YAML.
    elif not errors <= _READER_ONLY and '"030"' not in case["expect"]:
        assert not valid


def _fields(schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        below = f"{path}.{name}" if path else name
        yield below
        yield from _fields(field, below)
        yield from _fields(field.get("items", {}), f"{below}[0]")


def test_words_are_kept_for_fields_that_exist_and_no_others() -> None:
    for kind, part in zip(schema_words.WORDS, bundle_schema()["allOf"], strict=True):
        fields = {*_fields(part["then"])}
        assert [one for one in schema_words.WORDS[kind] if one not in fields] == []


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in items:
        yield from _places(one, (*path, key))


_DOCUMENTS = _documents(_GOOD)
_PLACES = [(number, path) for number, one in enumerate(_DOCUMENTS) for path in _places(one) if path]
_VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(
            None,
            True,
            False,
            0,
            1,
            5,
            -1,
            0.5,
            101,
            10**10,
            "",
            "x",
            "30d",
            "0d",
            "P1D",
            "PT",
            "6m",
            "forever",
        ),
        *("audit", "default", "Exists", "NotIn", "created_at", "legal", "1/s", "a[b]", "a\tb", "x" * 201),
        *("/run/secrets/a", "OPENAI_API_KEY", "erasure", "openai", "thread", "Project", "retention/v1"),
        *([], {}, [[]], [{}], ["x"], ["thread"], {"all": True}, {"env": "OPENAI_API_KEY"}, {"x": 1}),
        *({"key": "a", "operator": "In"}, [{"key": "a", "operator": "Exists"}], ["sibling"], "0 0 * * *"),
    ]
)
_CHANGES = st.lists(
    st.tuples(st.sampled_from(_PLACES), st.sampled_from(["drop", "put", "add", "rename"]), _VALUES),
    min_size=1,
    max_size=3,
)


def _changed(changes: Sequence[tuple[tuple[int, tuple[Any, ...]], str, Any]]) -> list[Any]:
    documents = copy.deepcopy(_DOCUMENTS)
    for (number, path), what, value in changes:
        try:
            holder = documents[number]
            for key in path[:-1]:
                holder = holder[key]
            _change(holder, path[-1], what, copy.deepcopy(value))
        except (AttributeError, KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    return documents


def _change(holder: Any, key: Any, what: str, value: Any) -> None:
    if what == "drop":
        del holder[key]
    elif what == "put":
        holder[key] = value
    elif what == "add":
        holder[key]["more"] = value
    else:
        holder[f"{key}s"] = holder.pop(key)


@settings(max_examples=200)
@given(_CHANGES)
def test_whatever_the_reader_accepts_the_schema_accepts_and_what_is_wrong_in_form_both_refuse(
    validator: Any, changes: Sequence[tuple[tuple[int, tuple[Any, ...]], str, Any]]
) -> None:
    documents = _changed(changes)
    text = "\n---\n".join(json.dumps(one) for one in documents)
    errors = _errors(load_texts({"a.yaml": text}))
    valid = all(validator.is_valid(one) for one in documents)
    if not errors:
        assert valid, text
    elif not errors <= _READER_ONLY:
        assert not valid, (errors, text)
