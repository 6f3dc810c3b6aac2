"""The documents are true to the code: settings, states, grades, members and names."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from worker.audit import manifest
from worker.model.evidence import Grade
from worker.model.thread import Kind, ThreadState
from worker.model.work import ItemState, SweepState
from worker.policy.document import Constraints, Guards, Policy, Project, Rate
from worker.providers.table import KINDS
from worker.sandbox.dialects import DIALECTS
from worker.sandbox.faults import FAULTS, Fault
from worker.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *DOCS.rglob("*.md"),
        *(ROOT / "deploy").rglob("*.md"),
        *(ROOT / "policies").glob("*.md"),
    ]
)
OWN_FOLDERS = ("worker/", "tests/", "policies/", "alembic/", "deploy/", "docs/")
# Words that the glossary replaces. What stands in backticks or quotation marks is not our own wording.
OTHER_WORDS = re.compile(r"\b(purg\w+|erased|resources?|jobs?|tenants?)\b", re.IGNORECASE)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def rows(document: str) -> list[list[str]]:
    lines = (DOCS / document).read_text().splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("|")]


def keys_of(document: type) -> list[str]:
    return [field.name for field in fields(document)]


def first_cells(document: str) -> set[str]:
    return {word for row in rows(document) for word in re.findall(r"`([^`]+)`", row[0])}


def test_every_setting_is_described_and_nothing_else() -> None:
    described = {row[0].strip("`"): row for row in rows("settings.md") if row[0].startswith("`TENURE_")}
    assert set(described) == {f"TENURE_{field.upper()}" for field in Settings.model_fields}
    for field in Settings.model_fields:
        assert described[f"TENURE_{field.upper()}"][1] == f"`{field}`"


def test_the_defaults_of_the_settings_are_the_codes() -> None:
    stated = {row[1].strip("`"): row[2] for row in rows("settings.md") if row[0].startswith("`TENURE_")}
    for field, about in Settings.model_fields.items():
        default = about.default
        if default in ("", None):
            continue
        shown = ",".join(default) if isinstance(default, tuple) else str(default)
        assert stated[field] == f"`{shown.lower() if isinstance(default, bool) else shown}`"


def test_every_state_and_grade_has_its_row() -> None:
    described = first_cells("how-it-works.md")
    for words in (ThreadState, ItemState, SweepState, Grade):
        assert {word.value for word in words} <= described


def test_the_kinds_that_are_offered_are_the_ones_that_have_an_adapter() -> None:
    text = (DOCS / "glossary.md").read_text()
    offered = next(row for row in text.splitlines() if row.startswith("| **kind**"))
    meaning = offered.split("|")[2]
    assert set(re.findall(r"`([^`]+)`", meaning)) == {kind.value for kind in KINDS}
    later = (DOCS / "how-it-works.md").read_text().partition("## Not yet")[2]
    assert {kind.value for kind in Kind if kind not in KINDS} <= set(re.findall(r"`([^`]+)`", later))


def test_every_fault_of_the_sandbox_is_described_as_it_describes_itself() -> None:
    described = {row[0].strip("`"): row[1] for row in rows("sandbox.md") if row[0].strip("`") in set(Fault)}
    assert described == {name.value: facts.summary for name, facts in FAULTS.items()}
    assert {dialect.value for dialect in DIALECTS} <= set(
        re.findall(r"`([\w-]+)`", (DOCS / "sandbox.md").read_text())
    )


def test_every_member_of_an_export_is_described() -> None:
    always = manifest.required(scope=manifest.PROJECT, first=0)
    assert first_cells("audit.md") == {*always, manifest.README}
    text = (DOCS / "audit.md").read_text()
    folders = (manifest.POLICY_FOLDER, manifest.ANCHOR_FOLDER, manifest.PROOF_FOLDER)
    assert [one for one in (*manifest.STARTING, *folders) if f"`{one}" not in text] == []


@pytest.mark.parametrize(
    "document", [Policy, Guards, Project, Rate, Constraints], ids=lambda one: one.__name__
)
def test_every_key_of_a_policy_file_is_described(document: type) -> None:
    renamed = {"except_": "except", "account": "base_url", "notify": "before_delete"}
    ours = {"name", "owner", "ticket", "source"}
    keys = [renamed.get(field, field) for field in keys_of(document) if field not in ours]
    text = (DOCS / "policies.md").read_text()
    assert [key for key in keys if f"`{key}" not in text] == []


def test_every_name_in_the_glossary_exists_in_the_code() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "worker").rglob("*.py"))
    given = {
        part
        for row in rows("glossary.md")
        for quoted in re.findall(r"`([^`]+)`", row[-1])
        if re.fullmatch(r"[A-Za-z_.]+(\(\))?", quoted)
        for part in quoted.removesuffix("()").split(".")
    }
    assert given
    assert [one for one in sorted(given) if not re.search(rf"\b{one}\b", code)] == []


def test_decisions_are_listed_numbered_and_dated() -> None:
    pages = sorted(path for path in (DOCS / "adr").glob("*.md") if path.name != "README.md")
    index = (DOCS / "adr" / "README.md").read_text()
    numbers = [int(page.name.partition("-")[0]) for page in pages]
    assert len(set(numbers)) == len(numbers)
    for number, page in zip(numbers, pages, strict=True):
        text = page.read_text()
        assert page.name.startswith(f"{number:04}-")
        assert text.startswith(f"# {number}. ")
        assert re.search(r"^Date: \d{4}-\d\d-\d\d$", text, re.MULTILINE)
        assert page.name in index


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_a_document_links_only_to_what_exists(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", document.read_text())
    inside = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in inside if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", [one for one in DOCUMENTS if one.parent.name != "adr"], ids=name)
def test_a_document_names_only_files_that_exist(document: Path) -> None:
    # Pages of decisions are left out: they keep what was true on their day.
    quoted = re.findall(r"`([^`\s]+)`", document.read_text())
    named = [one for one in quoted if one.startswith(OWN_FOLDERS) and not re.search(r"[*<>{}]|worker/_", one)]
    assert [one for one in named if not (ROOT / one).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_a_document_is_tidy_and_keeps_to_our_words(document: Path) -> None:
    text = document.read_text()
    assert [line for line in text.splitlines() if line != line.rstrip()] == []
    assert text.endswith("\n")
    prose = re.sub(r'```.*?```|`[^`]*`|"[^"]*"', "", text, flags=re.DOTALL)
    assert OTHER_WORDS.findall(prose) == []


def test_changes_of_retention_behaviour_have_their_own_heading() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in text
    assert "### Retention behaviour" in text
