"""`tenure audit prove`, `rotate-key`, and the check of a proof file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.client import refuse_remote
from worker.cli.exits import Ended, Exit, Misused
from worker.cli.output import Format, Output, say, show_one


def prove_entry(
    entry: Annotated[str, typer.Argument(help="The entry's index, as listed, or its id of 32 hex digits.")],
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="The file to write, by custom NAME.tlog-proof.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Prove that an entry is in the log: a C2SP tlog-proof file, which verifies offline.

    Example: tenure audit prove 73894 --out 73894.tlog-proof
    """
    from worker.cli.local import local
    from worker.flows.prove import LogDisagrees, prove

    refuse_remote("audit prove")
    if out is not None and not out.parent.is_dir():
        raise Misused(f"The folder {out.parent} does not exist.", repair="Make it, or give another --out.")
    with local(policies=False) as tenure:
        try:
            made = prove(tenure.database, tenure.sealer, entry, clock=tenure.clock)
        except LogDisagrees as e:
            raise Ended(e.problem, repair=e.repair, exit_code=Exit.UNVERIFIED) from e
    text = made.proof.text
    if out is not None:
        out.write_text(text, encoding="utf-8", newline="")
        say(
            f"Entry {made.proof.index} is proved in {out}; `tenure audit verify {out} --keys FILE` checks it."
        )
    if output is not Format.TABLE:
        shown = {"index": made.proof.index, "size": made.checkpoint.size, "root": made.checkpoint.root.hex()}
        show_one({**shown, "file": None if out is None else str(out), "proof": text}, output)
    elif out is None:
        typer.echo(text, nl=False)


def rotate_key(
    reason: Annotated[str, typer.Option(help="Why; it stands in the entry.")],
    output: Output = Format.TABLE,
) -> None:
    """Replace the key that signs the log: both sign 24 checkpoints, then the old one is retired.

    The new seed is a further line of the signing key's file; where that cannot be written, add one first.
    A key that somebody else may have is not rotated but ended: its holder could sign both lines as well.

    Example: tenure audit rotate-key --reason "yearly"
    """
    from worker.cli.local import local
    from worker.flows.seal import seal
    from worker.flows.sign import known_keys, rotate
    from worker.wiring import add_seed

    refuse_remote("audit rotate-key")
    with local(policies=False) as tenure:
        with tenure.database.read() as db:
            known = {one.vkey for one in known_keys(db, tenure.sealer)}
        waiting = [vkey for vkey in tenure.sealer.at_hand() if vkey not in known]
        vkey = waiting[0] if waiting else add_seed(tenure.settings).vkey
        done = rotate(
            tenure.database, tenure.sealer, vkey=vkey, reason=reason, actor=tenure.actor, clock=tenure.clock
        )
        seal(tenure.database, tenure.sealer, clock=tenure.clock, force=True)
    shown = {"vkey": done.vkey, "since": done.since, "previous": done.previous, "both_sign": done.both_sign}
    show_one(shown, output)
    say(
        f"Give {done.vkey} to those who verify, and leave both lines in {tenure.settings.signing_key} until "
        f"{done.both_sign} checkpoints are made."
    )


def verify_proof(file: Path, keys: Sequence[str] | None, output: Format) -> None:
    """Check a proof file offline against lines of keys.txt: exit 6 where it does not hold."""
    from worker.audit.keys import parse_key
    from worker.audit.reading import as_written
    from worker.audit.tlog_proof import MAX_PROOF, ProofRefused, parse_tlog_proof, verify_tlog_proof

    if keys is None:
        raise Misused("A proof brings no key with it.", repair="Give --keys, the keys.txt of an export.")
    with file.open("rb") as opened:
        raw = opened.read(MAX_PROOF + 1)
    try:
        proof = parse_tlog_proof(as_written(raw.decode(errors="replace")))
        head = verify_tlog_proof(proof, [parse_key(one) for one in keys])
    except ProofRefused as refused:
        problem = f"NOT VERIFIED: {file.name}: {refused.problem}"
        raise Ended(problem, repair=refused.repair, exit_code=Exit.UNVERIFIED) from refused
    shown = {
        "verified": True,
        "index": proof.index,
        "origin": head.origin,
        "size": head.size,
        "root": head.root.hex(),
        "envelope": (proof.envelope or b"").decode(errors="replace"),
    }
    show_one(shown, output)
    say(f"Verified: entry {proof.index} is in the log {head.origin} of {head.size} entries.")
