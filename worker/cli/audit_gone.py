"""`tenure audit shred` and `prune`: bodies of the log that go, each under an entry that says so."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.client import refuse_remote
from worker.cli.exits import Exit, Misused
from worker.cli.output import Format, Output, progress, say, show_one

_DryRun = Annotated[bool, typer.Option("--dry-run", help="Count what would go, and change nothing.")]


def shred_owner(
    *,
    owner: Annotated[str, typer.Option(help="Whose entries lose their bodies; exactly this name.")],
    reason: Annotated[str, typer.Option(help="Why; it stays in the log, so name no person in it.")],
    dry_run: _DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Destroy the bodies of one owner's entries. Envelopes, proofs and earlier exports stay as they are.

    All of them or none: exit 4 while an active hold, an erasure that is not settled, or a thread that is not
    at its end needs them.

    Example: tenure audit shred --owner data-subject-81 --reason "request DSR-118"
    """
    from worker.cli.local import local
    from worker.flows.shred import shred

    refuse_remote("audit shred")
    if not reason.strip() or not owner:
        raise Misused("--owner or --reason is empty.", repair="Name the owner, and a ticket as the reason.")
    with local(policies=False) as tenure, progress("shredding") as tell:
        done = shred(
            tenure.database,
            tenure.sealer,
            owner=owner,
            reason=reason,
            actor=tenure.actor,
            clock=tenure.clock,
            dry_run=dry_run,
            progress=tell,
        )
    shown = {"dry_run": dry_run, "threads": done.threads, "shredded": done.shredded}
    show_one(
        {**shown, "projects": {name or "(none)": count for name, count in done.projects.items()}}, output
    )
    if done.shredded and not dry_run:
        say("Not reached: the registry's own rows, exports that were handed out, and backups.")


def prune_old(
    *,
    older_than: Annotated[
        str, typer.Option("--older-than", help="How long a body is kept, as in policies: 400d, P2Y.")
    ] = "400d",
    dry_run: _DryRun = False,
    output: Output = Format.TABLE,
) -> None:
    """Destroy the bodies that are old and that nothing needs any more. Every proof stays.

    A thread's bodies go together, once it is at its end and its last entry is that old. What a hold or an
    erasure needs stays; exit 4 where holds are why nothing went.

    Example: tenure audit prune --older-than 400d --dry-run
    """
    from worker.cli.local import local
    from worker.flows.prune import prune
    from worker.model.clock import rfc3339
    from worker.model.errors import Invalid
    from worker.policy.durations import parse_duration

    refuse_remote("audit prune")
    try:
        age = parse_duration(older_than)
    except Invalid as e:
        raise Misused(f"--older-than: {e.problem}", repair=e.repair) from e
    with local(policies=False) as tenure, progress("pruning") as tell:
        done = prune(
            tenure.database,
            tenure.sealer,
            older_than=age.longest,
            reason=f"older than {age.canonical}",
            actor=tenure.actor,
            clock=tenure.clock,
            dry_run=dry_run,
            progress=tell,
        )
    kept = {need.value: count for need, count in sorted(done.kept.items())}
    shown = {"dry_run": dry_run, "before": rfc3339(done.before), "pruned": done.pruned, "kept": kept}
    show_one(shown, output)
    if done.is_blocked:
        say(f"Nothing went: active holds keep {kept['held']} bodies. `tenure hold list` shows them.")
        raise typer.Exit(Exit.BLOCKED)
