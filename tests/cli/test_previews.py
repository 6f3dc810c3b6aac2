"""`tenure policy preview` and `approve`, on the data folder and over the network."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.ran import Run
from worker.cli.preview_comment import markdown
from worker.cli.preview_text import text_lines
from worker.flows.origin import origin_of
from worker.model.clock import SystemClock, rfc3339

Register = Callable[..., dict[str, Any]]
GOLDEN = Path(__file__).with_name("preview_comment.md")


@pytest.fixture
def edit(folder: Path) -> Callable[[str], None]:
    """Change for how long the shipped policy keeps conversations."""
    file = folder / "policies" / "retention.yaml"
    text = file.read_text()

    def change(after: str) -> None:
        assert "after: 30d  " in text
        file.write_text(text.replace("after: 30d  ", f"after: {after}  "))

    return change


def look(tenure: Run, *args: str, code: int = 3) -> Any:
    return tenure("policy", "preview", "policies", "--format", "json", *args, code=code).json


def test_a_folder_that_is_in_force_changes_nothing(tenure: Run, register: Register) -> None:
    register("conv_1")
    shown = tenure("policy", "preview", "policies", code=0)
    assert "Nothing changes" in shown.out


def test_before_the_first_bundle_everything_is_new_and_nothing_needs_approval(tenure: Run) -> None:
    made = look(tenure)
    assert (made["base"]["digest"], made["loosening"]) == (None, False)
    assert "needs no approval" in tenure("policy", "preview", "policies", code=3).out


def test_a_preview_puts_nothing_in_force_though_it_tightens(
    tenure: Run, register: Register, edit: Callable[[str], None]
) -> None:
    register("conv_1")
    before = look(tenure, code=0)["base"]["digest"]
    edit("60d")
    for _ in range(2):
        made = look(tenure)
        assert (made["base"]["digest"], made["changed"], made["loosening"]) == (before, True, False)


def test_what_is_not_valid_is_told_before_anybody_is_asked(
    tenure: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "policies" / "bad.yaml").write_text("kind: nonsense\n")
    monkeypatch.setenv("TENURE_URL", "http://127.0.0.1:9")
    assert "bad.yaml" in tenure("policy", "preview", "policies", code=1).err


def test_one_file_is_no_bundle(tenure: Run) -> None:
    assert "all files of its folder" in tenure("policy", "preview", "policies/retention.yaml", code=2).err


def test_tests_beside_the_policies_are_not_sent(
    tenure: Run, service: str, folder: Path, register: Register
) -> None:
    del service
    register("conv_1")
    assert (folder / "policies" / "retention.test.yaml").exists()
    assert look(tenure, code=0)["changed"] is False


def test_over_the_network_the_same_is_shown(
    tenure: Run, register: Register, service: str, edit: Callable[[str], None]
) -> None:
    del service
    register("conv_1")
    edit("20d")
    made = look(tenure)
    assert made["made_by"].startswith("key:")
    assert (made["loosening"], made["threads"]) == (True, 1)
    comment = tenure("policy", "preview", "policies", "--format", "markdown", code=3).out
    assert comment.startswith("### Retention preview: LOOSENING")
    text = tenure("policy", "preview", "policies", code=3).out
    assert "~ spec.delete.after  P30D -> P20D" in text


def test_a_loosening_waits_for_another_key_and_then_comes_into_force(
    tenure: Run,
    register: Register,
    service: str,
    edit: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TENURE_URL")
    register("conv_1")
    edit("20d")
    made = look(tenure)
    order = ("policy", "approve", made["id"], "--digest", made["head"]["digest"], "--reason", "agreed")
    assert "cannot approve it" in tenure(*order, code=1).err
    told = tenure("threads", "list")
    assert "waits for approval" in told.err
    [waits] = [one for one in tenure("doctor", "-o", "json", code=1).json if one["status"] == "problem"]
    assert made["head"]["digest"] in waits["what"]
    assert "RetentionPolicy/conversations-30d" in waits["what"]
    assert "tenure policy approve" in waits["repair"]
    assert "holds this bundle, which waits" in tenure("policy", "preview", "policies", code=3).out
    made = look(tenure)
    order = ("policy", "approve", made["id"], "--digest", made["head"]["digest"], "--reason", "agreed")
    monkeypatch.setenv("TENURE_URL", service)
    assert "approved_by" in tenure(*order).out
    monkeypatch.delenv("TENURE_URL")
    assert "waits for approval" not in tenure("threads", "list").err
    assert look(tenure, code=0)["base"]["digest"] == made["head"]["digest"]
    [given] = tenure("audit", "list", "--type", "bundle.approved", "-o", "jsonl").lines
    assert given["body"]["preview"] == made["id"]


def test_the_commit_is_named_only_where_the_folder_stands_at_it(
    tenure: Run, register: Register, folder: Path, edit: Callable[[str], None]
) -> None:
    def git(*args: str) -> None:
        author = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(
            ["git", "-C", str(folder / "policies"), *author, *args], check=True, capture_output=True
        )

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "policies")
    register("conv_1")
    commit = origin_of(folder / "policies").commit
    assert look(tenure, code=0)["head"]["commit"] == commit
    edit("20d")
    made = look(tenure)
    assert (made["head"]["commit"], made["base"]["commit"]) == (None, commit)
    assert commit


def counts(before: int, after: int, newly: int) -> dict[str, int]:
    return {"before": before, "after": after, "newly": newly}


def due(now: dict[str, int], week: dict[str, int], month: dict[str, int]) -> dict[str, Any]:
    return {"now": now, "in_7_days": week, "in_30_days": month}


def change(path: str, before: str, after: str, effect: str = "loosening") -> dict[str, Any]:
    return {
        "document": "RetentionPolicy/support-30d",
        "path": path,
        "before": before,
        "after": after,
        "effect": effect,
        "why": "Threads may be deleted earlier.",
        "source": "support.yaml:2",
        "line": f"~ {path}  {before} -> {after}   # {effect}: Threads may be deleted earlier.",
    }


def example(**more: Any) -> dict[str, Any]:
    """The example of the design: a shorter ceiling that the guards would stop."""
    nothing = due(counts(0, 0, 0), counts(0, 0, 0), counts(0, 0, 0))
    return {
        "id": "prv_01a2049a654474a8b263cfde279553fc",
        "state": "open",
        "snapshot_at": "2026-11-22T08:00:00Z",
        "base": {"digest": "sha256:" + "3f2a" * 16, "commit": "3f2a9c1d0b7e4a5f6c8d9e0f1a2b3c4d5e6f7a8b"},
        "head": {"digest": "sha256:" + "41d0" * 16, "commit": None},
        "changed": True,
        "loosening": True,
        "approval": None,
        "awaiting": None,
        "changes": [
            change("spec.delete.after", "P90D", "P30D"),
            change("metadata.owner", "team-a", "team`b | <img src=x>\n# x", "neutral"),
        ],
        "more_changes": 0,
        "threads": 3030,
        "held": 9,
        "unaffected": 1901,
        "outcomes": {"before": {"UNMANAGED": 118}, "after": {"UNMANAGED": 118, "DUE": 412}},
        "policies": [
            {"policy": "baseline-90d", "due": nothing, "earlier": 0, "later": 0, "projects": []},
            {
                "policy": "support-30d",
                "due": due(counts(0, 412, 412), counts(40, 455, 415), counts(210, 640, 430)),
                "earlier": 1120,
                "later": 0,
                "projects": [
                    {"project": "support-eu", "due": {"now": counts(0, 390, 390)}},
                    {"project": "support-us", "due": {"now": counts(0, 22, 22)}},
                ],
            },
        ],
        "newly_due": {"threads": 412, "ids": [f"thr_{number:032x}" for number in range(10)]},
        "protection_removed": {
            "threads": 3,
            "ids": [f"thr_{number:032x}" for number in range(3)],
            "rules": [{"rule": "keep-tagged", "threads": 3, "ids": []}],
        },
        "guards": [
            {
                "policy": "support-30d",
                "verdict": "blocked",
                "planned": 412,
                "released": 0,
                "population": 2900,
                "limits": {"window": "P1D"},
                "reasons": [
                    "max_percent: 412 planned and 0 released in the last P1D are 14.2 % of 2900, above 10 %"
                ],
            }
        ],
        "overlaps": [
            {
                "policies": ["baseline-90d", "support-30d"],
                "threads": 2900,
                "decided_by": {"support-30d": 2900},
            }
        ],
        **more,
    }


def test_the_comment_fits_one_screen_and_stays_as_it_is() -> None:
    comment = markdown(example()) + "\n"
    assert comment == GOLDEN.read_text()
    assert len(comment.splitlines()) <= 30


def test_a_comment_on_a_large_change_is_cut_and_says_so() -> None:
    many = [change(f"spec.match.tags.{number}", "a", "b") for number in range(200)]
    policies = [{**example()["policies"][1], "policy": f"p{number}"} for number in range(40)]
    comment = markdown(example(changes=many, more_changes=7, policies=policies))
    assert "... and 197 more changes." in comment
    assert "... and 30 more policies." in comment
    assert len(comment.splitlines()) <= 50


def test_text_from_a_policy_can_not_break_out_of_its_cell() -> None:
    [row] = [line for line in markdown(example()).splitlines() if "metadata.owner" in line]
    assert "`team'b \\| <img src=x> # x`" in row


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"state": "superseded"}, "previewed anew"),
        ({"state": "base_changed"}, "Another bundle"),
        ({"state": "expired"}, "72 hours"),
        ({"loosening": False}, "needs no approval"),
        (
            {"approval": {"approved_by": "key:b", "lives": True, "expires_at": "2026-11-25T08:00:00Z"}},
            "Approved until 2026-11-25T08:00:00Z",
        ),
    ],
    ids=["superseded", "base changed", "expired", "tightening", "approved"],
)
def test_the_last_line_says_what_to_do(more: dict[str, Any], told: str) -> None:
    for text in ("\n".join(text_lines(example(**more))), markdown(example(**more))):
        assert told in text.splitlines()[-1]


def test_a_terminal_is_never_steered_by_a_policy() -> None:
    changed = {**change("spec.delete.after", "a", "b"), "line": "~ \x1b[2J", "document": "x\x1b[2J"}
    assert "\x1b" not in "\n".join(text_lines(example(changes=[changed])))


def test_an_old_thread_is_named_as_newly_due(
    tenure: Run, folder: Path, register: Register, edit: Callable[[str], None]
) -> None:
    register("conv_1")
    at = rfc3339(SystemClock().now() - timedelta(days=25))
    line = {"external_id": "conv_2", "project": "demo-support", "owner": "me", "created_at": at}
    (folder / "old.jsonl").write_text(json.dumps(line) + "\n")
    tenure("import", "old.jsonl")
    edit("20d")
    [named] = look(tenure)["newly_due"]["ids"]
    assert tenure("threads", "show", named, "-o", "json").json["external_id"] == "conv_2"
