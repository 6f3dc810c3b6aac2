"""`tenure policy preview` and `approve`: the effect of a proposed bundle, and the word that lets it in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.client import open_client, path_of
from worker.cli.exits import Ended, Exit, Misused
from worker.cli.output import Format, Output, Record, progress, say, show_one


class PreviewFormat(StrEnum):
    """How a preview is written: for a terminal, for programs, or as a comment on a pull request."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def register(app: typer.Typer) -> None:
    """Add both commands to `tenure policy`."""
    app.command("preview")(preview)
    app.command("approve")(approve)


def preview(
    path: Annotated[Path, typer.Argument(exists=True, metavar="PATH", help="The folder of policies.")],
    *,
    form: Annotated[
        PreviewFormat, typer.Option("--format", help="text, json, or markdown for a comment.")
    ] = (PreviewFormat.TEXT),
    output: Output = Format.TABLE,
) -> None:
    """Show what a folder of policies would change on the live registry; nothing is put in force.

    Ends with 0 where nothing changes, 3 where something does, 1 where the policies are not valid.

    Example: tenure policy preview policies --format markdown
    """
    from worker.cli.preview_comment import markdown
    from worker.cli.preview_text import text_lines

    files, commit = _read(path)
    made = _preview(files, commit)
    if form is PreviewFormat.JSON or output in {Format.JSON, Format.JSONL}:
        typer.echo(json.dumps(made, ensure_ascii=False, indent=None if output is Format.JSONL else 2))
    elif form is PreviewFormat.MARKDOWN:
        typer.echo(markdown(made))
    else:
        typer.echo("\n".join(text_lines(made)))
    if made["changed"]:
        raise typer.Exit(Exit.PENDING)


def _read(path: Path) -> tuple[Mapping[str, str], str | None]:
    """Check the folder offline, as `tenure policy validate` does; returns its files and its commit."""
    from worker.flows.origin import origin_of
    from worker.policy.load import folder_texts, load_folder
    from worker.providers.profiles import check_profile
    from worker.settings import load_settings

    if not path.is_dir():
        problem = f"{path} is one file, and a bundle is all files of its folder."
        raise Misused(problem, repair=f"Preview the folder: {path.parent}.")
    loaded = load_folder(path, key_globs=load_settings().provider_keys, check_profile=check_profile)
    if loaded.bundle is None:
        for one in loaded.findings:
            say(str(one))
        raise Ended("The policies are refused.", exit_code=Exit.FAILED)
    origin = origin_of(path)
    # What was edited since is not what stands at that commit.
    return folder_texts(path), None if origin.dirty else origin.commit


def _preview(files: Mapping[str, str], commit: str | None) -> Record:
    from worker.settings import load_settings

    if load_settings().url:
        with open_client() as client:
            return client.post("/v1/previews", {"files": dict(files), "commit": commit})
    made = _preview_here(files, commit)
    with open_client(policies=False) as client:
        return client.get(path_of("previews", made))


def _preview_here(files: Mapping[str, str], commit: str | None) -> str:
    """Preview in this process, so that a bar shows how far it is; looking must not activate the folder."""
    from worker.cli.local import local
    from worker.flows.key import LOCAL
    from worker.flows.preview import preview as make
    from worker.flows.preview import propose

    with local(policies=False) as tenure, progress("deciding every thread") as told:
        proposed = propose(tenure.database, files, tenure.source, commit=commit)
        return make(tenure.database, proposed, actor=LOCAL.actor, clock=tenure.clock, progress=told).id


def approve(
    preview_id: Annotated[str, typer.Argument(metavar="PREVIEW_ID", help="What `policy preview` made.")],
    digest: Annotated[str, typer.Option(help="The digest of the proposed bundle, as the preview shows it.")],
    reason: Annotated[str, typer.Option(help="Why it may come into force.")],
    output: Output = Format.TABLE,
) -> None:
    """Let a previewed bundle that loosens come into force: once, within 72 hours, by another key.

    Example: tenure policy approve prv_0193… --digest sha256:… --reason "RET-117, reviewed"
    """
    with open_client(policies=False) as client:
        done = client.post(
            path_of("previews", preview_id, "/approvals"), {"digest": digest, "reason": reason}
        )
    shown = {"preview": done["id"], "bundle": done["head"]["digest"], **done["approval"]}
    show_one(done if output in {Format.JSON, Format.JSONL} else shown, output)
    say("Whoever looks at the policies folder next, beat as a rule, puts it in force.")
