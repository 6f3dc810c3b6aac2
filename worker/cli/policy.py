"""`tenure policy`: check policy files, run the tests beside them, and write their schema; all offline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.exits import Ended, Exit, Misused
from worker.cli.findings_shown import FindingsFormat, say_counts, show_findings
from worker.cli.output import Column, Format, Output, say, show_rows
from worker.cli.preview import register as register_previews
from worker.model.clock import utc_now

if TYPE_CHECKING:
    from worker.cli.policy_tests import Tested
    from worker.policy.findings import Finding
    from worker.policy.load import Loaded

app = typer.Typer(no_args_is_help=True, help="Check policy files, test them, and see what they would change.")
register_previews(app)
_TESTS = (".test.yaml", ".test.yml")
_BUNDLE = "bundle"
_COVERAGE = (
    Column("policy", "policy", whole=True),
    Column("mode", "mode"),
    Column("rules", "rules"),
    Column("due", "due"),
    Column("not yet due", "not_due"),
    Column("retained", "retained"),
    Column("covered", "covered"),
)

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
    show_findings(findings, summary, form, output)
    say_counts(findings)
    if loaded.bundle is not None:
        policies, projects = len(loaded.bundle.policies), len(loaded.bundle.projects)
        say(f"{policies} policies and {projects} projects are well formed.")
        _not_nothing(path, policies + projects)
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
    from worker.policy.findings import in_order
    from worker.policy.load import load_folder, read_files
    from worker.providers.profiles import check_profile

    folder = path if path.is_dir() else path.parent
    files = test_files(folder) if path.is_dir() else _tests_beside(path)
    if not files:
        raise Ended(
            f"There are no tests in {folder}.", repair="Put them into NAME.test.yaml beside the policies."
        )
    # Which keys may be named is the service's to say; these tests need none.
    loaded = load_folder(folder, key_globs=("*",), check_profile=check_profile)
    if loaded.bundle is None:
        findings = _placed(loaded.findings, folder)
        show_findings(findings, {"cases": 0, "held": 0, "failed": 0}, form, output)
        _end(findings, strict=strict, failed="The policies are refused, so nothing was tested.")
        return
    texts, unread = read_files(files)
    tested = run_tests(texts, loaded.bundle)
    findings = _placed(in_order([*unread, *tested.findings]), folder)
    show_findings(findings, _summary(tested), form, output)
    if form is FindingsFormat.TEXT and output is Format.TABLE:
        show_rows([one.as_dict() for one in tested.coverage], _COVERAGE, output)
    say(f"{tested.held} expectations held in {len(files)} files.")
    if tested.cases == 0:
        raise Ended("No test was run.", repair="A test has now, threads and expect.")
    _end(findings, strict=strict, failed="The policies do not decide what the tests expect.")


def _summary(tested: Tested) -> dict[str, Any]:
    return {
        "cases": tested.cases,
        "held": tested.held,
        "failed": len(tested.compared) - tested.held,
        "expectations": [asdict(one) for one in tested.compared],
        "coverage": [one.as_dict() for one in tested.coverage],
    }


@app.command("schema")
def schema(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[PATH]", help="The folder, or the file to write; without it, stdout."),
    ] = None,
    *,
    output: Output = Format.TABLE,
) -> None:
    """Print the JSON Schema of policy files for editors, or write it beside them as schema.json.

    Name it in a file's first line: # yaml-language-server: $schema=./schema.json

    Example: tenure policy schema policies
    """
    from worker.policy.schema import SCHEMA_FILE, bundle_schema, schema_text

    if path is None:
        typer.echo(json.dumps(bundle_schema()) if output is Format.JSONL else schema_text(), nl=False)
        return
    target = path / SCHEMA_FILE if path.is_dir() else path
    if target.suffix != ".json":
        raise Misused(f"{target} is no place for a schema.", repair="Name a folder, or a file NAME.json.")
    try:
        target.write_text(schema_text(), encoding="utf-8")
    except OSError as e:
        raise Ended(f"{target} cannot be written: {e.strerror}.", repair="Check the folder.") from e
    say(f"Wrote {target}.")


def _load(path: Path) -> Loaded:
    from worker.policy.load import load_file, load_folder
    from worker.providers.profiles import check_profile
    from worker.settings import load_settings

    # The service will read the files with the same allow-list of keys.
    globs = load_settings().provider_keys
    load = load_folder if path.is_dir() else load_file
    return load(path, key_globs=globs, since=utc_now(), check_profile=check_profile)


def _tests_beside(path: Path) -> list[Path]:
    """Return the tests that a file names: itself, or those beside the policy file of that name."""
    if path.name.endswith(_TESTS):
        return [path]
    return [one for one in (path.with_name(path.stem + suffix) for suffix in _TESTS) if one.is_file()]


def _placed(findings: Sequence[Finding], path: Path) -> list[Finding]:
    """Give the files their folder, so that editors and reviews find them from where the command ran."""
    folder = path if path.is_dir() else path.parent
    return [one if one.file == _BUNDLE else replace(one, file=str(folder / one.file)) for one in findings]


def _not_nothing(path: Path, documents: int) -> None:
    """Fail where there is nothing to check: a wrong path would pass every review."""
    if not documents:
        raise Ended(
            f"{path} holds no policy and no project, which a service that has some refuses.",
            repair="Name the folder whose own *.yaml and *.yml files are the policies.",
        )


def _end(findings: Sequence[Finding], *, strict: bool, failed: str) -> None:
    from worker.policy.findings import refuses

    if refuses(findings):
        raise Ended(failed, exit_code=Exit.FAILED)
    if strict and findings:
        raise Ended("There are warnings, and --strict was given.", exit_code=Exit.FAILED)
