"""`tenure failures`: the threads that are parked for a person to look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from worker.cli.client import refuse_remote
from worker.cli.output import Column, Format, Output, Record, show_rows

app = typer.Typer(no_args_is_help=True, help="Look at what is parked for a person.")
_COLUMNS = (
    Column("project", "project"),
    Column("kind", "kind"),
    Column("reason", "reason"),
    Column("threads", "threads"),
    Column("examples", "examples"),
)
_PAGE, _EXAMPLES = 1000, 3


@app.command("list")
def list_failures(
    project: Annotated[str | None, typer.Option(help="Only this project.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """Count parked threads by project, kind and reason; nothing of them is lost.

    Example: tenure failures list -o json
    """
    refuse_remote("failures list")
    rows = list(_groups(project))
    show_rows(rows, _COLUMNS, output)


@app.callback()
def _group() -> None:
    """Keep `list` a command of its own while it is the only one."""


def _groups(project: str | None) -> Iterator[Record]:
    from worker.cli.local import local
    from worker.model.thread import ThreadState
    from worker.store import threads
    from worker.store.threads import Filter

    groups: dict[tuple[str, str, str], list[str]] = {}
    wanted, last = Filter(project=project, state=ThreadState.PARKED), None
    with local(policies=False) as tenure, tenure.database.read() as db:
        while page := threads.page(db, wanted, limit=_PAGE, ascending=True, after=last):
            for one in page:
                reason = one.reason or (one.grade.value if one.grade else "")
                key = (one.thread.project, one.thread.kind.value, reason)
                groups.setdefault(key, []).append(one.thread.id)
            last = page[-1].thread.id
    for (name, kind, reason), ids in sorted(groups.items()):
        yield {
            "project": name,
            "kind": kind,
            "reason": reason,
            "threads": len(ids),
            "examples": ids[:_EXAMPLES],
        }
