"""`tenure failures`: the threads that are parked for a person to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.client import refuse_remote
from worker.cli.output import Column, Format, Output, Record, show_rows

if TYPE_CHECKING:
    from worker.store.threads import StoredThread

app = typer.Typer(no_args_is_help=True, help="Look at what is parked for a person.")
_COLUMNS = (
    Column("project", "project"),
    Column("kind", "kind"),
    Column("reason", "reason"),
    Column("threads", "threads"),
    Column("examples", "examples"),
)
_EACH = (
    Column("id", "id", whole=True),
    Column("external_id", "external_id", whole=True),
    Column("kind", "kind"),
    Column("project", "project"),
    Column("reason", "reason"),
    Column("created_at", "created_at"),
    Column("registered_at", "registered_at"),
    Column("last_seen_at", "last_seen_at"),
    Column("looked_at", "looked_at"),
)
_PAGE, _EXAMPLES = 1000, 3


@app.command("list")
def list_failures(
    project: Annotated[str | None, typer.Option(help="Only this project.")] = None,
    *,
    each: Annotated[
        bool, typer.Option("--each", help="One line per thread, with what was last seen.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Only this reason, such as endpoint_retired.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Count parked threads by project, kind and reason; nothing of them is lost.

    With --each and -o csv the list can be sent to a provider: ids and dates, no content.

    Example: tenure failures list --each --reason endpoint_retired -o csv
    """
    refuse_remote("failures list")
    parked = [one for one in _parked(project) if reason is None or reason in _reason(one)]
    if each:
        show_rows([_facts(one) for one in parked], _EACH, output)
    else:
        show_rows(list(_groups(parked)), _COLUMNS, output)


@app.callback()
def _group() -> None:
    """Keep `list` a command of its own while it is the only one."""


def _parked(project: str | None) -> Iterator[StoredThread]:
    from worker.cli.local import local
    from worker.model.thread import ThreadState
    from worker.store import threads
    from worker.store.threads import Filter

    wanted, last = Filter(project=project, state=ThreadState.PARKED), None
    with local(policies=False) as tenure, tenure.database.read() as db:
        while page := threads.page(db, wanted, limit=_PAGE, ascending=True, after=last):
            yield from page
            last = page[-1].thread.id


def _reason(one: StoredThread) -> str:
    return one.reason or (one.grade.value if one.grade else "")


def _groups(parked: Sequence[StoredThread]) -> Iterator[Record]:
    groups: dict[tuple[str, str, str], list[str]] = {}
    for one in parked:
        key = (one.thread.project, one.thread.kind.value, _reason(one))
        groups.setdefault(key, []).append(one.thread.id)
    for (name, kind, reason), ids in sorted(groups.items()):
        yield {
            "project": name,
            "kind": kind,
            "reason": reason,
            "threads": len(ids),
            "examples": ids[:_EXAMPLES],
        }


def _facts(one: StoredThread) -> Record:
    """Return what is known of a parked thread: ids and dates, and when it was last seen at the provider."""
    from worker.model.clock import rfc3339

    thread = one.thread
    observations = (one.evidence or {}).get("observations", [])
    seen = [
        str(told["at"]) for told in observations if told["class"] == "present" and told["step"] != "control"
    ]
    return {
        "id": thread.id,
        "external_id": thread.external_id,
        "kind": thread.kind.value,
        "project": thread.project,
        "reason": _reason(one),
        "created_at": rfc3339(thread.created_at) if thread.created_at else None,
        "registered_at": rfc3339(thread.registered_at),
        "last_seen_at": max(seen, default=None),
        "looked_at": max((str(told["at"]) for told in observations), default=None),
    }
