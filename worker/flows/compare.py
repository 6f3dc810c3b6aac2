"""Compare: look whether the log that is about to be signed is the one that its anchors saw.

DANGER. After a restore the database would let a second history be signed at sizes that were published, and
it has lost the holds that were placed since its backup. So a log that is behind an anchor, or gives another
root at an anchor's size, is refused: nothing is signed and nothing is armed until a person has looked and
says `tenure audit epoch`. What was found is kept as a fact for the workers, who see no anchor; the fact has
an end, so that a backup's own "all is well" counts for minutes only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from worker.anchors.base import Anchor, AnchorFailed, Mark, checkpoint_in
from worker.model.clock import Clock, parse_rfc3339, rfc3339
from worker.model.errors import TenureError
from worker.store import epochs, keys
from worker.store import log as store_log
from worker.store.engine import Database, lease_clock
from worker.telemetry import log, raise_alert

COMPARED = "log.compared"
FRESH = timedelta(minutes=10)
# A comparison may be committed a moment after whoever arms has asked for the time.
_BESIDE = timedelta(minutes=1)
_REPAIR = (
    "Look for the newest copy of the database. If this one must do: place again the holds and orders that it "
    "lost, then `tenure audit epoch --reason TEXT`. If the anchor is another log's, mend TENURE_AUDIT_ORIGIN "
    "or TENURE_ANCHOR_FOLDER."
)

_KEEP = "Do not mend it by hand: keep the database as it is, and bring back its newest sound copy."


class LogRefused(TenureError):
    """Nothing is signed and no DELETE is armed until a person has looked."""

    code = "log_refused"


class LogBehind(LogRefused):
    """An anchor holds a checkpoint of more leaves than the database has: it was restored, or lost its end."""

    code = "log_behind"


class LogDiffers(LogRefused):
    """The leaves give another root than an anchor's checkpoint of that size."""

    code = "log_differs"


class LogBroken(LogRefused):
    """The leaves that are stored do not give the stored head: somebody changed rows. No epoch mends that."""

    code = "log_broken"


class LogUncompared(LogRefused):
    """No anchor can be read, so that nobody knows whether this is the log that they saw."""

    code = "log_uncompared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What is compared: the log's base origin, and its anchors; how long one comparison counts."""

    origin: str
    anchors: Sequence[Anchor]
    fresh: timedelta = FRESH


def compare(database: Database, known: Log, *, clock: Clock, from_leaves: bool = False) -> None:
    """Compare the log with every anchor and keep the result; raises LogRefused.

    Usually the stored checkpoints and the head answer for the leaves; ``from_leaves`` folds every leaf again,
    as each process does when it starts. Without anchors there is nothing to compare with.
    """
    if not known.anchors:
        return
    refused, marks = None, list[Mark]()
    try:
        # Before the database, which may only be ahead of what it was when an anchor was written.
        marks, failures = own_marks(known)
        for one in failures:
            log().warning("anchor.unreadable", problem=one.problem)
        with database.snapshot() as db:
            refused = judge(db, known.origin, marks, from_leaves=from_leaves)
    except LogUncompared as e:
        refused = e
    refused = _keep(database, known, marks, refused, clock.now())
    if refused is not None:
        raise refused


def own_marks(known: Log) -> tuple[list[Mark], list[AnchorFailed]]:
    """Read this log's newest checkpoints from every anchor, and tell which anchors could not be read.

    Raises LogUncompared where none can be read.
    """
    marks, failures = list[Mark](), list[AnchorFailed]()
    for one in known.anchors:
        try:
            found = one.newest()
        except AnchorFailed as e:
            failures.append(e)
            continue
        marks += [mark for mark in found if epochs.number_of(known.origin, mark.checkpoint.origin)]
    if failures and len(failures) == len(known.anchors):
        raise LogUncompared(f"No anchor can be read: {failures[0].problem}", repair=failures[0].repair)
    return marks, failures


def judge(
    db: Connection,
    origin: str,
    marks: Sequence[Mark],
    *,
    from_leaves: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> LogRefused | None:
    """Return why this log must not be signed, or None; changes nothing."""
    epoch, head = epochs.current(db), store_log.read_head(db)
    numbered = [(epochs.number_of(origin, mark.checkpoint.origin) or 1, mark) for mark in marks]
    ahead = [mark for number, mark in numbered if (number, mark.checkpoint.size) > (epoch.number, head.size)]
    # What an earlier epoch's end lacks here, the first leaf of this one names.
    here = [mark for number, mark in numbered if number == epoch.number and mark not in ahead]
    folded: dict[int, bytes] = {}
    if from_leaves:
        size = max((mark.checkpoint.size for mark in here), default=0)
        marked, whole = store_log.recompute(db, head.size, at=size, progress=progress)
        if (whole.size, whole.root()) != (head.size, head.frontier.root()):
            return LogBroken("The stored leaves do not give the root of the head.", repair=_KEEP)
        folded[size] = marked.root()
    if ahead:
        found = ahead[0].checkpoint
        told = f"{ahead[0].place} holds the checkpoint of {found.origin} at size {found.size}"
        return LogBehind(f"The database is behind its anchor: {told}.", repair=_REPAIR)
    for mark in here:
        found = mark.checkpoint
        if (folded.get(found.size) or _root_at(db, head, found.size)) != found.root:
            return _differs(mark)
    return None


def _differs(mark: Mark) -> LogDiffers:
    found = mark.checkpoint
    told = f"{mark.place} holds another root of {found.origin} at size {found.size}"
    return LogDiffers(f"The database differs from its anchor: {told}.", repair=_REPAIR)


def _root_at(db: Connection, head: store_log.Head, size: int) -> bytes:
    """Return the root at a size: the head's, that of the checkpoint stored then, else from the leaves."""
    if size == head.size:
        return head.frontier.root()
    sealed = store_log.seal_at(db, size)
    if sealed is not None:
        return checkpoint_in(sealed.note).root
    return store_log.recompute(db, size)[1].root()


def _keep(
    database: Database, known: Log, marks: Sequence[Mark], refused: LogRefused | None, now: datetime
) -> LogRefused | None:
    """Keep what was found, and return what holds: who saw less than somebody before lifts no refusal."""
    numbered = ((epochs.number_of(known.origin, m.checkpoint.origin) or 1, m.checkpoint.size) for m in marks)
    top = max(numbered, default=(0, 0))
    with database.write() as db:
        before = keys.read_fact(db, COMPARED)
        told = before[0] if before else {}
        seen = (told.get("epoch", 0), told.get("size", 0))
        if refused is None and seen > top:
            return LogRefused(told["problem"], repair=_REPAIR) if told["problem"] else None
        begun = lease_clock(db, now)
        keys.note_fact(db, COMPARED, _fact(max(top, seen), refused, begun, known.fresh), now)
    if refused is not None and told.get("problem") != refused.problem:
        raise_alert("log.refused", code=refused.code, problem=refused.problem, repair=refused.repair)
    return refused


def _fact(
    top: tuple[int, int], refused: LogRefused | None, begun: datetime, lasts: timedelta
) -> dict[str, object]:
    return {
        "code": refused.code if refused else "",
        "problem": refused.problem if refused else "",
        "epoch": top[0],
        "size": top[1],
        "from": rfc3339(begun),
        "until": rfc3339(begun + lasts),
    }


def forget(db: Connection, now: datetime) -> None:
    """Let what was compared before count no more: a person has looked. Belongs to opening an epoch."""
    keys.note_fact(db, COMPARED, _fact((0, 0), None, lease_clock(db, now), FRESH), now)


def why_not_armed(db: Connection, now: datetime) -> str | None:
    """Return why no DELETE may leave: the log is refused, or nobody compared it lately; None if one may.

    A database that nobody ever compared has no fact: no process of it has anchors, or none has begun yet. How
    long a comparison counts is told by the clock that leases run on, so that no wrong one makes it last; nor
    does that clock, should it be set back.
    """
    fact = keys.read_fact(db, COMPARED)
    if fact is None:
        return None
    told = fact[0]
    if told["problem"]:
        return f"the log is refused: {told['problem']}"
    clock, until = lease_clock(db, now), parse_rfc3339(told["until"])
    # One that lies ahead was dated before a clock was set back, and would count for longer than it may.
    begun = parse_rfc3339(told["from"]) if "from" in told else until - FRESH
    if not begun - _BESIDE <= clock <= until:
        return f"the log was last compared with its anchors at {rfc3339(fact[1])}; beat does it"
    return None
