"""Verdict: after one pass over a thread, is it settled, or how does it go on? Pure.

Before `error`: wait, 8 reads, then `provider_error`; DELETE throttled: wait; DELETE error or lost and after
present: up to 5 attempts, then `still_present`; sent and not read again in its pass: read in the next;
acknowledged and still present: read again at 1 and 10 minutes, then `still_present`; acknowledged and not
seen gone: the same and after an hour, then parked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from worker.model.evidence import Class, Control, Evidence, Grade, Pass, fold, grade, is_own_attempt
from worker.model.thread import ThreadState
from worker.model.work import ItemState, WorkItem

MOST_READS = 8
MOST_ATTEMPTS = 5
REREADS_AFTER = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1))
_FIRST_BACKOFF = timedelta(seconds=10)
_LONGEST_BACKOFF = timedelta(hours=1)

# A DELETE with one of these answers may have worked: the next read decides.
_MAYBE_GONE = frozenset({Class.LOST, Class.ERROR, Class.MALFORMED, Class.NONE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Where an item goes. ``grade`` is None while nothing can be said; ``wait`` only with WAITING."""

    state: ItemState
    grade: Grade | None = None
    thread_state: ThreadState | None = None
    wait: timedelta | None = None
    reason: str | None = None
    reads: int = 0
    rereads: int = 0


def backoff(tries: int, jitter: float) -> timedelta:
    """Return a full-jitter wait: between nothing and 10 s doubled per try, at most an hour."""
    ceiling = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * (1 << min(tries, 12)))
    return timedelta(seconds=ceiling.total_seconds() * jitter)


def judge(item: WorkItem, earlier: Sequence[Pass], last: Pass, *, jitter: float) -> Verdict:
    """Judge one thread after the pass ``last``; ``earlier`` are the armed attempts before it."""
    evidence = fold([*earlier, last])
    sent = last.armed and last.answer is not Class.UNSENT
    if not sent and last.before in {Class.ERROR, Class.THROTTLED, Class.NONE}:
        return _unread(item, last, evidence, jitter)
    if last.armed and last.answer in {Class.UNSENT, Class.THROTTLED}:
        return _wait(item, backoff(0, jitter), reason=f"DELETE was {last.answer.value}")
    if sent and not last.afters:
        return _unlooked(item, last, evidence, jitter)
    if _newest_read(last) is Class.THROTTLED:
        return _wait(item, backoff(0, jitter), reason="the re-read was throttled")
    if _newest_read(last) is Class.PRESENT and (sent or any(is_own_attempt(one) for one in earlier)):
        # The claim counted the attempts of earlier passes; this pass's own came after.
        return _present_after(item, evidence, jitter, attempts=item.attempts + last.armed)
    return _read_after(item, evidence, jitter)


def give_up(item: WorkItem, earlier: Sequence[Pass], last: Pass, *, reads: int) -> Verdict:
    """Park a thread whose container was not touched in this pass, graded by what was seen of it."""
    return _final(item, grade(fold([*earlier, last])), reads=reads)


def may_delete(earlier: Sequence[Pass]) -> bool:
    """Whether a DELETE may be sent after these attempts; an acknowledged one is only read again."""
    own = [one for one in earlier if is_own_attempt(one)]
    return not own or own[-1].answer in _MAYBE_GONE


def _newest_read(last: Pass) -> Class:
    return last.afters[-1][0] if last.afters else last.before


def _unread(item: WorkItem, last: Pass, evidence: Evidence, jitter: float) -> Verdict:
    """Nothing could be read: wait, and after 8 reads say so."""
    if last.before is Class.THROTTLED:
        return _wait(item, backoff(0, jitter), reason="the read was throttled")
    reads = item.reads + 1
    if reads < MOST_READS:
        return _wait(item, backoff(reads, jitter), reason="the provider could not be read", reads=reads)
    return _final(item, grade(evidence), reads=reads)


def _unlooked(item: WorkItem, last: Pass, evidence: Evidence, jitter: float) -> Verdict:
    """Nobody could read since the DELETE: the read before says nothing of now, and the next pass reads first.

    Of an acknowledged DELETE no second one is sent; any other is tried again, and so its attempts end it.
    """
    attempts = item.attempts + 1
    if last.answer is Class.ACKNOWLEDGED or attempts < MOST_ATTEMPTS:
        return _wait(item, backoff(attempts, jitter), reason="the re-read could not be made")
    return _final(item, grade(evidence))


def _present_after(item: WorkItem, evidence: Evidence, jitter: float, *, attempts: int) -> Verdict:
    """It is still there after a DELETE: look again, or try again, or say so."""
    if evidence.delete is Class.ACKNOWLEDGED:
        return _reread(item, ThreadState.LIVE, None, most=2) or _final(item, Grade.STILL_PRESENT)
    if evidence.delete in _MAYBE_GONE and attempts < MOST_ATTEMPTS:
        return _wait(item, backoff(attempts, jitter), reason=f"DELETE was {evidence.delete.value}")
    return _final(item, Grade.STILL_PRESENT)


def _read_after(item: WorkItem, evidence: Evidence, jitter: float) -> Verdict:
    graded = grade(evidence)
    if graded is Grade.ACKNOWLEDGED:
        return _reread(item, ThreadState.ACKNOWLEDGED, graded) or _final(item, graded)
    maybe_gone = evidence.delete in {Class.LOST, Class.ERROR, Class.MALFORMED} or evidence.earlier
    if maybe_gone and not graded.deleted and evidence.after in {Class.ERROR, Class.NONE}:
        reads = item.reads + 1
        if reads < MOST_READS:
            return _wait(item, backoff(reads, jitter), reason="the re-read failed", reads=reads)
    if maybe_gone and graded is Grade.CONTROL_FAILED and evidence.control in {Control.NONE, Control.FAILED}:
        return _reread(item, ThreadState.LIVE, None) or _final(item, graded)
    return _final(item, graded)


def _reread(
    item: WorkItem, thread_state: ThreadState, graded: Grade | None, *, most: int = len(REREADS_AFTER)
) -> Verdict | None:
    """Return a later look, or None when every one is used up."""
    if item.rereads >= most:
        return None
    return Verdict(
        state=ItemState.WAITING,
        grade=graded,
        thread_state=thread_state,
        wait=REREADS_AFTER[item.rereads],
        reason="read again later",
        reads=item.reads,
        rereads=item.rereads + 1,
    )


def _wait(item: WorkItem, wait: timedelta, *, reason: str, reads: int | None = None) -> Verdict:
    return Verdict(
        state=ItemState.WAITING,
        wait=wait,
        reason=reason,
        reads=item.reads if reads is None else reads,
        rereads=item.rereads,
    )


def _final(item: WorkItem, graded: Grade, *, reads: int | None = None) -> Verdict:
    if graded.deleted:
        state, thread_state = ItemState.DONE, ThreadState.DELETED
    elif graded is Grade.ABSENT:
        state, thread_state = ItemState.DONE, ThreadState.ABSENT
    else:
        state, thread_state = ItemState.PARKED, ThreadState.PARKED
    return Verdict(
        state=state,
        grade=graded,
        thread_state=thread_state,
        reason=graded.value,
        reads=item.reads if reads is None else reads,
        rereads=item.rereads,
    )
