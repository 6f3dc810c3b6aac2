"""`tenure audit export`: a project's evidence, or single entries of an owner or an erasure order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import NamedTemporaryFile, gettempdir
from typing import Annotated, Any, BinaryIO, cast

import typer

from worker.cli.client import Client, is_remote, open_client, path_of
from worker.cli.exits import Ended, Exit, Misused
from worker.cli.options import instant_text
from worker.cli.output import Format, Output, Record, progress, show_one
from worker.model.clock import SystemClock, parse_rfc3339, rfc3339

_FIRST_LOOK_SECONDS = 0.25
_LOOK_SECONDS = 4.0
_PIECE = 1024 * 1024

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
    _refuse_mixture(
        single=owner is not None or erasure is not None,
        both=owner is not None and erasure is not None,
        whole_only=bool(begin_at or with_policies or anchor),
        begin=begin,
        end=end,
        out=out,
    )
    asked: dict[str, Any] = {
        "project": project,
        "from": instant_text("--from", begin),
        "to": instant_text("--to", end),
        "owner": owner,
        "erasure": erasure,
        "begin_at": begin_at,
        "with_policies": with_policies,
        "anchors": _read_anchors(anchor or []),
    }
    _refuse_order(asked["from"], asked["to"])
    made = None
    with _room_for(out):
        if is_remote():
            made = _remote(asked, out)
        else:
            _here(asked, out)
    show_one({"file": str(out), "export": made, **_stated(out)}, output)


@contextmanager
def _room_for(out: Path) -> Iterator[None]:
    """Say where a bundle could not be written; what was begun beside its place is removed already."""
    try:
        yield
    except OSError as e:
        problem = f"The export cannot be written to {out}, by way of {gettempdir()}: {e.strerror}."
        raise Ended(problem, repair="Make room there, or give another --out or TMPDIR.") from e


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


def _refuse_order(begin: str | None, end: str | None) -> None:
    if begin is not None and end is not None and parse_rfc3339(begin) >= parse_rfc3339(end):
        raise Misused("--from must lie before --to.", repair="A day is --from 2026-11-01 --to 2026-11-02.")


def _here(asked: Record, out: Path) -> None:
    """Make it in this process, from the local data folder."""
    from worker.cli.local import local
    from worker.flows.ask_export import check_wanted, wanted_of
    from worker.flows.attest import BEGINNING
    from worker.flows.make_export import write_wanted

    with local(policies=False) as tenure, progress("writing the entries") as told:
        period = {
            "from": asked["from"] or rfc3339(BEGINNING),
            "to": asked["to"] or rfc3339(tenure.clock.now()),
        }
        wanted = wanted_of({**asked, **period})
        check_wanted(wanted)
        write_wanted(
            tenure.database,
            tenure.sealer,
            wanted,
            out=out,
            actor=tenure.actor,
            clock=tenure.clock,
            progress=told,
        )


def _remote(asked: Record, out: Path) -> str:
    """Let the service make it, fetch it, and compare its digest with the announced one; returns its id."""
    given = {name: value for name, value in asked.items() if value is not None}
    with open_client(policies=False) as client:
        made = _wait(client, client.post("/v1/audit/exports", given))
        path = path_of("audit/exports", str(made["id"]), "/file")
        with _beside(out) as file, progress("fetching the export") as told:
            client.fetch(path, file, told)
            _compare(file, str(made["made"]["sha256"]))
    return str(made["id"])


def _stated(out: Path) -> Record:
    """Return what the finished bundle says of itself, its length and its digest."""
    from worker.audit import dsse
    from worker.audit.archive import Archive
    from worker.audit.manifest import MANIFEST, Manifest

    archive = Archive(out)
    try:
        stated = Manifest.from_bytes(dsse.payload_of(archive.read(MANIFEST)))
    finally:
        archive.close()
    told = {name: value for name, value in asdict(stated).items() if name != "files"}
    with out.open("rb") as file:
        return {**told, "bytes": out.stat().st_size, "sha256": _digest(file)}


def _wait(client: Client, asked: Record) -> Record:
    """Look until it is ready; raises Ended where it failed."""
    path, clock, seconds = path_of("audit/exports", str(asked["id"])), SystemClock(), _FIRST_LOOK_SECONDS
    with progress("the service writes the entries") as told:
        found = asked
        while found["state"] in {"queued", "making"}:
            clock.wait(seconds)
            seconds = min(seconds * 2, _LOOK_SECONDS)
            found = client.get(path)
            if found["progress"]["total"] is not None:
                told(found["progress"]["done"], found["progress"]["total"])
    if found["state"] != "ready":
        why = found["problem"] or {"detail": f"It is {found['state']}."}
        raise Ended(f"The service made no export. {why['detail']}", exit_code=Exit.FAILED)
    return found


def _compare(file: BinaryIO, digest: str) -> None:
    file.seek(0)
    if _digest(file) != digest:
        problem = "What was fetched is not the file that the service announced."
        raise Ended(problem, repair="Fetch it again; should it stay so, look at what lies between.")


def _digest(file: BinaryIO) -> str:
    seen = hashlib.sha256()
    while piece := file.read(_PIECE):
        seen.update(piece)
    return seen.hexdigest()


def _read_anchors(files: list[Path]) -> dict[str, str]:
    met: dict[str, Path] = {}
    for file in files:
        # The bundle has one folder for all, and is unpacked where case may not count.
        other = met.setdefault(file.name.lower(), file)
        if other is not file:
            raise Misused(
                f"The anchors {other} and {file} have one name.", repair="Give a copy with another name."
            )
    try:
        return {file.name: file.read_text(encoding="utf-8") for file in files}
    except (OSError, UnicodeDecodeError) as e:
        raise Misused(f"An anchor cannot be read: {e}.", repair="It is a signed checkpoint as text.") from e


@contextmanager
def _beside(out: Path) -> Iterator[BinaryIO]:
    """Open a file beside ``out`` that takes its place when the block ends well, and is removed otherwise."""
    with NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}.", delete=False) as file:
        try:
            yield cast("BinaryIO", file)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    Path(file.name).replace(out)
