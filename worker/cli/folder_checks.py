"""What `tenure doctor` looks at of the policies folder: what beat would make of it. It changes nothing."""

from __future__ import annotations

from worker.cli.check import Check, Status, problem_of
from worker.flows.activate import Looked, look
from worker.flows.await_approval import HOW
from worker.flows.loosening import compare_with
from worker.model.clock import Clock
from worker.model.errors import TenureError
from worker.policy.load import bundle_from_canonical
from worker.settings import Settings
from worker.store import previews
from worker.store.engine import Database
from worker.wiring import source_of

_NAME = "policies folder"
_MEND = "Mend it; `tenure policy validate` shows every finding."


def folder_check(database: Database, settings: Settings, clock: Clock) -> Check:
    """Return the row. What beat itself said of the folder stands beside it, with its time."""
    try:
        found = look(database, source_of(settings))
    except TenureError as e:
        # With one process per role only beat needs the folder, and this may be the machine of another.
        missing = not settings.is_sqlite and not settings.policies.exists()
        status = Status.INFO if missing else Status.PROBLEM
        return Check(check=_NAME, status=status, what=e.problem, repair=e.repair)
    if found.problems:
        what = f"The folder would be refused: {found.problems[0]}"
        return problem_of(_NAME, what, _MEND)
    if _waits(database, found, clock):
        what = "The folder loosens what is in force, and would wait for an approval."
        return Check(check=_NAME, status=Status.WARNING, what=what, repair=HOW)
    return Check(check=_NAME, status=Status.OK, what=f"{settings.policies} would be put in force")


def _waits(database: Database, found: Looked, clock: Clock) -> bool:
    before, head = found.before, found.loaded.bundle
    if before is None or head is None or before.digest == head.digest:
        return False
    with database.read() as db:
        if not compare_with(db, bundle_from_canonical(before.canonical), head).loosening:
            return False
        now = clock.now()
        return previews.live_approval(db, base_digest=before.digest, digest=head.digest, now=now) is None
