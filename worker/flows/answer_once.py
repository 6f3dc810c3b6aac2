"""Answer once: of several requests with one Idempotency-Key one is done, and the others get its answer.

The rules are those of draft-ietf-httpapi-idempotency-key-header-07, sections 2.6 and 2.7, and ADR 22:

- A row belongs to one caller, route and key, so keys of different callers never meet.
- Who does the request holds a claim under a lease. A process that dies leaves a lease that runs out; one that
  only stood still finds its claim taken over, and writes nothing any more.
- Between what a request does and the keeping of its answer lies a moment in which a crash makes it be done
  again. Safe: nothing that a request does twice deletes anything, and no key replaces the rules of its route.
- Only what was done is kept. A refusal changed nothing, so it frees the key.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from worker.model.clock import Clock
from worker.model.errors import TenureError
from worker.model.ids import new_id
from worker.store import answers
from worker.store.answers import Claim, KeptAnswer, StoredAnswer, Withheld
from worker.store.engine import Database, lease_clock

LEASE = timedelta(seconds=60)
KEPT = timedelta(hours=24)
# Most requests take milliseconds, so who waits for one looks again soon.
_LOOK_AGAIN_SECONDS = 2
_FORGOTTEN_AT_ONCE = 1000
# At each look of beat; every 15 seconds that is more than any service answers.
_FORGETTING_ROUNDS = 20


class IdempotencyKeyReused(TenureError):
    """The key came before, with another request."""

    code = "idempotency_key_reused"


class StillRunning(TenureError):
    """The request that came first with this key is not answered yet."""

    code = "idempotency_key_in_use"

    def __init__(self, problem: str, *, repair: str, headers: Mapping[str, str]) -> None:
        super().__init__(problem, repair=repair)
        self.headers = headers


class AnswerNotKept(TenureError):
    """The request was done, and its answer is not there to be repeated."""

    code = "answer_not_kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request with a key: ``row`` stands for caller, route and key, ``digest`` for what was asked."""

    row: str
    digest: str


def row_of(*, caller: str, route: str, key: str) -> str:
    """Return the id of a row; a list keeps the parts apart, whatever stands in them."""
    return hashlib.sha256(json.dumps([caller, route, key]).encode()).hexdigest()


def begin(database: Database, asked: Asked, *, clock: Clock) -> Claim | KeptAnswer:
    """Return the claim to do this request, or the answer that it had.

    Raises IdempotencyKeyReused, StillRunning and AnswerNotKept.
    """
    now = clock.now()
    claim = Claim(row=asked.row, id=new_id("claim", now))
    with database.write() as db:
        while True:
            if answers.add(db, claim, digest=asked.digest, now=now, lease=LEASE, until=now + KEPT):
                return claim
            found = answers.lock(db, asked.row, now)
            if found is not None:
                return _again(db, found, asked, claim, now=now)
            # It was let go between the two statements, so the key is free.


def renew(database: Database, claim: Claim, *, clock: Clock) -> bool:
    """Hold the claim longer; False where it ended or was taken over."""
    with database.write() as db:
        return answers.renew(db, claim, now=clock.now(), lease=LEASE)


def keep(database: Database, claim: Claim, answer: KeptAnswer, *, clock: Clock) -> bool:
    """Keep the answer for 24 hours; False where the claim was taken over, and another's answer counts."""
    with database.write() as db:
        return answers.keep(db, claim, answer, until=clock.now() + KEPT)


def let_go(database: Database, claim: Claim) -> None:
    """Free the key: nothing was done."""
    with database.write() as db:
        answers.let_go(db, claim)


def forget_answers(database: Database, *, clock: Clock) -> None:
    """Remove rows whose time is up, in short transactions; what a look leaves the next one takes."""
    now = clock.now()
    with database.read() as db:
        if not answers.any_expired(db, now):
            return
    for _ in range(_FORGETTING_ROUNDS):
        with database.write() as db:
            if answers.forget(db, now, limit=_FORGOTTEN_AT_ONCE) < _FORGOTTEN_AT_ONCE:
                return


def _again(
    db: Connection, found: StoredAnswer, asked: Asked, claim: Claim, *, now: datetime
) -> Claim | KeptAnswer:
    """Say what a key that is known means for this request."""
    over = found.running_until is None and found.expires_at <= now
    if not over:
        if found.digest != asked.digest:
            problem = "This Idempotency-Key came before with another request."
            raise IdempotencyKeyReused(problem, repair="Send another key with another request.")
        if found.running_until is not None:
            raise _running(db, found.running_until, now)
        if found.answer is not None:
            return _kept(found.answer)
    # Its time is up, or whoever did it died: it is done anew.
    answers.take_over(db, claim, digest=asked.digest, now=now, lease=LEASE, until=now + KEPT)
    return claim


def _running(db: Connection, until: datetime, now: datetime) -> StillRunning:
    left = math.ceil((until - lease_clock(db, now)).total_seconds())
    return StillRunning(
        "The request that came first with this Idempotency-Key is not answered yet.",
        repair="Send it again after the time in `Retry-After`, with the same key.",
        headers={"Retry-After": str(max(1, min(left, _LOOK_AGAIN_SECONDS)))},
    )


def _kept(answer: KeptAnswer) -> KeptAnswer:
    match answer.withheld:
        case None:
            return answer
        case Withheld.SECRET:
            raise AnswerNotKept(
                "This was done before, and its answer held a secret, which is kept nowhere.",
                repair="List the keys, revoke the one whose text was lost, and make another with a new"
                " Idempotency-Key.",
            )
        case Withheld.TOO_LONG:
            raise AnswerNotKept(
                "This was done before, and its answer was too long to be kept.",
                repair="`GET /v1/audit/entries` tells what it did. Lines of a bulk registration may be sent"
                " again with a new Idempotency-Key: what stands answers `exists`.",
            )
