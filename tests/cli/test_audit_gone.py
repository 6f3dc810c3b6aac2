"""`tenure audit shred`, `prune`, and what `tenure doctor` says of bodies that are gone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import update

from tests.cli.ran import Run
from tests.world.databases import without_triggers
from worker.store.engine import open_database
from worker.store.tables import audit_body, audit_checkpoint

OWNER = "data-subject-81"
Register = Callable[..., dict[str, Any]]


def withdrawn(tenure: Run, register: Register, external_id: str, owner: str = OWNER) -> str:
    """Register a thread and bring it to its end without a provider."""
    found = str(register(external_id, owner)["id"])
    tenure("threads", "withdraw", found, "--reason", "tests")
    return found


def bodies_check(tenure: Run, code: int) -> list[dict[str, Any]]:
    told = tenure("doctor", "-o", "json", code=code).json
    return [one for one in told if one["check"] == "bodies"]


def test_an_owner_is_shredded_and_the_log_says_so(tenure: Run, register: Register, folder: Path) -> None:
    own = withdrawn(tenure, register, "conv_1")
    register("conv_2", "somebody-else")
    dry = tenure("audit", "shred", "--owner", OWNER, "--reason", "DSR-118", "--dry-run", "-o", "json").json
    # What no checkpoint covers yet is not counted.
    assert (dry["dry_run"], dry["shredded"]) == (True, 0)
    done = tenure("audit", "shred", "--owner", OWNER, "--reason", "DSR-118", "-o", "json")
    assert done.json == {"dry_run": False, "threads": 1, "shredded": 2, "projects": {"demo-support": 2}}
    assert "exports that were handed out" in done.err
    listed = tenure("audit", "list", "--thread", own, "-o", "json").json
    assert [(one["type"], one["body"], one["actor"]) for one in listed] == [
        ("thread.registered", None, None),
        ("thread.withdrawn", None, None),
    ]
    out = folder / "e.zip"
    window = ("--from", "2020-01-01", "--to", "2100-01-01")
    tenure("audit", "export", "--project", "demo-support", *window, "--out", str(out))
    shown = tenure("audit", "verify", str(out))
    assert "2 bodies were shredded or pruned" in shown.out
    (check,) = bodies_check(tenure, code=0)
    assert (check["status"], check["what"]) == (
        "ok",
        "2 were shredded or pruned, each under an entry that names it",
    )


def test_a_hold_blocks_shredding_with_exit_4(tenure: Run, register: Register) -> None:
    withdrawn(tenure, register, "conv_1")
    tenure("hold", "place", "--matter", "M-1", "--reason", "case", "--owner", "data-*")
    told = tenure("audit", "shred", "--owner", OWNER, "--reason", "DSR-118", code=4)
    assert "The hold of M-1 covers this owner: nothing is shredded." in told.err


def test_a_live_thread_blocks_it_too_and_what_is_asked_wrongly_is_told(
    tenure: Run, register: Register
) -> None:
    register("conv_1", OWNER)
    told = tenure("audit", "shred", "--owner", OWNER, "--reason", "DSR-118", code=4)
    assert "not at an end" in told.err
    assert "names the owner" in tenure("audit", "shred", "--owner", "a", "--reason", "a", code=1).err
    assert "names this owner" in tenure("audit", "shred", "--owner", "nobody", "--reason", "x", code=1).err
    tenure("audit", "shred", "--owner", OWNER, "--reason", " ", code=2)
    tenure("audit", "prune", "--older-than", "30", code=2)


def back_dated(folder: Path, by: timedelta) -> None:
    """Let the checkpoints look as old as they would be after that time."""
    database = open_database(f"sqlite:///{folder / 'data' / 'tenure.db'}")
    with database.write() as db, without_triggers(db):
        rows = db.execute(audit_checkpoint.select()).all()
        for row in rows:
            moved = update(audit_checkpoint).where(audit_checkpoint.c.size == row.size)
            db.execute(moved.values(sealed_at=row.sealed_at - by))
    database.dispose()


def test_old_bodies_are_pruned_and_holds_are_told(tenure: Run, register: Register, folder: Path) -> None:
    withdrawn(tenure, register, "conv_1")
    tenure("audit", "seal")
    young = tenure("audit", "prune", "-o", "json").json
    assert (young["pruned"], young["kept"]) == (0, {})
    back_dated(folder, timedelta(days=401))
    hold = tenure("hold", "place", "--matter", "M-1", "--reason", "case", "--owner", "data-*", "-o", "json")
    held = tenure("audit", "prune", "-o", "json", code=4)
    assert (held.json["pruned"], list(held.json["kept"])) == (0, ["held"])
    assert "Nothing went: active holds keep" in held.err
    tenure("hold", "release", hold.json["id"], "--reason", "over")
    counted = tenure("audit", "prune", "--dry-run", "-o", "json").json
    assert counted["pruned"] > 2
    done = tenure("audit", "prune", "--older-than", "P400D", "-o", "json").json
    assert (done["pruned"], done["dry_run"]) == (counted["pruned"], False)
    assert tenure("audit", "prune", "-o", "json").json["pruned"] == 0


def test_doctor_tells_of_a_body_that_went_without_a_word(
    tenure: Run, register: Register, folder: Path
) -> None:
    withdrawn(tenure, register, "conv_1")
    database = open_database(f"sqlite:///{folder / 'data' / 'tenure.db'}")
    with database.write() as db, without_triggers(db):
        db.execute(update(audit_body).where(audit_body.c.project.is_not(None)).values(body=b""))
    database.dispose()
    (check,) = bodies_check(tenure, code=1)
    assert (check["status"], check["what"]) == ("problem", "2 bodies are gone and no entry says so.")
