"""`tenure policy`: check policy files and run the tests beside them, offline; previews are in `preview`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.exits import Ended, Exit
from worker.cli.output import Column, Format, Output, say, show_rows
from worker.cli.preview import register as register_previews

if TYPE_CHECKING:
    from worker.policy.findings import Finding
    from worker.policy.load import Loaded

app = typer.Typer(no_args_is_help=True, help="Check policy files, test them, and see what they would change.")
register_previews(app)
_TESTS = (".test.yaml", ".test.yml")
_BUNDLE = "bundle"
_COLUMNS = (
    Column("file", "file", whole=True),
    Column("line", "line"),
    Column("col", "col"),
    Column("code", "code"),
    Column("severity", "severity"),
    Column("message", "message"),
    Column("fix", "fix"),
)


class FindingsFormat(StrEnum):
    """How findings are written: for people, for programs, or as annotations of GitHub Actions."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


PathArgument = Annotated[
    Path, typer.Argument(exists=True, metavar="PATH", help="The folder, or one file of it.")
]
Findings = Annotated[FindingsFormat, typer.Option("--format", help="text, json, or github for annotations.")]
Strict = Annotated[bool, typer.Option("--strict", help="Let a warning fail as well.")]


@app.command("validate")
def validate(
    path: PathArgument,
    *,
    form: Findings = FindingsFormat.TEXT,
    strict: Strict = False,
    output: Output = Format.TABLE,
) -> None:
    """Check a folder of policies, or one file; one bad document refuses all of them.

    Example: tenure policy validate policies --strict --format github
    """
    loaded = _load(path)
    findings = _placed(loaded.findings, path)
    valid = loaded.bundle is not None
    summary: dict[str, Any] = {"valid": valid, "digest": loaded.bundle.digest if loaded.bundle else None}
    _show(findings, summary, form, output)
    if loaded.bundle is not None:
        policies, projects = len(loaded.bundle.policies), len(loaded.bundle.projects)
        say(f"{policies} policies and {projects} projects are well formed.")
    _end(findings, strict=strict, failed="The policies are refused.")


@app.command("test")
def run_the_tests(
    path: PathArgument,
    *,
    form: Findings = FindingsFormat.TEXT,
    strict: Strict = False,
    output: Output = Format.TABLE,
) -> None:
    """Run the tests (`*.test.yaml`) beside the policies; needs no project, database or settings.

    Example: tenure policy test policies
    """
    from worker.cli.policy_tests import run_tests, test_files
    from worker.policy.load import load_folder
    from worker.providers.profiles import check_profile

    folder = path if path.is_dir() else path.parent
    files = test_files(folder) if path.is_dir() else _tests_beside(path)
    if not files:
        raise Ended(
            f"There are no tests in {folder}.", repair="Put them into NAME.test.yaml beside the policies."
        )
    loaded = load_folder(folder, check_profile=check_profile)
    if loaded.bundle is None:
        findings = _placed(loaded.findings, folder)
        _show(findings, {"cases": 0, "held": 0}, form, output)
        _end(findings, strict=strict, failed="The policies are refused, so nothing was tested.")
        return
    tested = run_tests({one.name: _read(one) for one in files}, loaded.bundle)
    findings = _placed(tested.findings, folder)
    _show(findings, {"cases": tested.cases, "held": tested.held}, form, output)
    say(f"{tested.held} expectations held in {len(files)} files.")
    if tested.cases == 0:
        raise Ended("No test was run.", repair="A test has now, threads and expect.")
    _end(findings, strict=strict, failed="The policies do not decide what the tests expect.")


def _load(path: Path) -> Loaded:
    from worker.policy.load import load_folder, load_texts
    from worker.providers.profiles import check_profile
    from worker.settings import load_settings

    # The service will read the files with the same allow-list of keys.
    globs = load_settings().provider_keys
    if path.is_dir():
        return load_folder(path, key_globs=globs, check_profile=check_profile)
    return load_texts({path.name: _read(path)}, key_globs=globs, check_profile=check_profile)


def _tests_beside(path: Path) -> list[Path]:
    """Return the tests that a file names: itself, or those beside the policy file of that name."""
    if path.name.endswith(_TESTS):
        return [path]
    return [one for one in (path.with_name(path.stem + suffix) for suffix in _TESTS) if one.is_file()]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise Ended(f"{path} cannot be read: {e}.", repair="It must be a UTF-8 file.") from e


def _placed(findings: Sequence[Finding], path: Path) -> list[Finding]:
    """Give the files their folder, so that editors and reviews find them from where the command ran."""
    folder = path if path.is_dir() else path.parent
    return [one if one.file == _BUNDLE else replace(one, file=str(folder / one.file)) for one in findings]


def _show(
    findings: Sequence[Finding], summary: Mapping[str, Any], form: FindingsFormat, output: Format
) -> None:
    rows = [asdict(one) for one in findings]
    if form is FindingsFormat.JSON or output is Format.JSON:
        typer.echo(json.dumps({**summary, "findings": rows}, ensure_ascii=False, indent=2))
    elif form is FindingsFormat.GITHUB:
        for one in findings:
            typer.echo(_annotation(one))
    elif output is Format.TABLE:
        for one in findings:
            typer.echo(str(one))
    else:
        show_rows(rows, _COLUMNS, output)


def _annotation(one: Finding) -> str:
    """Write a workflow command of GitHub Actions; its values must not end it or begin another."""
    place = f"file={_property(one.file)},line={one.line},col={one.col}," if one.line else ""
    text = f"{one.message} {one.fix}".strip().replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::{one.severity} {place}title={_property(one.code)}::{text}"


def _property(text: str) -> str:
    for char in "%\r\n:,":
        text = text.replace(char, f"%{ord(char):02X}")
    return text


def _end(findings: Sequence[Finding], *, strict: bool, failed: str) -> None:
    from worker.policy.findings import refuses

    if refuses(findings):
        raise Ended(failed, exit_code=Exit.FAILED)
    if strict and findings:
        raise Ended("There are warnings, and --strict was given.", exit_code=Exit.FAILED)
