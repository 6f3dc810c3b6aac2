"""`tenure audit export`: a project's evidence, or single entries of an owner or an erasure order."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.client import refuse_remote
from worker.cli.exits import Misused
from worker.cli.options import read_instant
from worker.cli.output import Format, Output, show_one

if TYPE_CHECKING:
    from worker.audit.manifest import Manifest
    from worker.flows.export import Extras
    from worker.wiring import Tenure


_From = Annotated[str | None, typer.Option("--from", help="A date or an instant; the first that counts.")]
_To = Annotated[
    str | None, typer.Option("--to", help="A date or an instant that counts no more; may lie ahead.")
]
_Owner = Annotated[
    str | None, typer.Option(help="Only this owner's threads: single entries, each with its proof.")
]
_Erasure = Annotated[
    str | None, typer.Option(help="Only what this order (era_...) covers: single entries with proofs.")
]
_BeginAt = Annotated[
    int, typer.Option(min=0, help="Leave out the leaves before this size of an earlier checkpoint.")
]
_Policies = Annotated[
    bool, typer.Option("--with-policies", help="Add the texts of the policies; they name every project.")
]
_Anchors = Annotated[
    list[Path] | None,
    typer.Option(exists=True, dir_okay=False, help="A copy of a checkpoint that is kept elsewhere."),
]


def export_window(
    *,
    project: Annotated[str, typer.Option(help="Whose entries are exported.")],
    out: Annotated[Path, typer.Option(dir_okay=False, help="The bundle to write.")],
    begin: _From = None,
    end: _To = None,
    owner: _Owner = None,
    erasure: _Erasure = None,
    begin_at: _BeginAt = 0,
    with_policies: _Policies = False,
    anchor: _Anchors = None,
    output: Output = Format.TABLE,
) -> None:
    """Write one project's evidence into a bundle that anyone can verify offline.

    With --owner or --erasure only the entries about those threads, each with a proof of its own; the period
    may then be left out.

    Example: tenure audit export --project support-eu --from 2026-11-01 --to 2026-12-01 --out november.zip
    """
    from worker.cli.local import local
    from worker.flows.export import Extras

    refuse_remote("audit export")
    _refuse_mixture(
        single=owner is not None or erasure is not None,
        both=owner is not None and erasure is not None,
        whole_only=bool(begin_at or with_policies or anchor),
        begin=begin,
        end=end,
        out=out,
    )
    extras = Extras(begin_at=begin_at, policies=with_policies, anchors=_read_anchors(anchor or []))
    with local(policies=False) as tenure:
        window = _window(begin, end, tenure)
        if owner is not None or erasure is not None:
            made = _attest(tenure, project=project, owner=owner, erasure=erasure, window=window, out=out)
        else:
            made = _export(tenure, project=project, window=window, out=out, extras=extras)
    shown = {name: value for name, value in asdict(made).items() if name != "files"}
    show_one({"file": str(out), **shown}, output)


def _refuse_mixture(
    *, single: bool, both: bool, whole_only: bool, begin: str | None, end: str | None, out: Path
) -> None:
    if both or (single and whole_only):
        raise Misused(
            "--owner and --erasure go with --project, --from and --to only, and not with each other.",
            repair="Export the project for policies, anchors and a later beginning.",
        )
    if not single and (begin is None or end is None):
        raise Misused("--from and --to are missing.", repair="A day is --from 2026-11-01 --to 2026-11-02.")
    if not out.parent.is_dir():
        raise Misused(f"The folder {out.parent} does not exist.", repair="Make it, or give another --out.")


def _window(begin: str | None, end: str | None, tenure: Tenure) -> tuple[datetime, datetime]:
    from worker.flows.attest import BEGINNING

    window = (
        BEGINNING if begin is None else read_instant("--from", begin),
        tenure.clock.now() if end is None else read_instant("--to", end),
    )
    if window[0] >= window[1]:
        raise Misused("--from must lie before --to.", repair="A day is --from 2026-11-01 --to 2026-11-02.")
    return window


def _attest(
    tenure: Tenure,
    *,
    project: str,
    owner: str | None,
    erasure: str | None,
    window: tuple[datetime, datetime],
    out: Path,
) -> Manifest:
    from worker.flows.attest import attest

    return attest(
        tenure.database,
        tenure.sealer,
        project=project,
        owner=owner,
        erasure=erasure,
        window=window,
        out=out,
        actor=tenure.actor,
        clock=tenure.clock,
    )


def _export(
    tenure: Tenure, *, project: str, window: tuple[datetime, datetime], out: Path, extras: Extras
) -> Manifest:
    from worker.flows.export import export

    return export(
        tenure.database,
        tenure.sealer,
        project=project,
        window=window,
        out=out,
        actor=tenure.actor,
        clock=tenure.clock,
        extras=extras,
    )


def _read_anchors(files: list[Path]) -> dict[str, str]:
    try:
        return {file.name: file.read_text(encoding="utf-8") for file in files}
    except (OSError, UnicodeDecodeError) as e:
        raise Misused(f"An anchor cannot be read: {e}.", repair="It is a signed checkpoint as text.") from e
