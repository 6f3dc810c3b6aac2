"""Single entries are of the owner or the order that they are given out for, and of nobody else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.audit.conftest import PROJECT, START
from tests.audit.test_ranges import scope, single
from worker.audit import bodies
from worker.audit.entry import Entry, EntryType
from worker.audit.envelope import Leaf
from worker.audit.findings import Report
from worker.audit.note import Ed25519Signer
from worker.model.decision import Erasure
from worker.model.receipt import OrderStatus

Check = Callable[[bytes], Report]
Make = Callable[[Sequence[Entry]], list[Leaf]]
Answer = Callable[..., Report]
AT = START + timedelta(days=40)


@pytest.fixture
def answered(
    entries: Sequence[Entry], as_leaves: Make, signer: Ed25519Signer, pseudonym: str, check: Check
) -> Answer:
    """Verify single entries: those of some threads, and of no thread, of a log that goes on with ``more``."""

    def checked(
        kind: str,
        of: str,
        *threads: str,
        more: Sequence[Entry] = (),
        gone: int = 0,
        without: Sequence[int] = (),
    ) -> Report:
        log = [*entries, *more]
        wanted = {f"thr_{one}" for one in threads}
        chosen = [
            n
            for n, one in enumerate(log)
            if one.subject in wanted or (one.subject is None and n >= len(entries))
        ]
        given = scope(pseudonym, kind=kind, of=of)
        indices = [n for n in chosen if n not in without]
        return check(single(as_leaves(log), signer, pseudonym, indices, scope=given, gone=gone))

    return checked


def changed(first: Entry, old: str, new: str) -> Entry:
    identity = {name: first.body[name] for name in ("account", "external_id", "kind")}
    changes = [{"field": "owner", "from": old, "to": new}]
    body = {**identity, "owner": new, "changes": changes}
    return replace(first, type=EntryType.THREAD_CHANGED, at=AT, body=body)


def ordered(id: str, *, project: str | None = None) -> Entry:
    return bodies.erasure_ordered(
        Erasure(at=AT, owner="team-ü", ids=()),
        id=id,
        reason="Art. 17",
        threads=1,
        deadline=AT + timedelta(days=30),
        at=AT,
        actor="key:1",
        project=project,
    )


def test_a_thread_that_names_another_owner_is_in_no_owners_answer(
    answered: Answer, entries: Sequence[Entry]
) -> None:
    what = "no entry of this thread names the owner whose it should be"
    assert answered("owner", "team-ü", "crash", "absent").problems == ()
    report = answered("owner", "alice", "crash", "absent")
    firsts = [n for n, one in enumerate(entries) if one.type is EntryType.THREAD_REGISTERED]
    told = [(one.index, one.what) for one in report.problems]
    assert told == [(n, what) for n in firsts if entries[n].subject in {"thr_crash", "thr_absent"}]
    assert answered("owner", "team", "crash").problem_count == 1


def test_a_thread_that_changed_hands_is_in_the_answer_to_both(
    answered: Answer, entries: Sequence[Entry]
) -> None:
    first = next(one for one in entries if one.subject == "thr_absent")
    more = [changed(first, "team-ü", "team-x")]
    for owner in ("team-ü", "team-x"):
        assert answered("owner", owner, "absent", more=more).problems == ()
    assert not answered("owner", "team-y", "absent", more=more).verified
    # A change cuts a long name, which then stands for all that begin so.
    long = "x" * 1000
    cut = changed(first, "team-ü", f"{long}…")
    assert answered("owner", f"{long}yz", "absent", more=[cut]).problems == ()
    assert not answered("owner", "xx", "absent", more=[cut]).verified


def test_as_many_threads_as_bodies_are_gone_may_lack_the_entry_that_names_the_owner(
    answered: Answer,
) -> None:
    """A thread came to its owner by an entry that was shredded under the one before."""
    assert answered("owner", "alice", "crash", "absent", gone=2).problems == ()
    assert answered("owner", "alice", "crash", "absent", gone=1).problem_count == 2


def test_the_answer_to_an_order_holds_that_order(answered: Answer) -> None:
    assert answered("erasure", "era_1", "crash", more=[ordered("era_1")]).problems == ()
    assert answered("erasure", "era_1", "crash", more=[ordered("era_1", project=PROJECT)]).problems == ()
    [lacking] = answered("erasure", "era_1", "crash").problems
    assert (lacking.member, lacking.what) == (
        "manifest.dsse.json",
        "the order itself is not here, and not stated as gone",
    )
    assert answered("erasure", "era_1", "crash", gone=1).problems == ()


@pytest.mark.parametrize("project", [None, PROJECT])
def test_what_is_of_another_order_or_of_no_thread_is_in_no_answer(
    answered: Answer, entries: Sequence[Entry], project: str | None
) -> None:
    other = bodies.erasure_answered(
        id="era_2",
        status=next(iter(OrderStatus)),
        counts={},
        threads=[],
        at=AT,
        actor="beat tenure/0",
        project=project,
    )
    report = answered("erasure", "era_1", "crash", more=[ordered("era_1"), other])
    assert [(one.index, one.what) for one in report.problems] == [
        (len(entries) + 1, "the entry is of another erasure order")
    ]
    paused = bodies.switch_changed(enabled=False, reason="r", at=AT, actor="key:1", project=PROJECT)
    for kind, of in (("owner", "team-ü"), ("erasure", "era_1")):
        report = answered(kind, of, "crash", more=[paused], gone=1)
        assert [one.what for one in report.problems] == [
            f"the entry is of none of the threads of this {kind}"
        ]
