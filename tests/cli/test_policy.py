from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.ran import Run
from worker.cli.policy_coverage import UNCOVERED
from worker.cli.policy_tests import FAILED, run_tests
from worker.policy.document import Bundle
from worker.policy.load import load_texts

_REPOSITORY = Path(__file__).resolve().parents[2]
_POLICIES = """
apiVersion: retention/v1
kind: RetentionPolicy
metadata: {name: p30, owner: tests}
spec:
  mode: enforce
  match: {projects: [support]}
  delete: {after: 30d}
  guards: {max_deletes: 10, max_percent: 100, min_population: 0, window: 24h}
"""
_THREAD = "{id: t, project: support, owner: me, kind: conversation, created_at: 2026-10-01T00:00:00Z}"


def _thread(more: str) -> str:
    created = "" if "created_at" in more else ", created_at: 2026-10-01T00:00:00Z"
    return "{id: t, project: support, owner: me, kind: file, " + more + created + "}"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    found = load_texts({"p.yaml": _POLICIES}).bundle
    assert found is not None
    return found


def _told(bundle: Bundle, text: str) -> list[str]:
    return [str(one) for one in run_tests({"p.test.yaml": text}, bundle).findings]


def _case(expect: str, more: str = "", thread: str = _THREAD) -> str:
    return f"now: 2026-11-22T00:00:00Z\nthreads:\n  - {thread}\n{more}expect:\n  - {expect}\n"


def test_the_shipped_tests_hold(tenure: Run) -> None:
    assert "11 expectations held" in tenure("policy", "test", "policies").err
    told = tenure("policy", "test", "policies", "-o", "json").json
    assert (told["cases"], told["held"], told["failed"], told["findings"]) == (1, 11, 0, [])
    assert all(one["held"] for one in told["expectations"])


def test_the_shipped_tests_cover_every_enforced_rule(tenure: Run) -> None:
    covered = tenure("policy", "test", "policies", "-o", "json").json["coverage"]
    assert {one["policy"]: one["covered"] for one in covered} == {
        "baseline-90d": None,
        "conversations-30d": True,
        "finance-legal-365d": True,
        "keep-tagged": True,
    }


def test_a_test_runs_without_settings_projects_or_data(offline: Run, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(_POLICIES)
    (tmp_path / "p.test.yaml").write_text(_case("{id: t, outcome: DUE, decided_by: p30}"))
    for path in (".", "p.test.yaml", "p.yaml"):
        assert "1 expectations held" in offline("policy", "test", path).err
    assert sorted(one.name for one in tmp_path.iterdir()) == ["p.test.yaml", "p.yaml"]


def test_an_expectation_that_fails_names_its_place_and_both_values(offline: Run, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(_POLICIES)
    (tmp_path / "p.test.yaml").write_text(_case("{id: t, outcome: PENDING}"))
    assert (
        "p.test.yaml:5:5 FAILED t: outcome is DUE, not PENDING." in offline("policy", "test", ".", code=1).out
    )
    annotated = offline("policy", "test", ".", "--format", "github", code=1).out
    assert annotated.startswith("::error file=p.test.yaml,line=5,col=5,title=FAILED::t: outcome is DUE")


@pytest.mark.parametrize(
    "text",
    [
        _case("{id: t, outcome: DUE}"),
        _case('{id: t, outcome: DUE, eligible_at: "2026-10-31T00:00:00Z"}'),
        _case("{id: t, decided_by: hold:m}", "holds: [{matter: m, scope: {owners: ['m*']}}]\n"),
        _case("{id: t, outcome: HELD, eligible_at: null}", "holds: [{matter: m, scope: {ids: [t]}}]\n"),
        _case("{id: t, decided_by: erasure}", "erasures: [{owner: me, at: 2026-11-21T00:00:00Z}]\n"),
        _case("{id: t, outcome: PENDING}", thread=_thread("created_at: 2026-11-20T00:00:00Z")),
        _case("{id: t, outcome: UNKNOWN}", thread=_thread("created_at: null")),
        _case("{id: t, outcome: SKIP}", thread=_thread("state: deleted")),
        _case("{id: t, outcome: QUARANTINED}", thread=_thread("created_at: 2019-01-01T00:00:00Z")),
        _case("{id: t, decided_by: producer-ttl}", thread=_thread("ttl: 1d, tags: {keep: true}")),
    ],
)
def test_cases_read_as_they_are_described(bundle: Bundle, text: str) -> None:
    assert [one for one in _told(bundle, text) if UNCOVERED not in one] == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (_case("{id: x, outcome: DUE}"), "no thread of this test has this id"),
        (_case("{id: x, outcome: DUE}"), "t: is DUE, and nothing is expected of it"),
        (_case("{id: t}"), "nothing is expected of t"),
        (_case("{id: t, outcome: GONE}"), "GONE"),
        (_case("{id: t, outcom: DUE}"), "unknown field"),
        (_case("{id: t, outcome: DUE}").replace("2026-11-22T00:00:00Z", "soon"), "must be an instant"),
        (_case("{id: t, outcome: DUE}", "holds: [{matter: m, scope: {}}]\n"), "scope of a hold is empty"),
        (
            _case("{id: t, outcome: DUE}", "erasures: [{at: 2026-11-21T00:00:00Z}]\n"),
            "either an owner or ids",
        ),
        (_case("{id: t, outcome: DUE}", f"  - {_THREAD}\n"), "two threads have the id"),
        ("threads: []\n", "now is missing"),
    ],
)
def test_a_mistake_in_a_test_fails_it_and_names_the_place(bundle: Bundle, text: str, told: str) -> None:
    lines = _told(bundle, text)
    assert any(told in line for line in lines), lines
    assert all(line.startswith(("p.test.yaml:", "p.yaml:")) for line in lines)


def test_every_expectation_counts_once(bundle: Bundle) -> None:
    tested = run_tests(
        {"a.test.yaml": _case("{id: t, outcome: DUE}"), "b.test.yaml": _case("{id: t, outcome: HELD}")},
        bundle,
    )
    assert (tested.cases, tested.held) == (2, 1)
    assert [one.code for one in tested.findings] == [FAILED, UNCOVERED]


def test_a_policy_that_no_test_reaches_is_a_warning(offline: Run, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(_POLICIES)
    thread = "{id: t, project: x, owner: me, kind: file, created_at: 2026-10-01T00:00:00Z}"
    (tmp_path / "p.test.yaml").write_text(_case("{id: t, outcome: UNMANAGED}", thread=thread))
    told = offline("policy", "test", ".").out
    assert (
        "p.yaml:2:1 UNCOVERED warning: p30: no case is DUE by it,"
        " and none is not due yet (PENDING or NOTIFY) by it. Add such a thread, and its outcome to expect."
    ) in told
    offline("policy", "test", ".", "--strict", code=1)


_YOUNG = "{id: young, project: support, owner: me, kind: file, created_at: 2026-11-20T00:00:00Z}"


@pytest.mark.parametrize(
    ("expect", "missing"),
    [
        ("{id: t, outcome: DUE}", "no case is not due yet (PENDING or NOTIFY) by it."),
        ("{id: t, outcome: DUE}\n  - {id: young, outcome: PENDING}", None),
        ("{id: t, outcome: DUE}\n  - {id: young, decided_by: p30}", "no case is not due yet"),
        ("{id: t, decided_by: p30}\n  - {id: young, outcome: PENDING}", "no case is DUE by it."),
    ],
)
def test_both_sides_of_a_delete_rules_date_want_a_case(
    bundle: Bundle, expect: str, missing: str | None
) -> None:
    young = f"  - {_YOUNG}\n" if "young" in expect else ""
    tested = run_tests({"p.test.yaml": _case(expect, young)}, bundle)
    told = [str(one) for one in tested.findings]
    if missing is None:
        assert told == []
    else:
        assert missing in told[0]
    assert [one.as_dict()["covered"] for one in tested.coverage] == [missing is None]


def test_a_retain_rule_wants_a_case_that_it_decides_and_an_audited_rule_wants_none() -> None:
    keep = _POLICIES.replace("p30", "keep").partition("  delete")[0] + "  retain: {for: forever}\n"
    audited = _POLICIES.replace("p30", "idea").replace("enforce", "audit")
    found = load_texts({"p.yaml": keep + "---" + audited}).bundle
    assert found is not None
    assert run_tests({"p.test.yaml": _case("{id: t, outcome: RETAINED}")}, found).findings == ()
    uncovered = _case("{id: t, outcome: UNMANAGED}", thread=_THREAD.replace("support", "x"))
    (finding,) = run_tests({"p.test.yaml": uncovered}, found).findings
    assert str(finding).startswith("p.yaml:2:1 UNCOVERED warning: keep: no case is RETAINED by it.")


def test_the_table_says_what_each_rule_decided(offline: Run, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(_POLICIES)
    (tmp_path / "p.test.yaml").write_text(
        _case("{id: t, outcome: DUE}\n  - {id: young, outcome: PENDING}", f"  - {_YOUNG}\n")
    )
    assert [line.split() for line in offline("policy", "test", ".", "--strict").out.splitlines()] == [
        ["policy", "mode", "rules", "due", "not", "yet", "due", "retained", "covered"],
        ["p30", "enforce", "delete", "1", "1", "0", "yes"],
    ]


def test_a_difference_is_explained_by_the_dates_that_led_to_it(offline: Run, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(_POLICIES)
    (tmp_path / "p.test.yaml").write_text(_case("{id: t, outcome: PENDING, decided_by: p30}"))
    lines = offline("policy", "test", ".", code=1).out.splitlines()
    assert lines[:3] == [
        "p.test.yaml:5:5 FAILED t: outcome is DUE, not PENDING.",
        "    DUE, decided by p30 (p.yaml:2), since 2026-10-31T00:00:00Z.",
        "    p30 (p.yaml:2) deletes: created_at 2026-10-01T00:00:00Z + P30D = 2026-10-31T00:00:00Z.",
    ]
    told = offline("policy", "test", ".", "-o", "json", code=1).json
    assert told["expectations"] == [
        {
            "file": "p.test.yaml",
            "line": 5,
            "thread": "t",
            "held": False,
            "expected": {"outcome": "PENDING", "decided_by": "p30"},
            "seen": {"outcome": "DUE", "decided_by": "p30", "eligible_at": "2026-10-31T00:00:00Z"},
        }
    ]
    assert told["findings"][0]["why"][0].startswith("DUE, decided by p30")
    annotated = offline("policy", "test", ".", "--format", "github", code=1).out
    assert "not PENDING.%0ADUE, decided by p30 (p.yaml:2)" in annotated.splitlines()[0]


def test_an_outcome_that_nobody_expected_is_explained_too(bundle: Bundle) -> None:
    tested = run_tests({"p.test.yaml": _case("{id: u, outcome: DUE}")}, bundle)
    missing, unexpected = sorted(
        (one for one in tested.findings if one.code == FAILED), key=str, reverse=True
    )
    assert str(missing) == "p.test.yaml:5:5 FAILED u: no thread of this test has this id. Known: t."
    assert unexpected.message == "t: is DUE, and nothing is expected of it."
    assert "decided by p30" in unexpected.why[0]
    assert [(one.thread, one.expected, one.held) for one in tested.compared] == [
        ("u", {"outcome": "DUE"}, False),
        ("t", None, False),
    ]


def test_a_test_file_that_is_no_text_is_a_finding_beside_the_others(offline: Run, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(_POLICIES)
    (tmp_path / "p.test.yaml").write_text(_case("{id: t, outcome: DUE}"))
    (tmp_path / "q.test.yaml").write_bytes(b"now: \xff")
    assert "q.test.yaml:1:6 RP022 not UTF-8. Save it as UTF-8." in offline("policy", "test", ".", code=1).out


def test_a_file_of_any_bytes_is_validated_to_findings(tenure: Run, folder: Path) -> None:
    bad = folder / "policies" / "bad.yaml"
    bad.write_bytes(b"kind: x\nb\xc3\xa9: \xff\n")
    told = tenure("policy", "validate", "policies/bad.yaml", code=1)
    assert told.out.splitlines()[0] == "policies/bad.yaml:2:5 RP022 not UTF-8. Save it as UTF-8."
    assert "Found 1 error in 1 file." in told.err
    bad.unlink()
    bad.symlink_to(folder / "policies" / ".." / "elsewhere.yaml")
    (folder / "elsewhere.yaml").write_text(_POLICIES)
    assert "bad.yaml:1:1 RP037" in tenure("policy", "validate", "policies/bad.yaml", code=1).out


def test_no_tests_is_no_success(offline: Run, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(_POLICIES)
    assert "no tests" in offline("policy", "test", ".", code=1).err
    (tmp_path / "p.test.yaml").write_text("# nothing\n")
    assert "No test was run" in offline("policy", "test", ".", code=1).err


def test_refused_policies_are_not_tested(offline: Run, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(_POLICIES.replace("30d", "30"))
    (tmp_path / "p.test.yaml").write_text(_case("{id: t, outcome: DUE}"))
    assert "nothing was tested" in offline("policy", "test", ".", code=1).err


def test_validate_tells_every_finding_with_its_place(tenure: Run, folder: Path) -> None:
    assert tenure("policy", "validate", "policies").out == ""
    bad = folder / "policies" / "bad.yaml"
    bad.write_text(_POLICIES.replace("after: 30d", "after: 30d, aftr: 1d").lstrip())
    told = tenure("policy", "validate", "policies", code=1).out
    assert "policies/bad.yaml:7:" in told
    assert "RP005" in told
    assert "RP020" in told
    as_json = tenure("policy", "validate", "policies", "--format", "json", code=1).json
    assert as_json["valid"] is False
    assert as_json["findings"][0]["file"] == "policies/bad.yaml"
    annotated = tenure("policy", "validate", "policies", "--format", "github", code=1).out
    assert annotated.startswith("::error file=policies/bad.yaml,line=7,")
    rows = tenure("policy", "validate", "policies", "-o", "jsonl", code=1).lines
    assert {one["code"] for one in rows} == {"RP005", "RP020"}


def test_an_annotation_cannot_be_ended_by_what_it_quotes(offline: Run, tmp_path: Path) -> None:
    (tmp_path / "p%0A,x.yaml").write_text(_POLICIES.replace("after: 30d", "after: 100%"))
    assert "no tests" in offline("policy", "test", "p%0A,x.yaml", code=1).err
    (tmp_path / "p.test.yaml").write_text(_case("{id: t, outcome: DUE}"))
    line = offline("policy", "test", "p.test.yaml", "--format", "github", code=1).out.splitlines()[0]
    assert "file=p%250A%2Cx.yaml," in line


def test_warnings_fail_only_where_that_is_asked_for(tenure: Run, folder: Path) -> None:
    (folder / "policies" / "projects.yaml").unlink()
    assert "RP019 warning" in tenure("policy", "validate", "policies").out
    tenure("policy", "validate", "policies", "--strict", code=1)


def test_a_folder_without_policies_does_not_pass(tenure: Run, folder: Path) -> None:
    (folder / "empty").mkdir()
    assert "holds no policy and no project" in tenure("policy", "validate", "empty", code=1).err
    (folder / "empty" / "p.yaml").write_text("# nothing\n")
    assert "holds no policy and no project" in tenure("policy", "validate", "empty/p.yaml", code=1).err
    (folder / "empty" / "p.yaml").write_text(_POLICIES)
    tenure("policy", "validate", "empty")


def test_a_folder_that_is_refused_for_its_state_in_git_says_so_at_the_first_start(
    tenure: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENURE_POLICIES_CLEAN", "1")
    told = tenure("sweep", "--dry-run", code=1).err
    # The alert says it as well, among the lines before.
    error = told.partition("error: The policies are refused:")[2]
    assert "git tells no commit of the policies folder" in error


def test_one_file_is_validated_by_itself(tenure: Run) -> None:
    assert (
        json.loads(tenure("policy", "validate", "policies/retention.yaml", "-o", "json").out)["valid"] is True
    )
    tenure("policy", "validate", "nowhere", code=2)


def test_the_schema_is_printed_or_written_beside_the_policies(offline: Run, tmp_path: Path) -> None:
    printed = offline("policy", "schema").out
    assert printed == (_REPOSITORY / "policies" / "schema.json").read_text()
    assert json.loads(offline("policy", "schema", "-o", "jsonl").out) == json.loads(printed)
    for path in (".", "named.json"):
        assert offline("policy", "schema", path).out == ""
    assert (tmp_path / "schema.json").read_text() == (tmp_path / "named.json").read_text() == printed


def test_a_schema_overwrites_no_policy(offline: Run, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(_POLICIES)
    offline("policy", "schema", "p.yaml", code=2)
    assert (tmp_path / "p.yaml").read_text() == _POLICIES
    offline("policy", "schema", "nowhere/schema.json", code=1)


def test_a_schema_beside_the_policies_is_no_part_of_the_bundle(tenure: Run) -> None:
    before = tenure("policy", "validate", "policies", "-o", "json").json["digest"]
    tenure("policy", "schema", "policies")
    assert tenure("policy", "validate", "policies", "-o", "json").json["digest"] == before


def test_the_page_about_policies_shows_what_is_really_written(tenure: Run, folder: Path) -> None:
    """What docs/policies.md shows of the shipped policies, and of one date changed in them."""
    page = (_REPOSITORY / "docs" / "policies.md").read_text()
    (folder / "policies" / "projects.yaml").unlink()
    for command in ("validate", "test"):
        done = tenure("policy", command, "policies")
        assert f"```console\n$ tenure policy {command} policies\n{done.out}{done.err}```" in page
    shipped = folder / "policies" / "retention.yaml"
    shipped.write_text(shipped.read_text().replace("after: 30d", "after: 31d", 1))
    told = tenure("policy", "test", "policies", code=1).out.split("policies/retention.test.yaml:")
    assert f"```console\npolicies/retention.test.yaml:{told[2]}```" in page
