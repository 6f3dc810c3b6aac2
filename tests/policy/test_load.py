from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.model.errors import Invalid, NotFound
from worker.policy.document import Bundle, Mode
from worker.policy.load import PoliciesUnreadable, bundle_from_canonical, load_folder, load_texts

_POLICY = """\
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: support-30d, owner: team-support, ticket: RET-117}
spec:
  mode: enforce
  match:
    projects: ["support-*", "sales-*"]
    kinds: [file, conversation]
    tags: [{key: env, operator: In, values: ["prod", "dev"]}, {key: escalated, operator: DoesNotExist}]
  except: {owners: ["team-legal-*"]}
  delete: {after: 4w}
  before_delete: [{notify: {grace: 36h}}]
  schedule: {cron: "15   3 * * *"}
  guards: {max_deletes: 500, max_percent: 10, min_population: 0, window: 24h}
"""
# The same, written otherwise: order, spelling, defaults, comments.
_SAME = """\
# a comment
spec:
  guards: {window: P1D, min_population: 0, max_percent: 10.0, max_deletes: 500}
  schedule: {cron: '15 3 * * *', timezone: Etc/UTC, catch_up: latest}
  before_delete:
  - notify: {to: owner, grace: P1DT12H}
  delete: {after: P28D, from: created_at, producer_ttl: shorten}
  except: {owners: [team-legal-*]}
  match:
    kinds: [conversation, file, file]
    tags:
    - {key: escalated, operator: DoesNotExist}
    - {key: env, operator: In, values: [dev, prod]}
    projects: [sales-*, support-*]
  tier: specific
  mode: enforce
metadata: {ticket: RET-117, owner: team-support, name: support-30d}
kind: RetentionPolicy
apiVersion: retention/v1
"""
_OTHERS = """\
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: keep, owner: o}
spec: {mode: enforce, match: {tags: [{key: keep, operator: Exists}]}, retain: {for: forever}}
---
apiVersion: retention/v1
kind: Project
metadata: {name: support-eu, owner: team-support}
spec:
  provider: openai
  organization: org-1
  api_key: {file: /run/secrets/support}
  admin_key: {env: OPENAI_API_KEY_ADMIN}
  rate: {limit: 1000/h, reads: 7/s, share: 0.0123}
  controls: [canary, sibling]
---
apiVersion: retention/v1
kind: Constraints
metadata: {name: org}
spec: {min_delete_after: 1d, max_guard_percent: 12.5}
"""


def _bundle(**texts: str) -> Bundle:
    loaded = load_texts(texts)
    assert loaded.bundle is not None, [str(finding) for finding in loaded.findings]
    return loaded.bundle


def test_the_digest_is_that_of_the_effective_content() -> None:
    one, other = _bundle(a=_POLICY, b=_OTHERS), _bundle(x=_OTHERS + "---\n" + _SAME)
    assert one.digest == other.digest
    assert one.digest.startswith("sha256:")
    assert one.policies[0].source == "b:1"
    assert other.policy("support-30d").source == "x:23"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("4w", "27d"),
        ("mode: enforce", "mode: audit"),
        ("RET-117", "RET-118"),
        ('"support-*", ', ""),
        ("max_percent: 10", "max_percent: 10.5"),
        ("36h", "37h"),
        ("team-support", "team-sales"),
    ],
)
def test_any_effective_change_changes_the_digest(old: str, new: str) -> None:
    assert _bundle(a=_POLICY.replace(old, new)).digest != _bundle(a=_POLICY).digest


def test_the_canonical_text_reads_back_to_an_equal_bundle() -> None:
    bundle = _bundle(a=_POLICY, b=_OTHERS)
    again = bundle_from_canonical(bundle.canonical)
    assert again == bundle
    assert again.policy("support-30d").source == "a:1"
    assert str(again.policy("support-30d").notify.grace) == "PT36H"  # type: ignore[union-attr]


def test_an_empty_bundle_reads_back_as_well() -> None:
    bundle = _bundle(a="# nothing\n---\n---\n")
    assert bundle.policies == ()
    assert bundle_from_canonical(bundle.canonical) == bundle


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"bundle": [], "sources": 3}',
        '{"bundle": [{}], "sources": {}}',
        '{"bundle": [null]}',
        '{"bundle": [[1]], "sources": {}}',
        "[" * 100_000,
    ],
)
def test_any_other_text_is_no_canonical_bundle(text: str) -> None:
    with pytest.raises(Invalid, match="canonical"):
        bundle_from_canonical(text)


def test_defaults_are_the_safe_ones() -> None:
    policy = _bundle(a=_POLICY.replace("  mode: enforce\n", "")).policy("support-30d")
    assert policy.mode is Mode.AUDIT
    project = _bundle(b=_OTHERS).projects["support-eu"]
    assert project.on_partial == "keep"
    assert project.account.base_url == "https://api.openai.com/v1"
    assert (project.profile, project.concurrency, project.controls) == ("openai", 16, ("sibling", "canary"))


def test_rates_are_requests_a_second() -> None:
    rate = _bundle(b=_OTHERS).projects["support-eu"].rate
    assert rate.limit == pytest.approx(1000 / 3600)
    assert (rate.reads, rate.burst, rate.share) == (7.0, 1, 0.0123)


def test_a_credential_is_named_by_account_and_key_reference() -> None:
    project = _bundle(b=_OTHERS).projects["support-eu"]
    assert len(project.credential) == 16
    renamed = _bundle(b=_OTHERS.replace("name: support-eu", "name: other").replace("1000/h", "5/s"))
    assert renamed.projects["other"].credential == project.credential
    for old, new in (("secrets/support", "secrets/other"), ("org-1", "org-2")):
        assert _bundle(b=_OTHERS.replace(old, new)).projects["support-eu"].credential != project.credential


def test_an_unknown_policy_is_not_found() -> None:
    with pytest.raises(NotFound, match="nobody"):
        _bundle(a=_POLICY).policy("nobody")


def test_a_folder_is_read_without_its_tests_and_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(_POLICY)
    (tmp_path / "b.yml").write_text(_OTHERS)
    for name in ("a.test.yaml", "b.test.yml", "README.md", "schema.json"):
        (tmp_path / name).write_text("not: [a policy")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "c.yaml").write_text("not a policy")
    loaded = load_folder(tmp_path)
    assert loaded.bundle == _bundle(**{"a.yaml": _POLICY, "b.yml": _OTHERS})


def test_extra_files_belong_to_the_bundle(tmp_path: Path) -> None:
    folder, extra = tmp_path / "policies", tmp_path / "more.yaml"
    folder.mkdir()
    (folder / "a.yaml").write_text(_POLICY)
    extra.write_text(_OTHERS)
    loaded = load_folder(folder, extra=[extra])
    assert loaded.bundle is not None
    assert loaded.bundle.digest == _bundle(a=_POLICY, b=_OTHERS).digest
    missing = load_folder(folder, extra=[tmp_path / "missing.yaml"])
    assert [finding.code for finding in missing.findings] == ["RP022", "RP020"]


def test_one_bad_document_refuses_everything(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(_POLICY)
    (tmp_path / "b.yaml").write_text(_OTHERS.replace("Exists", "Equals"))
    loaded = load_folder(tmp_path)
    assert loaded.bundle is None
    bad, refusal = map(str, loaded.findings)
    assert bad.startswith('b.yaml:4:60 RP013 operator "Equals" unknown;')
    assert refusal.startswith("bundle RP020 1 of 2 files invalid: whole bundle refused,")


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    folder, outside = tmp_path / "policies", tmp_path / "secret.yaml"
    (folder / "..data").mkdir(parents=True)
    outside.write_text(_POLICY)
    (folder / "..data" / "a.yaml").write_text(_POLICY)
    (folder / "inside.yaml").symlink_to("..data/a.yaml")
    assert load_folder(folder).bundle is not None
    (folder / "outside.yaml").symlink_to(outside)
    loaded = load_folder(folder)
    assert loaded.bundle is None
    assert str(loaded.findings[0]).startswith("outside.yaml:1:1 RP037 the link leads out of the folder.")


def test_what_is_no_readable_text_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").mkdir()
    (tmp_path / "b.yaml").write_bytes(b"kind: x\nb\xc3\xa9: \xff\n")
    (tmp_path / "c.yaml").symlink_to("nowhere.yaml")
    os.mkfifo(tmp_path / "d.yaml")
    (tmp_path / "e.yaml").write_bytes("\u00e9".encode() * 600_000)
    loaded = load_folder(tmp_path)
    assert loaded.bundle is None
    assert [(one.file, one.line, one.col, one.code) for one in loaded.findings] == [
        ("a.yaml", 1, 1, "RP022"),
        ("b.yaml", 2, 5, "RP022"),
        ("c.yaml", 1, 1, "RP022"),
        ("d.yaml", 1, 1, "RP022"),
        ("e.yaml", 1, 1, "RP022"),
        ("bundle", 0, 0, "RP020"),
    ]
    assert loaded.findings[-1].message.startswith("5 of 5 files")


def test_a_missing_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PoliciesUnreadable, match="TENURE_POLICIES"):
        load_folder(tmp_path / "missing")


_WORDS = r"""apiVersion: retention/v1\n|kind: RetentionPolicy\n|kind: Project\n|kind: Constraints\n|metadata:|
spec:\n|  match: |  delete: |  retain: |{all: true}|{after: 30d}|
{for: forever}|---\n|...\n|&a |*a|!!str |<<: |? |- |[|]|{|}|: |
\n|  |\t|\x7c\n|>\n|'|"|#|%YAML 1.1\n|%TAG ! a\n|@|`|\x00|\ufeff|\u2028|\x85|name|no|0d|1e400"""
_PIECES = st.sampled_from(_WORDS.replace("|\n", "|").encode().decode("unicode_escape").split("|"))


@settings(max_examples=400)
@given(st.one_of(st.text(max_size=200), st.lists(_PIECES, max_size=40).map("".join)))
def test_no_text_makes_the_loader_raise(text: str) -> None:
    loaded = load_texts({"a.yaml": text, "b.yaml": _POLICY})
    assert (loaded.bundle is None) == any(finding.code == "RP020" for finding in loaded.findings)
    assert all(str(finding).isprintable() for finding in loaded.findings)


@settings(max_examples=300)
@given(st.integers(0, len(_POLICY)), st.integers(0, 12), _PIECES)
def test_no_damage_to_a_policy_makes_the_loader_raise(at: int, cut: int, piece: str) -> None:
    damaged = _POLICY[:at] + piece + _POLICY[at + cut :]
    loaded = load_texts({"a.yaml": damaged})
    if loaded.bundle is not None:
        assert bundle_from_canonical(loaded.bundle.canonical) == loaded.bundle
