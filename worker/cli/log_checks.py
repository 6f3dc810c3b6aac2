"""What `tenure doctor` looks at of the log: its root, its anchors and its guard rails. It changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from worker.anchors.base import Anchor, AnchorFailed
from worker.cli.check import Check, Status, problem_of
from worker.cli.output import progress
from worker.flows.anchor import LAGGING, Lag, lags, newest_held
from worker.flows.compare import COMPARED, Log, LogRefused, judge, own_marks, why_not_armed
from worker.model.clock import Clock, rfc3339
from worker.store import epochs, gone, keys, log, rails
from worker.store.engine import Database

_KEEP = "Do not mend it by hand: keep the database, and compare it with the last export."
_MOST = 10
_LOST = "Find out who did, and look at other copies first; beat publishes anew what the database has."
_BACK = "Find out who took them off, then put them back: docs/audit.md."
_ROLES = "deploy/README.md tells how the service gets a database user of its own."


def log_checks(database: Database, known: Log, clock: Clock) -> Iterator[Check]:
    """Compute the root again from every leaf, compare it with every anchor, and look at the rails."""
    with database.snapshot() as db:
        yield _root(db)
        yield from _bodies(db)
    yield from _anchors(database, known, clock)
    with database.read() as db:
        yield from _rails(rails.look(db))


def _root(db: Connection) -> Check:
    """Fold every leaf, a page at a time: a log that was changed below Tenure shows here."""
    head, stored = log.read_head(db), log.leaf_count(db)
    with progress("computing the log's root") as tell:
        _, folded = log.recompute(db, head.size, progress=tell)
    if not folded.size == stored == head.size:
        return problem_of("log", f"The head counts {head.size} leaves, {stored} are stored.", _KEEP)
    if folded.root() != head.frontier.root():
        return problem_of("log", f"{head.size} leaves do not give the root of the head.", _KEEP)
    sealed, epoch = log.latest_seal(db), epochs.current(db)
    until = f"sealed up to {sealed.size} at {rfc3339(sealed.sealed_at)}" if sealed else "not sealed yet"
    since = f"; epoch {epoch.number} since entry {epoch.first}" if epoch.number > 1 else ""
    return Check(check="log", status=Status.OK, what=f"{head.size} leaves give the root; {until}{since}")


def _bodies(db: Connection) -> Iterator[Check]:
    """Every body that is gone is named by an entry, and every one that an entry names is gone."""
    wrong = gone.disagreements(db)
    for one in wrong[:_MOST]:
        yield problem_of("bodies", f"{one}.", _KEEP)
    if not wrong:
        what = f"{gone.count(db)} were shredded or pruned, each under an entry that names it"
        yield Check(check="bodies", status=Status.OK, what=what)


def _anchors(database: Database, known: Log, clock: Clock) -> Iterator[Check]:
    try:
        # Before the database, which may only be ahead of what it was when an anchor was written.
        marks, failures = own_marks(known)
        for one in failures:
            yield Check(check="anchors", status=Status.WARNING, what=one.problem, repair=one.repair)
        with database.snapshot() as db:
            refused: LogRefused | None = judge(db, known.origin, marks)
    except LogRefused as e:
        refused = e
    if refused is not None:
        yield problem_of("anchors", refused.problem, refused.repair)
    with database.read() as db:
        now = clock.now()
        if refused is None:
            yield from _deleting(db, clock)
        found = lags(db, known.anchors, now)
    for anchor, lag in zip(known.anchors, found, strict=True):
        yield _differs(known, anchor, lag, refused) or _lag(lag)


def _differs(known: Log, one: Anchor, lag: Lag, refused: LogRefused | None) -> Check | None:
    """Look at the anchor itself for what the database knows it to hold; None where that is so."""
    try:
        held = newest_held(known, one)
    except AnchorFailed as e:
        return problem_of(f"anchor {lag.anchor}", e.problem, e.repair)
    if held > lag.size and refused is not None:
        # A database from a backup knows what the anchor held then.
        told = f"{lag.place} holds size {held}, and this database knows of {lag.size or 'nothing'} there"
        return problem_of(f"anchor {lag.anchor}", told, refused.repair)
    if held >= lag.size:
        return None
    told = f"{lag.place} held size {lag.size} and holds {held or 'nothing'} now: its copies were taken away"
    return problem_of(f"anchor {lag.anchor}", told, _LOST)


def _deleting(db: Connection, clock: Clock) -> Iterator[Check]:
    """Tell what the service itself found when it last compared; its anchors may be others than these."""
    fact, stopped = keys.read_fact(db, COMPARED), why_not_armed(db, clock.now())
    if fact is not None and stopped is not None:
        status = Status.PROBLEM if fact[0]["problem"] else Status.WARNING
        repair = "Start `tenure up`, or `tenure beat`: it compares the log with its anchors at each tick."
        yield Check(check="anchors", status=status, what=f"Nothing is deleted: {stopped}", repair=repair)
    else:
        yield Check(check="anchors", status=Status.OK, what="the log is the one that its anchors saw")


def _lag(lag: Lag) -> Check:
    name, late = f"anchor {lag.anchor}", int(lag.late.total_seconds())
    told = f"{lag.place} holds size {lag.size}; {lag.entries} entries and {late} s behind"
    if lag.problem:
        return problem_of(name, f"{told}. {lag.problem}", "Mend it; beat tries again at each tick.")
    if lag.late > LAGGING:
        return problem_of(name, told, "See that beat runs; `tenure audit seal` brings it up at once.")
    return Check(check=name, status=Status.OK, what=told)


def _rails(found: rails.Rails) -> Iterator[Check]:
    """The rails stop slips; whoever owns the database may take them off, and only the anchors show it."""
    if found.missing:
        yield problem_of("guard rails", f"Off or gone: {', '.join(found.missing)}.", _BACK)
    if found.open_to_app:
        what = f"The role {rails.APP} may change {', '.join(found.open_to_app)}."
        yield problem_of("guard rails", what, "REVOKE that; a login of the service may only add rows.")
    if found.missing or found.open_to_app:
        return
    what = "triggers stand"
    if found.user and not found.has_roles:
        what = f"{what}; there are no roles: the migration's user may not make them"
    elif found.open_to_us:
        what = f"{what}; the database user {found.user} owns the log or is a superuser, and may take them off"
    elif found.user:
        what = f"{what}; the database user {found.user} may only add to the log"
    status = Status.INFO if found.open_to_us or (found.user and not found.has_roles) else Status.OK
    yield Check(check="guard rails", status=status, what=what, repair=_ROLES if status is Status.INFO else "")
